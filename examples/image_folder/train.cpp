// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include <fmt/core.h>

#include <heed/io/model_file.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/schedule.hpp>
#include <heed/train/evaluate.hpp>
#include <heed/train/trainer.hpp>

#include "../program/interrupt.hpp"
#include "../program/judged_after.hpp"
#include "../program/progress.hpp"
#include "../program/run_folder.hpp"
#include "../program/threads.hpp"
#include "net.hpp"
#include "pictures.hpp"

namespace image_folder {

namespace {

using program::InterruptScope;

void announce(const TrainOptions& options, const Pictures& pictures, const Model& model) {
  constexpr std::size_t kNamed = 3;
  for (std::size_t i = 0; i < std::min(kNamed, pictures.unreadable.size()); ++i) fmt::print("left out: {}\n", pictures.unreadable[i]);
  if (pictures.unreadable.size() > kNamed) fmt::print("left out: {} more files\n", pictures.unreadable.size() - kNamed);
  for (const std::string& words : pictures.unknown) fmt::print("left out: {}\n", words);
  fmt::print("{} pictures of {} classes to learn, {} held out; the net sees {} x {} pixels and has {} parameters\n",
      pictures.learned.size(), model.class_names.size(), pictures.held_out.size(), model.options.size, model.options.size,
      model.net.parameter_count());
  fmt::print("{} epochs, {}\n\n", options.epochs, program::counted(heed::thread_count(), "thread"));
  std::fflush(stdout);
}

/// How many pictures of each class there are, and how many of those held out were named right.
void print_classes(const heed::ConfusionMatrix& confusion, const std::vector<std::string>& names) {
  for (Index c = 0; c < confusion.classes(); ++c) {
    Index other = c == 0 ? 1 : 0;
    for (Index p = 0; p < confusion.classes(); ++p)
      if (p != c && confusion(c, p) > confusion(c, other)) other = p;
    const std::string mistaken =
        confusion(c, other) > 0 ? fmt::format("; {} called {}", confusion(c, other), names[static_cast<std::size_t>(other)]) : "";
    fmt::print("  {:<20} {:>4} of {:>4} right{}\n", names[static_cast<std::size_t>(c)], confusion(c, c), confusion.examples(c), mistaken);
  }
}

}  // namespace

int train(const TrainOptions& options) {
  const program::Threads threads(options.threads);
  program::RunFolder folder(options.output, "images", options.overwrite);
  check(options.net);
  const Pictures pictures = read_pictures(options.pictures, options.net.size, options.held_out);
  const heed::Subset learned(pictures.images, pictures.learned), held_out(pictures.images, pictures.held_out);

  const heed::SeedScope seed(options.seed);
  Model model(options.net, pictures.images.class_names(), heed::channel_statistics(learned));
  announce(options, pictures, model);
  return folder.logged([&] {
    const InterruptScope interrupt;
    folder.open();
    const Index batch_size = std::min(options.batch_size, learned.size());
    heed::Batches<float> batches(learned,
        {.batch_size = batch_size,
            .shuffle = true,
            .drop_last = true,
            .seed = options.seed,
            .augmentation = {.translate = options.net.size / kShrink, .flip = options.no_flip ? heed::Flip::none : heed::Flip::random},
            .normalization = model.normalization});
    heed::AdamW<float> optimizer(heed::named_parameters(model.net), {.learning_rate = options.learning_rate, .weight_decay = 0.05});
    heed::Trainer trainer(model.net, heed::CrossEntropyLoss<float>({.label_smoothing = 0.1}), optimizer,
        heed::OneCycleSchedule{.steps = options.epochs * batches.size()}, {.seed = options.seed, .max_gradient_norm = 1});
    std::vector<std::string> reasons = pictures.unreadable;
    reasons.insert(reasons.end(), pictures.unknown.begin(), pictures.unknown.end());
    folder.log({{"event", "start"}, {"pictures", options.pictures}, {"learned", learned.size()}, {"held_out", held_out.size()},
        {"left_out", reasons}, {"classes", model.class_names}, {"size", options.net.size}, {"width", options.net.width},
        {"epochs", options.epochs}, {"batch_size", batch_size}, {"learning_rate", options.learning_rate}, {"seed", options.seed},
        {"threads", heed::thread_count()}, {"parameters", model.net.parameter_count()}});

    program::Progress progress(options.epochs, batches.size(), "pictures");
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
    const auto keep = [&] {
      save(folder.model_path(), model);
      folder.model_is_written();
    };
    const auto log_end = [&](const char* event) {
      folder.log({{"event", event}, {"train_seconds", seconds()}, {"weights_hash", heed::weights_hash(model.net)}});
    };
    heed::Evaluation judged;
    for (Index epoch = 0; epoch < options.epochs; ++epoch) {
      progress.start_epoch(epoch);
      const heed::EpochReport report = trainer.run_epoch(batches, epoch, [&](const heed::StepReport& step) {
        progress.step(step.images, step.loss, step.correct);
        if (InterruptScope::requested()) trainer.request_stop();
      });
      progress.clear();
      if (report.stopped) {
        if (!folder.replaces()) keep();
        log_end("interrupted");
        fmt::print("\nStopped in epoch {} of {}. {}\n", epoch + 1, options.epochs, folder.words_when_stopped());
        return program::kInterrupted;
      }
      nlohmann::ordered_json record{{"event", "epoch"}, {"epoch", epoch + 1}, {"training_loss", report.loss()},
          {"training_accuracy", report.accuracy()}, {"train_seconds", seconds()}};
      if (held_out.size() > 0) {
        judged = program::judged_after(epoch + 1, "the held-out pictures",
            [&] { return heed::evaluate(model.net, held_out, {.normalization = model.normalization}); });
        record["loss"] = judged.loss, record["accuracy"] = judged.accuracy;
      }
      keep();  // what ends the program from outside costs an epoch at most
      fmt::print("epoch {:>3}/{}  loss {:.3f}  right {:5.1f} %{}  {}\n", epoch + 1, options.epochs, report.loss(), 100 * report.accuracy(),
          held_out.size() > 0 ? fmt::format("  held out {:5.1f} %", 100 * judged.accuracy) : "", program::clock_time(seconds()));
      std::fflush(stdout);
      folder.log(record);
    }
    if (held_out.size() > 0) {
      fmt::print("\nheld-out pictures:\n");
      print_classes(judged.confusion, model.class_names);
    }
    log_end("result");
    fmt::print("\ntrained in {}; the model is saved in {}\n", program::clock_time(seconds()), folder.model_path());
    return 0;
  });
}

}  // namespace image_folder
