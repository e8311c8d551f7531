// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <heed/optim/adam.hpp>
#include <heed/train/trainer.hpp>

#include "../program/interrupt.hpp"
#include "../program/progress.hpp"
#include "../program/run_folder.hpp"
#include "../program/threads.hpp"
#include "corpus.hpp"
#include "language_model.hpp"
#include "writer.hpp"

namespace text {

namespace {

using program::InterruptScope;

constexpr Index kReports = 4;         // times that a run tells how it does on the text it does not learn
constexpr double kHeldOut = 0.05;     // of the text, its end
constexpr Index kSampleLength = 200;  // characters written when the run is done

/// Pieces of text and, for each of their characters, the one behind it.
struct Batch {
  heed::Tensor<std::int64_t, 2> x;   ///< (pieces, context)
  std::vector<std::int64_t> labels;  ///< pieces * context

  void resize(Index pieces, Index context) {
    x.resize({pieces, context});
    labels.resize(static_cast<std::size_t>(pieces * context));
  }
  void set(Index piece, const std::int64_t* text) {
    const Index context = x.size(1);
    std::copy_n(text, context, x.data() + piece * context);
    std::copy_n(text + 1, context, labels.begin() + piece * context);
  }
};

/// One training run.
class Run {
 public:
  explicit Run(const TrainOptions& options) : options_(options), folder_(options.output, "text", options.overwrite) {
    check(options.model);
    std::vector<std::string> places = options.data;
    if (places.empty()) places = {TEXT_SOURCE_ROOT "/docs", TEXT_SOURCE_ROOT "/README.md"};
    const auto files = corpus_files(places);
    const std::string corpus = read_corpus(files);
    files_ = static_cast<Index>(files.size());
    const Vocabulary vocabulary = Vocabulary::of(corpus);
    numbers_ = vocabulary.numbers(corpus);
    const Index all = static_cast<Index>(numbers_.size()), context = options.model.context;
    held_out_ = std::max<Index>(static_cast<Index>(kHeldOut * static_cast<double>(all)), context + 1);
    learned_ = all - held_out_;
    heed::require(
        learned_ > context, "the text has ", all, " characters; with --context ", context, " it needs more than ", 2 * context + 2);
    const heed::SeedScope seed(options.seed);
    model_.emplace(options.model, vocabulary);
    // The residual stream starts small beside what the layers add to it (Radford et al. 2019).
    heed::initialize(model_->net.get<0>().weight(), heed::Initializer::normal, {.value = 0.02});
  }

  int operator()() {
    return folder_.logged([&] { return run(); });
  }

 private:
  int run() {
    const InterruptScope interrupt;
    heed::AdamW<float> optimizer(heed::named_parameters(model_->net),
        {.learning_rate = options_.learning_rate, .beta2 = 0.98, .weight_decay = 0.1},
        {{"*bias", {.weight_decay = 0}}, {"*norm*", {.weight_decay = 0}}, {"embedding.*", {.weight_decay = 0}}});
    const heed::WarmupSchedule schedule{
        .steps = options_.steps, .warmup_steps = options_.steps / 10, .end_factor = 0.05, .decay = heed::Decay::cosine};
    heed::Trainer trainer(
        model_->net, heed::CrossEntropyLoss<float>(), optimizer, schedule, {.seed = options_.seed, .max_gradient_norm = 1});
    announce();
    program::Progress progress(1, options_.steps, "characters");
    progress.start_epoch(0);
    Batch batch;
    batch.resize(options_.batch_size, options_.model.context);
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
    double loss = 0;
    Index since = 0;
    for (Index step = 0; step < options_.steps; ++step) {
      draw(step, batch);
      const heed::StepReport report = trainer.step(batch.x, batch.labels);
      progress.step(report.images, report.loss, report.correct);
      loss += report.loss, ++since;
      const bool last = step + 1 == options_.steps;
      if (last || (step + 1) * kReports / options_.steps > step * kReports / options_.steps) {
        progress.clear();
        judge(step + 1, loss / static_cast<double>(since), seconds());
        loss = 0, since = 0;
      }
      if (InterruptScope::requested() && !last) {
        progress.clear();
        return stopped(step + 1);
      }
    }
    return finish(seconds());
  }

