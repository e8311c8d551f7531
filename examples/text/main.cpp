// SPDX-License-Identifier: MIT
// text: a small causal transformer that learns to write from any text, character by character. `text --help` lists everything.
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <heed/core/config.hpp>

#include "../program/command_line.hpp"
#include "options.hpp"

namespace {

using program::at_least;

void add_train(CLI::App& app, text::TrainOptions& o) {
  CLI::App* command = app.add_subcommand("train", "Learn a text and save the model");
  const auto whole = [&](const char* name, heed::Index& value, const char* what) {
    command->add_option(name, value, what)->check(at_least(1, "a whole number from 1"))->capture_default_str();
  };
  command->add_option("--data", o.data, "Text in UTF-8: files, and folders with .md and .txt files (heed's own README and docs)")
      ->type_name("PATH...");
  whole("--steps", o.steps, "Steps of training");
  whole("--batch-size", o.batch_size, "Pieces of text a step");
  whole("--layers", o.model.layers, "Transformer layers");
  whole("--features", o.model.features, "Features of a character");
  whole("--heads", o.model.heads, "Attention heads");
  whole("--kv-heads", o.model.kv_heads, "Heads of keys and values, which the attention heads share");
  whole("--context", o.model.context, "Characters that a prediction looks back at");
  command->add_option("--learning-rate", o.learning_rate, "Highest learning rate")
      ->check(at_least(0, "a number from 0"))
      ->capture_default_str();
  command->add_option("--seed", o.seed, "Of weights and pieces")->check(at_least(0, "a whole number from 0"))->capture_default_str();
  command->add_option("--threads", o.threads, "Threads to use (all cores)")->check(CLI::Range(1, 1024));
  command->add_option("--output", o.output, "Folder for log.jsonl and model.safetensors (the next free runs/text-<number>)")
      ->type_name("DIR");
  command->add_flag("--overwrite", o.overwrite, "Replace the run that --output holds");
}

void add_generate(CLI::App& app, text::GenerateOptions& o) {
  CLI::App* command = app.add_subcommand("generate", "Continue a text");
  command->add_option("model", o.model, "model.safetensors of a run")->required()->type_name("MODEL");
  command->add_option("--prompt", o.prompt, "What the text begins with (a new line)");
  command->add_option("--length", o.length, "Characters to write")->check(at_least(1, "a whole number from 1"))->capture_default_str();
  command->add_option("--temperature", o.temperature, "How freely characters are drawn; 0 takes the likeliest")
      ->check(at_least(0, "a number from 0"))
      ->capture_default_str();
  command->add_option("--seed", o.seed, "Of the draws")->check(at_least(0, "a whole number from 0"))->capture_default_str();
  command->add_flag("--no-cache", o.no_cache, "Compute keys and values of the whole context again for every character");
  command->add_option("--threads", o.threads, "Threads to use (all cores)")->check(CLI::Range(1, 1024));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("A small causal transformer on characters, with the heed library", "text");
  app.set_version_flag("--version", fmt::format("text, heed {}.{}.{}", HEED_VERSION_MAJOR, HEED_VERSION_MINOR, HEED_VERSION_PATCH));
  app.require_subcommand(1);
  text::TrainOptions train;
  text::GenerateOptions generate;
  add_train(app, train);
  add_generate(app, generate);
  return program::run(app, argc, argv, [&] { return app.got_subcommand("train") ? text::train(train) : text::generate(generate); });
}
