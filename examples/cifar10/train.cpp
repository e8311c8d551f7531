// SPDX-License-Identifier: MIT
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <heed/core/isa.hpp>
#include <heed/data/batches.hpp>
#include <heed/data/dataset_hash.hpp>
#include <heed/distributed/communicator.hpp>
#include <heed/io/checkpoint.hpp>
#include <heed/optim/weight_average.hpp>
#include <heed/train/evaluate.hpp>
#include <heed/train/summary.hpp>
#include <heed/train/trainer.hpp>

#include "../program/interrupt.hpp"
#include "../program/judged_after.hpp"
#include "../program/progress.hpp"
#include "../program/ranks.hpp"
#include "../program/run_folder.hpp"
#include "../program/threads.hpp"
#include "checkpoint_words.hpp"
#include "data_source.hpp"
#include "recipe.hpp"
#include "report.hpp"
#include "stored_model.hpp"
#include "whitening.hpp"

namespace cifar10 {

namespace {

using program::clock_time, program::InterruptScope;

constexpr Index kWhiteningImages = 5000;

program::RunFolder choose_folder(const TrainOptions& options, bool writes) {
  if (!writes) return program::RunFolder::of_onlooker(options.output);
  if (options.resume) return program::RunFolder::of_interrupted_run(options.output);
  return {options.output, options.net.net, options.overwrite};
}

/// One training run. Of several ranks, which share the shards of each batch, the first judges and writes.
class Run {
 public:
  Run(const TrainOptions& options, heed::Communicator& ranks)
      : options_(options_of_run(options, options.net.net)),
        ranks_(ranks),
        folder_(choose_folder(options_, ranks.rank() == 0)),
        data_(find_data(options_.data, ranks.rank() == 0)) {
    const Index all = data_.images.train.size();
    heed::require(options_.validation < all, "--validation ", options_.validation, ": the data have ", all,
        " training images, and some must be left to train on");
    const Index left = all - options_.validation;
    heed::require(
        options_.train_images <= left, "--train-images ", options_.train_images, ": there are only ", left, " images to train on");
    train_ = data_.images.train.first(options_.trained(all));
    images_hash_ = heed::dataset_hash(train_);
    validation_ = data_.images.train.last(options_.validation);
    judging_hash_ = heed::text(heed::dataset_hash(validation_), '-', heed::dataset_hash(data_.images.test));
    heed::require(options_.batch_size <= train_.size(), "--batch-size ", options_.batch_size, ": there are only ", train_.size(),
        " images to train on");
    heed::require(options_.shards >= ranks_.size() && options_.shards <= options_.batch_size, "--shards ", options_.shards,
        ": expected at least one for each of the ", ranks_.size(), " ranks, and not more than the ", options_.batch_size,
        " images of a batch");
    heed::require(heed::all_ranks_say(ranks_, heed::isa_name()), "the ranks use other instruction sets, this one ", heed::isa_name(),
        ": they would round differently; HEED_ISA sets the lowest of them for all");
    heed::require(heed::all_ranks_say(ranks_, images_hash_), "the ranks read other data, this one ", data_.folder, " with the fingerprint ",
        images_hash_, " of the training images; are the files the same on all machines?");
    const heed::SeedScope seed(options_.seed);
    model_.emplace(StoredModel{{options_.net, normalization_of(data_, train_), class_names(train_), data_.name()},
        make_net<float>(options_.net, options_.convolution)});
    set_whitening(model_->net, first_images<float>(train_, kWhiteningImages, model_->normalization));
    if (options_.average > 0)
      average_.emplace(heed::named_parameters(model_->net), heed::named_buffers(model_->net),
          heed::WeightAverageOptions{.decay = options_.average, .warm_up = true});
  }

  int operator()() {
    return folder_.logged([&] {
      try {
        return run();
      } catch (const heed::AnomalyError& error) {
        heed::fail<heed::AnomalyError>(error.what(), what_is_left(),
            options_.anomaly ? "" : "; --anomaly finds the first layer that gives such a number, forward or backward");
      } catch (const heed::CommunicationError& error) {
        heed::fail<heed::CommunicationError>(error.what(), what_is_left());
      }
    });
  }

