// SPDX-License-Identifier: MIT
// image_folder: learns to tell your own pictures apart, a folder for each class. `image_folder --help` lists everything.
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <heed/core/config.hpp>

#include "../program/command_line.hpp"
#include "options.hpp"

namespace {

using program::at_least;

void add_train(CLI::App& app, image_folder::TrainOptions& o) {
  CLI::App* command = app.add_subcommand("train", "Learn the pictures of a folder and save the model");
  const auto whole = [&](const char* name, auto& value, double least, const char* what) {
    command->add_option(name, value, what)->check(at_least(least, fmt::format("a whole number from {}", least)))->capture_default_str();
  };
  command->add_option("pictures", o.pictures, "Folder with a folder of PNG, JPEG or PPM pictures for each class")
      ->required()
      ->type_name("PICTURES");
  whole("--epochs", o.epochs, 1, "Times that every picture is seen");
  whole("--batch-size", o.batch_size, 1, "Pictures a step");
  whole("--size", o.net.size, 1, "Side of the pictures that the net sees, in pixels: a multiple of 8");
  whole("--width", o.net.width, 1, "Features behind the first convolution: a multiple of 4");
  command->add_option("--learning-rate", o.learning_rate, "Highest learning rate")
      ->check(at_least(0, "a number from 0"))
      ->capture_default_str();
  command->add_option("--held-out", o.held_out, "Share of each class that the net is judged by and does not learn")
      ->check(program::share())
      ->capture_default_str();
  command->add_flag("--no-flip", o.no_flip, "Do not mirror pictures: for letters, left and right hands");
  whole("--seed", o.seed, 0, "Of weights, order and shifts");
  command->add_option("--threads", o.threads, "Threads to use (all cores)")->check(CLI::Range(1, 1024));
  command->add_option("--output", o.output, "Folder for log.jsonl and model.safetensors (the next free runs/images-<number>)")
      ->type_name("DIR");
  command->add_flag("--overwrite", o.overwrite, "Replace the run that --output holds");
}

void add_predict(CLI::App& app, image_folder::PredictOptions& o) {
  CLI::App* command = app.add_subcommand("predict", "Name what pictures show, and draw where the model looked");
  command->add_option("model", o.model, "model.safetensors of a run")->required()->type_name("MODEL");
  command->add_option("pictures", o.pictures, "PNG, JPEG or PPM files")->required()->type_name("PICTURE...");
  command->add_option("--overlay", o.overlay, "Write the pictures with a map of the attention as a PNG")->type_name("FILE");
  command->add_option("--threads", o.threads, "Threads to use (all cores)")->check(CLI::Range(1, 1024));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("A convolution and attention classifier of your own pictures, with the heed library", "image_folder");
  app.set_version_flag("--version", fmt::format("image_folder, heed {}.{}.{}", HEED_VERSION_MAJOR, HEED_VERSION_MINOR, HEED_VERSION_PATCH));
  app.require_subcommand(1);
  image_folder::TrainOptions train;
  image_folder::PredictOptions predict;
  add_train(app, train);
  add_predict(app, predict);
  return program::run(
      app, argc, argv, [&] { return app.got_subcommand("train") ? image_folder::train(train) : image_folder::predict(predict); });
}