  /// Pieces from anywhere in the text, a function of seed and step.
  void draw(Index step, Batch& batch) const {
    const heed::CounterRandom random({options_.seed, static_cast<std::uint64_t>(step), 0x70696563});
    for (Index i = 0; i < batch.x.size(0); ++i) {
      const auto at = random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(learned_ - options_.model.context));
      batch.set(i, numbers_.data() + at);
    }
  }

  /// The loss a character of the text that is not learned, piece by piece.
  double held_out_loss() const {
    const Index context = options_.model.context, pieces = (held_out_ - 1) / context;
    Batch batch;
    double sum = 0;
    Index count = 0;
    for (Index first = 0; first < pieces; first += options_.batch_size) {
      const Index some = std::min(options_.batch_size, pieces - first);
      batch.resize(some, context);
      for (Index i = 0; i < some; ++i) batch.set(i, numbers_.data() + learned_ + (first + i) * context);
      const auto logits = model_->net.forward(batch.x);
      sum += heed::CrossEntropyLoss<float>().value(logits.as_rows(), batch.labels) * static_cast<double>(some);
      count += some;
    }
    return sum / static_cast<double>(count);
  }

  void announce() {
    const ModelOptions& o = options_.model;
    fmt::print(
        "{} characters of {} files, {} different ones; {} layers of {} features, {} heads ({} of keys and values), context {}: {} "
        "parameters\n",
        numbers_.size(), files_, model_->vocabulary.size(), o.layers, o.features, o.heads, o.kv_heads, o.context,
        model_->net.parameter_count());
    fmt::print("{} steps of {} pieces of {} characters, {}\n\n", options_.steps, options_.batch_size, o.context,
        program::counted(heed::thread_count(), "thread"));
    std::fflush(stdout);
    folder_.open();
    folder_.log({{"event", "start"}, {"files", files_}, {"characters", numbers_.size()}, {"vocabulary", model_->vocabulary.size()},
        {"layers", o.layers}, {"features", o.features}, {"heads", o.heads}, {"kv_heads", o.kv_heads}, {"context", o.context},
        {"steps", options_.steps}, {"batch_size", options_.batch_size}, {"learning_rate", options_.learning_rate}, {"seed", options_.seed},
        {"threads", heed::thread_count()}, {"parameters", model_->net.parameter_count()}});
  }

  void keep() {
    save(folder_.model_path(), *model_);
    folder_.model_is_written();
  }

  void judge(Index step, double loss, double seconds) {
    const double held_out = held_out_loss(), speed = static_cast<double>(step * options_.batch_size * options_.model.context) / seconds;
    heed::require<std::runtime_error>(std::isfinite(held_out), "the loss of the held-out text is ", held_out, " after step ", step,
        "; a smaller --learning-rate may help");
    keep();
    fmt::print("step {:>5}/{}  loss {:.3f}  held-out loss {:.3f}  {:.0f} characters/s  {}\n", step, options_.steps, loss, held_out, speed,
        program::clock_time(seconds));
    std::fflush(stdout);
    folder_.log({{"event", "report"}, {"step", step}, {"training_loss", loss}, {"loss", held_out}, {"train_seconds", seconds},
        {"characters_per_second", speed}});
  }

  int stopped(Index step) {
    if (!folder_.replaces()) keep();
    folder_.log({{"event", "interrupted"}, {"step", step}, {"steps", options_.steps}, {"weights_hash", heed::weights_hash(model_->net)}});
    fmt::print("\nStopped after step {} of {}. {}\n", step, options_.steps, folder_.words_when_stopped());
    return program::kInterrupted;
  }

  int finish(double seconds) {
    Writer writer(*model_, {numbers_[0]}, 0.8, options_.seed, true);
    std::string sample = model_->vocabulary[numbers_[0]];
    for (Index i = 0; i < kSampleLength; ++i) sample += model_->vocabulary[writer.next()];
    fmt::print("\n{}\n\ntrained in {}; the model is saved in {}\n", sample, program::clock_time(seconds), folder_.model_path());
    folder_.log({{"event", "result"}, {"train_seconds", seconds}, {"weights_hash", heed::weights_hash(model_->net)}});
    return 0;
  }

  TrainOptions options_;
  program::RunFolder folder_;
  Index files_ = 0, learned_ = 0, held_out_ = 0;
  std::vector<std::int64_t> numbers_;  ///< the text: what is learned, then what is held out
  std::optional<LanguageModel> model_;
};

}  // namespace

int train(const TrainOptions& options) {
  const program::Threads threads(options.threads);
  return Run(options)();
}

}  // namespace text
