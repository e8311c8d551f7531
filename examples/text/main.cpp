// SPDX-License-Identifier: MIT
// text: a small causal transformer that learns to write from any text, character by character. `text --help` lists everything.
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "../program/command_line.hpp"
#include "options.hpp"

namespace {

using program::add_threads, program::add_whole, program::at_least;

void add_train(CLI::App& app, text::TrainOptions& o) {
  CLI::App* command = app.add_subcommand("train", "Learn a text and save the model");
  command->add_option("--data", o.data, "Text in UTF-8: files, and folders with .md and .txt files (heed's own README and docs)")
      ->type_name("PATH...");
  add_whole(command, "--steps", o.steps, 1, "Steps of training")->capture_default_str();
  add_whole(command, "--batch-size", o.batch_size, 1, "Pieces of text a step")->capture_default_str();
  add_whole(command, "--layers", o.model.layers, 1, "Transformer layers")->capture_default_str();
  add_whole(command, "--features", o.model.features, 1, "Features of a character")->capture_default_str();
  add_whole(command, "--heads", o.model.heads, 1, "Attention heads")->capture_default_str();
  add_whole(command, "--kv-heads", o.model.kv_heads, 1, "Heads of keys and values, which the attention heads share")->capture_default_str();
  add_whole(command, "--context", o.model.context, 1, "Characters that a prediction looks back at")->capture_default_str();
  command->add_option("--learning-rate", o.learning_rate, "Highest learning rate")
      ->check(at_least(0, "a number from 0"))
      ->capture_default_str();
  add_whole(command, "--seed", o.seed, 0, "Of weights and pieces")->capture_default_str();
  add_threads(command, o.threads);
  command->add_option("--output", o.output, "Folder for log.jsonl and model.safetensors (the next free runs/text-<number>)")
      ->type_name("DIR");
  command->add_flag("--overwrite", o.overwrite, "Replace the run that --output holds");
}

void add_generate(CLI::App& app, text::GenerateOptions& o) {
  CLI::App* command = app.add_subcommand("generate", "Continue a text");
  command->add_option("model", o.model, "model.safetensors of a run")->required()->type_name("MODEL");
  command->add_option("--prompt", o.prompt, "What the text begins with (a new line)");
  add_whole(command, "--length", o.length, 1, "Characters to write")->capture_default_str();
  command->add_option("--temperature", o.temperature, "How freely characters are drawn; 0 takes the likeliest")
      ->check(at_least(0, "a number from 0"))
      ->capture_default_str();
  add_whole(command, "--seed", o.seed, 0, "Of the draws")->capture_default_str();
  command->add_flag("--no-cache", o.no_cache, "Compute keys and values of the whole context again for every character");
  add_threads(command, o.threads);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("A small causal transformer on characters, with the heed library", "text");
  program::prepare(app);
  text::TrainOptions train;
  text::GenerateOptions generate;
  add_train(app, train);
  add_generate(app, generate);
  return program::run(app, argc, argv, [&] { return app.got_subcommand("train") ? text::train(train) : text::generate(generate); });
}
