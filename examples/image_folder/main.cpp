// SPDX-License-Identifier: MIT
// image_folder: learns to tell your own pictures apart, a folder for each class. `image_folder --help` lists everything.
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "../program/command_line.hpp"
#include "options.hpp"

namespace {

using program::add_threads, program::add_whole, program::at_least;

void add_train(CLI::App& app, image_folder::TrainOptions& o) {
  CLI::App* command = app.add_subcommand("train", "Learn the pictures of a folder and save the model");
  command->add_option("pictures", o.pictures, "Folder with a folder of PNG, JPEG or PPM pictures for each class")
      ->required()
      ->type_name("PICTURES");
  add_whole(command, "--epochs", o.epochs, 1, "Times that every picture is seen")->capture_default_str();
  add_whole(command, "--batch-size", o.batch_size, 1, "Pictures a step")->capture_default_str();
  add_whole(command, "--size", o.net.size, 1, "Side of the pictures that the net sees, in pixels: a multiple of 8")->capture_default_str();
  add_whole(command, "--width", o.net.width, 1, "Features behind the first convolution: a multiple of 4")->capture_default_str();
  command->add_option("--learning-rate", o.learning_rate, "Highest learning rate")
      ->check(at_least(0, "a number from 0"))
      ->capture_default_str();
  command->add_option("--held-out", o.held_out, "Share of each class that the net is judged by and does not learn")
      ->check(program::share())
      ->capture_default_str();
  command->add_flag("--no-flip", o.no_flip, "Do not mirror pictures: for letters, left and right hands");
  add_whole(command, "--seed", o.seed, 0, "Of weights, order and shifts")->capture_default_str();
  add_threads(command, o.threads);
  command->add_option("--output", o.output, "Folder for log.jsonl and model.safetensors (the next free runs/images-<number>)")
      ->type_name("DIR");
  command->add_flag("--overwrite", o.overwrite, "Replace the run that --output holds");
}

void add_predict(CLI::App& app, image_folder::PredictOptions& o) {
  CLI::App* command = app.add_subcommand("predict", "Name what pictures show, and draw where the model looked");
  command->add_option("model", o.model, "model.safetensors of a run")->required()->type_name("MODEL");
  command->add_option("pictures", o.pictures, "PNG, JPEG or PPM files")->required()->type_name("PICTURE...");
  CLI::Option* overlay =
      command->add_option("--overlay", o.overlay, "Write the pictures with a map of the attention as a PNG")->type_name("OUT.png");
  command->add_flag("--overwrite", o.overwrite, "Replace the overlay that is there")->needs(overlay);
  add_threads(command, o.threads);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("A convolution and attention classifier of your own pictures, with the heed library", "image_folder");
  program::prepare(app);
  image_folder::TrainOptions train;
  image_folder::PredictOptions predict;
  add_train(app, train);
  add_predict(app, predict);
  return program::run(
      app, argc, argv, [&] { return app.got_subcommand("train") ? image_folder::train(train) : image_folder::predict(predict); });
}