 private:
  std::string what_is_left() const {
    if (!folder_.writes() && options_.overwrite)
      return heed::text("; steps made: ", steps_made_);  // whose checkpoint there is, the first rank knows
    std::error_code ignored;
    const bool kept = std::filesystem::exists(folder_.checkpoint_path(), ignored) && !folder_.replaces();
    return heed::text("; steps made: ", steps_made_,
        kept ? heed::text("; the last good checkpoint is ", folder_.checkpoint_path(), ", --resume goes on from it",
                   ranks_.size() > 1 ? ", on any number of ranks" : "")
             : std::string("; there is no checkpoint to go back to (--checkpoint-every)"));
  }
  bool interrupted() { return heed::any_rank(ranks_, InterruptScope::requested()); }

  int run() {
    const InterruptScope interrupt;
    std::optional<heed::AnomalyScope> watched;
    if (options_.anomaly) watched.emplace();
    heed::Batches<float> batches(
        train_, {.batch_size = options_.batch_size,
                    .shuffle = true,
                    .drop_last = true,
                    .seed = options_.seed,
                    .augmentation = {.translate = options_.translate, .flip = heed::Flip::alternating, .cutout = options_.cutout},
                    .normalization = model_->normalization});
    const Index steps = options_.epochs * batches.size();
    const auto optimizer = make_optimizer<float>(options_, heed::named_parameters(model_->net));
    Position position;
    if (options_.resume) position = read_checkpoint(*optimizer, batches.size());
    heed::Trainer trainer(model_->net, heed::CrossEntropyLoss<float>({.label_smoothing = options_.label_smoothing}), *optimizer,
        make_schedule(steps),
        {.seed = options_.seed,
            .first_step = position.epoch.epoch * batches.size() + position.epoch.steps,
            .shards = options_.shards,
            .communicator = &ranks_});

    steps_made_ = trainer.next_step();
    heed::require(heed::all_ranks_say(ranks_, heed::text(heed::weights_hash(model_->net), ' ', trainer.next_step())),
        "the ranks would begin with different weights or at different steps, this one at step ", trainer.next_step(),
        "; do all run the same program, and see the same folder?");
    if (options_.resume) folder_.reopen(position.records);
    announce(batches.size(), optimizer->kind(), position);
    if (options_.checkpoint_every > 0 && !options_.resume) write_checkpoint(*optimizer, position);
    program::Progress progress(options_.epochs, batches.size(), "images");
    while (position.epoch.epoch < options_.epochs) {
      progress.start_epoch(position.epoch.epoch, position.epoch.steps);
      const heed::EpochReport report =
          trainer.run_epoch(batches, position.epoch, [&](const heed::StepReport& step, const heed::EpochReport& epoch) {
            steps_made_ = trainer.next_step();
            if (average_) average_->update();
            progress.step(step.images, step.loss, step.correct);
            if (InterruptScope::requested()) trainer.request_stop();
            const bool due = options_.checkpoint_every > 0 && trainer.next_step() % options_.checkpoint_every == 0;
            if (due) write_checkpoint(*optimizer, {epoch, position.seconds, position.images});
          });
      progress.clear();
      if (report.stopped || interrupted()) {
        if (options_.checkpoint_every > 0) write_checkpoint(*optimizer, {report, position.seconds, position.images});
        return stopped(trainer.next_step(), steps);
      }
      const bool judged = judge(report);
      if (judged)
        position = {{.epoch = report.epoch + 1}, position.seconds + report.seconds, position.images + report.images};
      else
        position.epoch = report;  // it is judged again
      if (interrupted()) {
        if (options_.checkpoint_every > 0) write_checkpoint(*optimizer, position);
        return stopped(trainer.next_step(), steps);
      }
    }
    const int code = finish(position.seconds, static_cast<double>(position.images) / position.seconds);
    if (code == program::kInterrupted && options_.checkpoint_every > 0) write_checkpoint(*optimizer, position);
    return code;
  }

  /// All that changes what training computes, and what the log says of it.
  heed::Json recipe() const {
    Json words{{"net", options_.net.net}, {"attention", options_.net.attention}, {"seed", options_.seed}};
    words.update(recipe_words(options_));
    words.update({{"dataset", data_.name()}, {"training images", train_.size()}, {"fingerprint of the images", images_hash_},
        {"fingerprint of the judging images", judging_hash_}, {"class names", model_->class_names},
        {"instruction set (HEED_ISA)", heed::isa_name()}});
    return heed::Json::parse(words.dump(), "the recipe");
  }

