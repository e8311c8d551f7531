// SPDX-License-Identifier: MIT
// cifar10: trains, evaluates and uses convolution + attention classifiers on CIFAR-10. `cifar10 --help` lists everything.
#include <algorithm>
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "../program/command_line.hpp"
#include "options.hpp"

namespace {

using program::add_threads, program::add_whole, program::add_within, program::at_least, program::between, program::share;

std::vector<std::string> words(const auto& list) { return {list.begin(), list.end()}; }

void add_convolution(CLI::App* command, std::string& convolution) {
  command->add_option("--convolution", convolution, "How 3x3 convolutions are computed: it changes the rounding and the speed")
      ->check(CLI::IsMember(words(cifar10::kConvolutions)))
      ->capture_default_str();
}

/// What is the same for one run and for all runs of a study.
void add_training(CLI::App* command, cifar10::TrainOptions& o) {
  add_within(
      command, "--attention-blocks", o.net.attention_blocks, 1, cifar10::kMostAttentionBlocks, "Attention blocks, one behind the other");
  add_within(command, "--attention-after", o.net.attention_after, 1, 3,
      "The block of the net that they stand behind: 1 (15x15 tokens), 2 (7x7) or, but for article, 3 (3x3)");
  add_within(command, "--feed-forward", o.net.feed_forward, 0, cifar10::kWidestFeedForward,
      "Behind each a residual perceptron with N hidden features for each of its inputs; 0: none");
  command->add_flag("--relative-bias", o.net.relative_bias, "Attention adds a learned number a head and relative position to its scores");
  add_whole(command, "--epochs", o.epochs, 1, "Passes over the training images (demo 3, small 10, large 16, article 3)");
  add_whole(command, "--batch-size", o.batch_size, 1, "Images a step")->capture_default_str();
  command
      ->add_option("--shards", o.shards,
          fmt::format("Parts of each batch with batch statistics of their own, which mpirun's ranks share: the result depends on them, and "
                      "not on the ranks ({})",
              cifar10::kShards))
      ->check(at_least(1, "a whole number from 1"));
  add_threads(command, o.threads);
  command->add_option("--backend", o.backend, "Who runs the parallel loops; the result is the same to the bit")
      ->check(CLI::IsMember(words(cifar10::kBackends)))
      ->capture_default_str();
  add_convolution(command, o.convolution);
  command->add_option("--optimizer", o.optimizer, "Which optimiser")->check(CLI::IsMember({"adam", "adamw", "sgd"}))->capture_default_str();
  command
      ->add_option("--learning-rate", o.learning_rate,
          "Highest learning rate of convolutions and head; the others keep their ratio (adam, adamw 0.006, sgd 0.1)")
      ->check(at_least(0, "a number from 0"));
  command
      ->add_option(
          "--weight-decay", o.weight_decay, "Of convolutions and head (adamw 0.02 for demo and article, else 0.5; sgd 0.0005; adam 0)")
      ->check(at_least(0, "a number from 0"));
  command
      ->add_option("--attention-learning-rate", o.attention_learning_rate,
          "That of the attention block (a third of --learning-rate; article: twice)")
      ->check(at_least(0, "a number from 0"));
  command
      ->add_option("--attention-weight-decay", o.attention_weight_decay, "That of the attention block (--weight-decay, but at most 0.02)")
      ->check(at_least(0, "a number from 0"));
  command->add_option("--logit-scale", o.net.logit_scale, "A factor of the logits")
      ->check(between(1e-3, 1e3, "a number from 0.001 to 1000"))
      ->type_name("FLOAT")
      ->capture_default_str();
  command
      ->add_option(
          "--label-smoothing", o.label_smoothing, "Share of the target spread over all classes (0.1 for demo and article, else 0.2)")
      ->check(share());
  command
      ->add_option("--average", o.average,
          "What an update of the weights' moving average keeps of it; the average is judged and saved; 0: the last weights (0.99 for "
          "small, else 0)")
      ->check(share());
  add_whole(command, "--translate", o.translate, 0, "Shift training images by up to N pixels (2; large: 4)")->type_name("N");
  add_whole(command, "--cutout", o.cutout, 0, "Blank a square of N pixels in each training image")->type_name("N")->capture_default_str();
  add_whole(command, "--validation", o.validation, 0, "Hold out the last N training images and judge the epochs by them")->type_name("N");
  add_whole(command, "--train-images", o.train_images, 1, "Train on the first N of the images that are left (all)")->type_name("N");
  command->add_option("--data", o.data, "Folder with the binary version of CIFAR-10 ($CIFAR10_DIR, data/cifar-10-batches-bin)")
      ->type_name("DIR");
}

void add_train(CLI::App& app, cifar10::TrainOptions& o) {
  CLI::App* command = app.add_subcommand("train", "Train a net and save it");
  command->add_option("--net", o.net.net, "Which net")->check(CLI::IsMember(words(cifar10::kNets)))->capture_default_str();
  command->add_option("--attention", o.net.attention, "The attention block, or what stands in its place")
      ->check(CLI::IsMember(words(cifar10::kAttentions)))
      ->capture_default_str();
  add_whole(command, "--seed", o.seed, 0, "Of weights, order and augmentation")->capture_default_str();
  add_training(command, o);
  command->add_option("--output", o.output, "Folder for log.jsonl and model.safetensors (the next free runs/<net>-<number>)")
      ->type_name("DIR");
  CLI::Option* overwrite = command->add_flag("--overwrite", o.overwrite, "Replace the run that --output holds");
  add_whole(command, "--checkpoint-every", o.checkpoint_every, 1, "Write checkpoint.safetensors each N steps, for --resume")
      ->type_name("N");
  command->add_flag("--resume", o.resume, "Go on from the checkpoint in --output; the other options must be those of that run")
      ->needs("--output")
      ->excludes(overwrite);
  command->add_flag("--anomaly", o.anomaly, "Look at what every layer gives, and name the first that gives a NaN or an infinity (slower)");
}

void add_study(CLI::App& app, cifar10::StudyOptions& o) {
  CLI::App* command = app.add_subcommand("study",
      "Train nets with attention and with what may stand in its place, each from some seeds, and write tables; goes on where it was ended");
  command->add_option("--output", o.output, "Folder for the runs and study.md")->required()->type_name("DIR");
  command->add_option("--net", o.nets, "Which nets")->check(CLI::IsMember(words(cifar10::kNets)))->capture_default_str();
  command->add_option("--attention", o.arms, "What they have")->check(CLI::IsMember(words(cifar10::kAttentions)))->capture_default_str();
  add_whole(command, "--seeds", o.seeds, 1, "How many runs each")->capture_default_str();
  add_whole(command, "--seed", o.training.seed, 0, "The first of their seeds")->capture_default_str();
  add_training(command, o.training);
}

void add_evaluate(CLI::App& app, cifar10::EvaluateOptions& o) {
  CLI::App* command = app.add_subcommand("evaluate", "Judge a saved net by the test images");
  command->add_option("model", o.models, "model.safetensors of a run; with --corruptions of several, one a seed")
      ->required()
      ->type_name("MODEL...");
  command->add_option("--data", o.data, "Folder with the binary version of CIFAR-10 ($CIFAR10_DIR, data/cifar-10-batches-bin)")
      ->type_name("DIR");
  CLI::Option* views =
      command->add_option("--views", o.views, "Views of each image that are averaged: 1, 2 (mirrored) or 6 (mirrored, shifted)")
          ->check(CLI::IsMember({1, 2, 6}))
          ->capture_default_str();
  CLI::Option* logits = command->add_option("--logits", o.logits, "Write what the net says about every image, averaged over the views")
                            ->type_name("OUT.safetensors");
  CLI::Option* corruptions = command->add_flag(
      "--corruptions", o.corruptions, "Judge by images with noise, blur, other light and deformations, 16 kinds at 5 severities");
  command
      ->add_option("--against", o.against,
          "With --corruptions: as many models to compare with, such as those of the same seeds with --attention none")
      ->needs(corruptions)
      ->type_name("MODEL...");
  CLI::Option* deletion = command->add_flag("--deletion", o.deletion,
      "Judge with the pixels of a fifth of the tokens blanked: where attention says they matter most, at random, and least");
  add_whole(command, "--images", o.images, 1, "Judge by the first N test images (all; with --corruptions or --deletion 2000)")
      ->type_name("N");
  command->add_option("--output", o.output, "With --corruptions or --deletion: write all figures")->type_name("OUT.json");
  command->add_flag("--overwrite", o.overwrite, "Replace the file of --logits or --output that is there");
  for (CLI::Option* other : {logits, deletion}) corruptions->excludes(other);
  for (CLI::Option* other : {logits, views}) deletion->excludes(other);
  add_convolution(command, o.convolution);
  add_threads(command, o.threads);
}

void add_report(CLI::App& app, cifar10::ReportOptions& o) {
  CLI::App* command = app.add_subcommand("report", "Show runs on one page: how they learnt, what they mistake, where they look");
  command->add_option("runs", o.runs, "Folders of runs")->required()->type_name("RUN...");
  command->add_option("--output", o.output, "The page, a file that needs no other")->required()->type_name("OUT.html");
  command->add_option("--robustness", o.robustness, "What evaluate --corruptions --output wrote")->type_name("JSON...");
  command->add_option("--data", o.data, "Folder with the binary version of CIFAR-10 ($CIFAR10_DIR, data/cifar-10-batches-bin)")
      ->type_name("DIR");
  command->add_flag("--overwrite", o.overwrite, "Replace the page that is there");
  add_threads(command, o.threads);
}

void add_predict(CLI::App& app, cifar10::PredictOptions& o) {
  CLI::App* command = app.add_subcommand("predict", "Say what images show");
  command->add_option("model", o.model, "model.safetensors of a run")->required()->type_name("MODEL");
  command->add_option("images", o.images, "PNG, JPEG or PPM files of any size")->required()->type_name("IMAGE...");
  CLI::Option* overlay = command->add_option("--overlay", o.overlay, "Write a PNG that shows where the model looked")->type_name("OUT.png");
  command
      ->add_option("--show", o.shown,
          "In the overlay: the attention that each token receives, the same of each head, through all blocks (rollout), or its relevance: "
          "what it did for a class")
      ->needs(overlay)
      ->check(CLI::IsMember({"received", "heads", "rollout", "relevance"}))
      ->capture_default_str();
  command->add_option("--class", o.for_class, "Of relevance: for this class, whatever the net names")->needs(overlay)->type_name("NAME");
  command->add_option("--token", o.token, "Of the others: what this token takes, not the mean of all; from 1 1, top left")
      ->needs(overlay)
      ->expected(2)
      ->type_name("ROW COLUMN");
  command->add_flag("--overwrite", o.overwrite, "Replace the overlay that is there")->needs(overlay);
  add_threads(command, o.threads);
}

void add_export(CLI::App& app, cifar10::ExportOptions& o) {
  CLI::App* command = app.add_subcommand(
      "export", "Make a few training steps and write weights, batches and losses for examples/pytorch, or a saved net as ONNX");
  command
      ->add_option(
          "folder", o.folder, "Folder for initial.safetensors, batches.safetensors and losses.json; with --onnx model.safetensors of a run")
      ->required()
      ->type_name("DIR|MODEL");
  command->add_option("--net", o.net.net, "Which net")->check(CLI::IsMember(words(cifar10::kNets)))->capture_default_str();
  command->add_option("--attention", o.net.attention, "The attention block, or what stands in its place")
      ->check(CLI::IsMember({"full", "none"}))
      ->capture_default_str();
  command->add_option("--optimizer", o.optimizer, "Which optimiser")->check(CLI::IsMember({"adamw", "sgd"}))->capture_default_str();
  command->add_option("--precision", o.precision, "Of the steps")->check(CLI::IsMember({"double", "float"}))->capture_default_str();
  add_whole(command, "--steps", o.steps, 1, "How many steps")->capture_default_str();
  add_whole(command, "--batch-size", o.batch_size, 1, "Images a step")->capture_default_str();
  add_whole(command, "--seed", o.seed, 0, "Of weights, order and augmentation")->capture_default_str();
  command->add_option("--data", o.data, "Folder with the binary version of CIFAR-10 ($CIFAR10_DIR, data/cifar-10-batches-bin)")
      ->type_name("DIR");
  command->add_flag("--each-step", o.each_step, "Also write the weights before every step");
  command->add_flag("--overwrite", o.overwrite, "Replace what the folder holds, or the file of --onnx");
  add_threads(command, o.threads);
  CLI::Option* onnx = command->add_option("--onnx", o.onnx, "Write the net MODEL to this ONNX file instead")->type_name("FILE");
  for (const char* of_steps :
      {"--net", "--attention", "--optimizer", "--precision", "--steps", "--batch-size", "--seed", "--data", "--each-step"})
    onnx->excludes(of_steps);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Convolution and attention on CIFAR-10, with the heed library", "cifar10");
  program::prepare(app);
  cifar10::TrainOptions train;
  cifar10::StudyOptions study;
  cifar10::EvaluateOptions evaluate;
  cifar10::ReportOptions report;
  cifar10::PredictOptions predict;
  cifar10::ExportOptions exported;
  add_train(app, train);
  add_study(app, study);
  add_evaluate(app, evaluate);
  add_report(app, report);
  add_predict(app, predict);
  add_export(app, exported);
  return program::run(app, argc, argv, [&] {
    return app.got_subcommand("train")      ? cifar10::train(train)
           : app.got_subcommand("study")    ? cifar10::study(study)
           : app.got_subcommand("evaluate") ? cifar10::evaluate(evaluate)
           : app.got_subcommand("report")   ? cifar10::report(report)
           : app.got_subcommand("predict")  ? cifar10::predict(predict)
                                            : cifar10::export_steps(exported);
  });
}