  /// Writes nothing while the folder still holds the run that this one is to replace.
  void write_checkpoint(heed::Optimizer<float>& optimizer, Position position) {
    if (!folder_.writes() || folder_.replaces()) return;
    position.records = folder_.records();
    heed::io::save_checkpoint(folder_.checkpoint_path(), model_->net, optimizer, checkpoint_words(recipe(), position), average());
  }

  /// Puts the training where the checkpoint says. Throws FileError, and changes nothing, if it is damaged or of another recipe.
  Position read_checkpoint(heed::Optimizer<float>& optimizer, Index steps_per_epoch) {
    const heed::SafetensorsReader file(folder_.checkpoint_path());
    const Position position = read_position(file, recipe(), options_.epochs, steps_per_epoch);
    heed::io::load_checkpoint(file, model_->net, optimizer, average());
    const std::string* writer = file.metadata(kBuiltAs);
    if (writer && *writer != built_as() && ranks_.rank() == 0)
      fmt::print(stderr,
          "{} was written by another program ({}; this is {}): the run goes on, but not with the bits that it would have had\n",
          folder_.checkpoint_path(), *writer, built_as());
    return position;
  }

  heed::WeightAverage<float>* average() { return average_ ? &*average_ : nullptr; }

  /// As long as this lives the net has the weights that the run is to give: their average, if it keeps one.
  class Result {
   public:
    explicit Result(Run& run) {
      if (run.average_ && !run.average_->swapped()) scope_.emplace(*run.average_);
    }

   private:
    std::optional<heed::AverageScope<float>> scope_;
  };

  const heed::ImageDataset& judged() const { return options_.validation > 0 ? validation_ : data_.images.test; }
  const char* judged_name() const { return options_.validation > 0 ? "validation" : "test"; }

  std::vector<heed::Evaluation> look_at(const heed::ImageDataset& images, int views) const {
    return heed::evaluate_views(
        model_->net, images, {.views = views, .normalization = model_->normalization}, [](Index) { return !InterruptScope::requested(); });
  }

  void announce(Index steps, std::string_view optimizer, const Position& position) {
    const heed::ModelSummary summary = heed::summarize(model_->net, heed::image_shape(1, 32, 32, 3));
    fmt::print("{}\n", heed::summary_table(summary));
    fmt::print("{} on {} images of {} ({}); {} epochs of {} steps of {} images{}, {}, {}{}\n\n", words_of(options_.net), train_.size(),
        data_.name(), data_.folder, options_.epochs, steps, options_.batch_size,
        options_.shards > 1 ? fmt::format(" in {} shards", options_.shards) : "", optimizer,
        program::counted(heed::thread_count(), "thread"), ranks_.size() > 1 ? fmt::format(" on each of {} ranks", ranks_.size()) : "");
    if (options_.resume) {
      fmt::print("resumed at step {} of epoch {}\n\n", position.epoch.steps, position.epoch.epoch + 1);
      std::fflush(stdout);
      return;  // the log has its start
    }
    std::fflush(stdout);
    folder_.open();
    folder_.told(heed::first_words(ranks_, folder_.writes() ? folder_.path() : ""));
    Json record{{"event", "start"}, {"dataset", data_.name()}, {"data", data_.folder}, {"net", options_.net.net},
        {"attention", options_.net.attention}, {"seed", options_.seed}, {"threads", heed::thread_count()}, {"ranks", ranks_.size()},
        {"isa", heed::isa_name()}, {"steps_per_epoch", steps}};
    record.update(recipe_words(options_));
    record.update({{"training_images", train_.size()}, {"images_hash", images_hash_}, {"parameters", summary.parameters},
        {"forward_flops", summary.flops()}, {"training_flops", summary.training_flops()}});
    folder_.log(record);
  }

  /// False if it was interrupted: then the log says nothing of the epoch.
  bool judge(const heed::EpochReport& report) {
    heed::require<heed::CommunicationError>(heed::all_ranks_say(ranks_, heed::weights_hash(model_->net)),
        "the ranks have different weights after epoch ", report.epoch + 1, "; do all run the same program?");
    if (!folder_.writes()) return true;
    const Result weights(*this);
    const heed::Evaluation result =
        program::judged_after(report.epoch + 1, heed::text("the ", judged_name(), " images"), [&] { return look_at(judged(), 1).front(); });
    if (InterruptScope::requested()) return false;
    keep();  // what ends the program from outside costs an epoch at most
    fmt::print("epoch {:>2}/{}  loss {:.4f}  training accuracy {:.2f} %  {} accuracy {:.2f} %  {:.0f} images/s  {}\n", report.epoch + 1,
        options_.epochs, report.loss(), 100 * report.accuracy(), judged_name(), 100 * result.accuracy, report.images_per_second(),
        clock_time(report.seconds));
    std::fflush(stdout);
    folder_.log({{"event", "epoch"}, {"epoch", report.epoch + 1}, {"training_loss", report.loss()},
        {"training_accuracy", report.accuracy()}, {"judged_by", judged_name()}, {"loss", result.loss}, {"accuracy", result.accuracy},
        {"train_seconds", report.seconds}, {"images_per_second", report.images_per_second()}});
    return true;
  }

  void keep() {
    if (!folder_.writes()) return;
    const Result weights(*this);
    save(folder_.model_path(), *model_);
    folder_.model_is_written();
  }

  int stopped(Index step, Index steps) {
    const Result weights(*this);
    if (!folder_.replaces()) keep();
    folder_.log({{"event", "interrupted"}, {"step", step}, {"steps", steps}, {"weights_hash", heed::weights_hash(model_->net)}});
    fmt::print("\nStopped after step {} of {}. {}\n", step, steps, folder_.words_when_stopped());
    return program::kInterrupted;
  }

  int finish(double seconds, double images_per_second) {
    if (!folder_.writes()) return 0;
    const Result weights(*this);
    const std::vector<heed::Evaluation> results = look_at(data_.images.test, 6);
    if (InterruptScope::requested()) {
      fmt::print("\nStopped while the finished model was judged. It is saved in {}\n", folder_.model_path());
      return program::kInterrupted;
    }
    fmt::print("\n{}\n", confusion_text(results[0].confusion, model_->class_names));
    fmt::print("test accuracy {:.2f} %, averaged with the mirror image {:.2f} %, over six views {:.2f} %\n", 100 * results[0].accuracy,
        100 * results[1].accuracy, 100 * results[2].accuracy);
    if (data_.generated) fmt::print("These are drawn shapes, the generated sample set: the numbers say nothing about CIFAR-10.\n");
    fmt::print("trained in {}, {:.0f} images/s; the model is saved in {}\n", clock_time(seconds), images_per_second, folder_.model_path());
    folder_.log({{"event", "result"}, {"dataset", data_.name()}, {"net", options_.net.net}, {"attention", options_.net.attention},
        {"seed", options_.seed}, {"threads", heed::thread_count()}, {"epochs", options_.epochs}, {"test_accuracy", results[0].accuracy},
        {"test_accuracy_flip", results[1].accuracy}, {"test_accuracy_6view", results[2].accuracy}, {"train_seconds", seconds},
        {"images_per_second", images_per_second}, {"weights_hash", heed::weights_hash(model_->net)}});
    folder_.remove_checkpoint();
    return 0;
  }

  TrainOptions options_;
  heed::Communicator& ranks_;
  Index steps_made_ = 0;
  program::RunFolder folder_;
  DataSource data_;
  heed::ImageDataset train_, validation_;
  std::string images_hash_, judging_hash_;  ///< of train_, and of what the epochs and the run are judged by
  std::optional<StoredModel> model_;
  std::optional<heed::WeightAverage<float>> average_;  ///< of its weights, if the recipe asks for one
};

}  // namespace

int train(const TrainOptions& options) {
  const program::Threads threads(options.threads);
  const auto backend = std::find(kBackends.begin(), kBackends.end(), options.backend);
  const heed::BackendScope loops(static_cast<heed::Backend>(backend - kBackends.begin()));
  return program::on_ranks("cifar10", [&](heed::Communicator& ranks) { return Run(options, ranks)(); });
}

}  // namespace cifar10
