// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <unordered_set>

#include <heed/core/anomaly.hpp>
#include <heed/core/context.hpp>
#include <heed/core/layer.hpp>
#include <heed/distributed/sharded_gradients.hpp>
#include <heed/losses/cross_entropy.hpp>
#include <heed/losses/loss_share.hpp>
#include <heed/optim/clip_gradient_norm.hpp>
#include <heed/optim/optimizer.hpp>
#include <heed/optim/schedule.hpp>
#include <heed/train/metrics.hpp>

namespace heed::inline HEED_ABI {

struct TrainerOptions {
  std::uint64_t seed = 0;  ///< of dropout
  /// Of all the model's parameters that are not frozen together, 2-norm; longer gradients are scaled down to it. 0 or more; infinity: none are.
  double max_gradient_norm = std::numeric_limits<double>::infinity();
  Index first_step = 0;  ///< number of the first step, for a run that goes on; 0 or more
  /// Parts of each batch that run forward and backward one after another, with batch statistics of their own; see ShardedGradients. A batch of fewer images has
  /// as many shards as images: mind a short last batch, of whose shards of one row BatchNorm1d has no variance.
  Index shards = 1;
  /// Processes that share the shards; null: this one has all. The result is the same to the bit for any number of them. Must outlive the trainer.
  Communicator* communicator = nullptr;
};

/// What one step did.
struct StepReport {
  Index step = 0;                   ///< 0, 1, ... over all epochs
  Index images = 0;                 ///< in the batch (or tokens: labels), without those whose label the loss ignores
  double loss = 0;                  ///< mean over the images of the batch, also where the loss function gives their sum
  Index correct = 0;                ///< of the training pass, before the update; 0 where targets are no labels
  double learning_rate_factor = 1;  ///< the schedule's
};

/// What the steps of an epoch (or of what was run of it) add up to. A later run goes on from it to the same report, but for the seconds.
struct EpochReport {
  Index epoch = 0;                           ///< its number
  Index steps = 0, images = 0, correct = 0;  ///< so far; `images` are those that count, as in StepReport
  double loss_sum = 0;                       ///< over the images, in their order
  double seconds = 0;                        ///< of wall clock
  bool stopped = false;                      ///< a stop was requested

  double loss() const { return images == 0 ? 0.0 : loss_sum / static_cast<double>(images); }  ///< mean over the images

  /// Share of images that were right in the training pass, 0 ... 1.
  double accuracy() const { return images == 0 ? 0.0 : static_cast<double>(correct) / static_cast<double>(images); }
  /// Of wall clock.
  double images_per_second() const { return seconds > 0 ? static_cast<double>(images) / seconds : 0.0; }
};

/// The training loop: forward, loss, backward, update, again.
///
/// ```cpp
/// Trainer trainer(model, CrossEntropyLoss<float>({.label_smoothing = 0.1}), optimizer, WarmupSchedule{.steps = 585});
/// for (Index epoch = 0; epoch < 3; ++epoch) {
///   EpochReport report = trainer.run_epoch(batches, epoch, [&](const StepReport& step) { show(step); });
///   Evaluation result = evaluate(model, test);
/// }
/// ```
///
/// Looks at the model and the optimiser, which must outlive it and stay where they are; owns the model's cache. Step s runs under
/// StepScope(seed, s), so what dropout draws depends on nothing else. `loss(logits, labels, d_logits)` returns the loss and writes its
/// gradient; logits of tokens (N, T, classes) come to it as rows, with one label each. Targets may also be a tensor of the shape of what the model gives, of its
/// scalar: for MSELoss, BCEWithLogitsLoss, or probabilities for CrossEntropyLoss. After its first step a step of the same size asks the
/// system for no memory (LLVM's OpenMP does, for its own loops). The loss
/// and the gradients are checked: training that runs away ends with a sentence and not with hours of NaN, before a weight is spoiled.
template <class Model, class Loss = CrossEntropyLoss<typename Model::scalar>>
class Trainer {
 public:
  using T = typename Model::scalar;  ///< what the model computes in

  /// Looks at `model` and `optimizer`, which may step a part of the model. `schedule` gives each step's factor of the learning rate. Throws std::invalid_argument
  /// for options out of range.
  Trainer(Model& model, Loss loss, Optimizer<T>& optimizer, std::function<double(Index)> schedule = ConstantSchedule{},
      const TrainerOptions& options = {})
      : model_(model),
        loss_(std::move(loss)),
        optimizer_(optimizer),
        schedule_(std::move(schedule)),
        options_(options),
        parameters_(named_parameters(model)),
        step_(options.first_step) {
    require(options.shards >= 1, "Trainer: shards is ", options.shards, ", expected at least 1");
    require(options.max_gradient_norm >= 0, "Trainer: max_gradient_norm is ", options.max_gradient_norm,
        ", expected a number from 0 on, or infinity for none");
    require(options.first_step >= 0, "Trainer: first_step is ", options.first_step, ", expected 0 or more");
    std::unordered_set<const Parameter<T>*> stepped;
    for (const NamedParameter<T>& own : optimizer.named_parameters()) stepped.insert(own.parameter);
    for (const NamedParameter<T>& own : parameters_)
      if (!stepped.contains(own.parameter)) others_.push_back(own.parameter);
    Communicator* ranks = options.communicator ? options.communicator : &alone_;
    if (options.shards > 1 || ranks->size() > 1)
      sharded_ = std::make_unique<ShardedGradients<T>>(parameters_, named_buffers(model), options.shards, *ranks);
  }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// One step on one batch. `x` is anything that the model takes. Throws AnomalyError when the loss, a gradient or the sum of the gradients' squares is not a finite
  /// number, and then has changed no weight (running statistics and gradients it has). Of a loss the sentence begins with the first layer that gave such a number,
  /// for which forward runs once more under an AnomalyScope. Of a gradient it names the parameter, the last of the model that has such a one,
  /// and under an AnomalyScope of the caller's the layer that gave it.
  template <class X, class Labels>
  StepReport step(const X& x, const Labels& labels) {
    StepReport report{.step = step_, .images = counted_labels(loss_, labels), .learning_rate_factor = schedule_(step_)};
    cause_.clear();
    optimizer_.zero_gradients();
    for (Parameter<T>* other : others_) other->zero_gradient();
    const ShardReport made = sharded_ ? in_shards(x, labels) : pass(x, labels, 0, 1);
    report.loss = is_sum() && report.images > 0 ? made.loss / static_cast<double>(report.images) : made.loss;
    report.correct = made.correct;
    ranks_stop_ = made.stop;
    if (!std::isfinite(report.loss)) report_loss(report.loss);
    const double norm = gradient_norm(parameters_);
    if (!std::isfinite(norm)) report_gradient();
    if (std::min(norm, options_.max_gradient_norm) > kLargestNorm) report_gradient();
    if (std::isfinite(options_.max_gradient_norm)) clip_gradients_with_norm(parameters_, options_.max_gradient_norm, norm);
    optimizer_.step(report.learning_rate_factor);
    ++step_;
    return report;
  }

  /// The batches of one epoch (Batches, TensorBatches, or anything whose `epoch` gives batches with `inputs` and `targets`), or those that are left of one that stopped after `from.steps` of them. After every step `on_step(step)` is called, or
  /// `on_step(step, epoch)` with what the epoch has come to. Ends early, after a whole step, when a stop was requested.
  template <class Source, class OnStep>
  EpochReport run_epoch(Source& batches, const EpochReport& from, const OnStep& on_step) {
    const auto start = std::chrono::steady_clock::now();
    EpochReport report = from;
    report.stopped = false;
    for (const auto& batch : batches.epoch(report.epoch, report.steps)) {
      const StepReport one = [&] {
        if constexpr (requires { batch.inputs, batch.targets; })
          return step(batch.inputs, batch.targets);
        else
          return step(batch.images, batch.labels);
      }();
      ++report.steps;
      report.images += one.images;
      report.correct += one.correct;
      report.loss_sum += one.loss * static_cast<double>(one.images);
      report.seconds = from.seconds + std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if constexpr (std::is_invocable_v<const OnStep&, const StepReport&, const EpochReport&>)
        on_step(one, static_cast<const EpochReport&>(report));
      else
        on_step(one);
      if (sharded_ && sharded_->communicator().size() > 1 ? ranks_stop_ : stop_requested()) {
        report.stopped = true;
        break;
      }
    }
    return report;
  }
  /// A whole epoch; `on_step` as above.
  template <class Source, class OnStep>
  EpochReport run_epoch(Source& batches, Index epoch, const OnStep& on_step) {
    return run_epoch(batches, EpochReport{.epoch = epoch}, on_step);
  }
  /// A whole epoch.
  template <class Source>
  EpochReport run_epoch(Source& batches, Index epoch) {
    return run_epoch(batches, epoch, [](const StepReport&) {});
  }

  /// Lets `run_epoch` return after the running step (with several ranks: all of them after the next one). May be called from another thread and from a signal
  /// handler.
  void request_stop() noexcept { stop_.store(true, std::memory_order_relaxed); }
  /// Whether a stop was requested.
  bool stop_requested() const noexcept { return stop_.load(std::memory_order_relaxed); }
  /// Forgets it: the next `run_epoch` runs to its end.
  void clear_stop() noexcept { stop_.store(false, std::memory_order_relaxed); }

  /// The number of the next step.
  Index next_step() const { return step_; }

 private:
  static_assert(std::atomic<bool>::is_always_lock_free);
  /// Where squares of gradients, of which optimisers keep a mean, may be infinite in T.
  static inline const double kLargestNorm = std::sqrt(static_cast<double>(std::numeric_limits<T>::max()));

  /// Whether the loss function adds up its examples in the place of their mean.
  bool is_sum() const {
    if constexpr (requires { loss_.options().reduction; })
      return loss_.options().reduction == Reduction::sum;
    else
      return false;
  }

  /// Adds the gradient of `share` times the loss. If the loss is not finite, there is no gradient. Dropout draws otherwise in each shard.
  template <class X, class Labels>
  ShardReport pass(const X& x, const Labels& labels, Index shard, double share) {
    const auto scope = scope_of(shard);
    auto logits = run(x);
    const Shape shape = logits.shape();
    ShardReport report;
    if constexpr (!LabelRange<Labels>) {
      require<ShapeError>(labels.shape() == shape, "Trainer: the model gives ", shape, ", the targets are ", labels.shape());
      report.loss = share * static_cast<double>(loss_(logits.as_rows(), labels.as_rows(), d_logits_));
    } else {
      report.loss = share * static_cast<double>(loss_(logits.as_rows(), labels, d_logits_));
      if constexpr (WeighsLabels<Loss>)
        report.correct = count_correct<T>(logits.as_rows(), labels, loss_.options().ignore_index);
      else
        report.correct = count_correct<T>(logits.as_rows(), labels);
    }
    logits.release();
    if (!std::isfinite(report.loss)) {
      find_cause(x, shard);
      return report;
    }
    detail::watch_between("Trainer: the loss gives a gradient that is", d_logits_);
    if (share != 1)
      kernels::elementwise(kernels::Scale<T>{static_cast<T>(share)}, d_logits_.size(), d_logits_.data(), std::as_const(d_logits_).data());
    static_cast<void>(model_.backward(d_logits_.view().template reshaped<decltype(logits)::rank>(shape), cache_));
    d_logits_.release();  // the next step finds the memory that this one found
    return report;
  }

  StepScope scope_of(Index shard) const {
    return {options_.seed + static_cast<std::uint64_t>(shard) * 0x9E3779B97F4A7C15u, static_cast<std::uint64_t>(step_)};
  }
  template <class X>
  auto run(const X& x) {
    detail::watch_between("Trainer: the batch holds", x);
    return model_.forward(x, cache_);
  }
  /// The loss is not finite: runs the forward pass again, which draws the same dropout and changes no running statistics, and keeps what an AnomalyScope says of it.
  /// Nothing is said where the logits are finite and the loss alone is not.
  template <class X>
  void find_cause(const X& x, Index shard) {
    const auto scope = scope_of(shard);
    const AnomalyScope watched;
    keep_cause([&] { run(x); });
  }
  /// `work()`, of whose AnomalyErrors a step keeps the first: it does not throw before other ranks have this one's loss.
  template <class Work>
  void keep_cause(const Work& work) {
#if defined(__cpp_exceptions)
    try {
      work();
    } catch (const AnomalyError& error) {
      if (cause_.empty()) cause_ = error.what();
    }
#else
    work();
#endif
  }

  /// Labels or targets [begin, end).
  template <class Labels>
  static auto some(const Labels& labels, Index begin, Index end) {
    if constexpr (LabelRange<Labels>)
      return std::span(std::data(labels), std::size(labels))
          .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    else
      return labels.slice(begin, end);
  }
  template <class X, class Labels>
  ShardReport in_shards(const X& x, const Labels& labels) {
    if constexpr (requires { x.slice(Index(), Index()), x.size(0); }) {
      const Index images = x.size(0);
      Index count = 0;
      if constexpr (LabelRange<Labels>)
        count = static_cast<Index>(std::size(labels));
      else
        count = labels.size(0);
      require(images > 0 && count % images == 0, "Trainer: ", images, " examples with ", count, " labels cannot be cut into shards");
      const auto all = some(labels, 0, count);
      return (*sharded_)(images, stop_requested(), [&](Index shard, Index begin, Index end) {
        const auto own = some(labels, begin * (count / images), end * (count / images));
        ShardReport made{.loss = std::numeric_limits<double>::quiet_NaN()};  // of a pass that an AnomalyScope ends
        keep_cause([&] { made = pass(x.slice(begin, end), own, shard, loss_share(loss_, own, all)); });
        return made;
      });
    } else {
      fail("Trainer: what this model takes cannot be cut into shards: expected a tensor or a view");
    }
  }

  /// The loss is not finite on any rank, with the words of the first that knows why. An AnomalyScope's are the whole sentence, whatever the loss was.
  [[noreturn]] void report_loss(double loss) {
    if (options_.communicator) cause_ = first_words(*options_.communicator, cause_);
    require<AnomalyError>(!context().anomaly || cause_.empty(), cause_);
    fail<AnomalyError>(cause_, cause_.empty() ? "" : ". ", "Trainer: the loss is ", loss, " at step ", step_,
        "; a smaller learning rate or gradient clipping may help");
  }
  /// The norm of the gradients is not finite: one of them is not, or (in double) they are so large that the sum of their squares is not. Clipping would make them
  /// zeros, and an optimiser's mean of squares would stay infinite.
  [[noreturn]] void report_gradient() const {
    // From the last on: in a chain of layers that is the order of backward, and the first that is found is the nearest to the cause.
    for (auto entry = parameters_.rbegin(); entry != parameters_.rend(); ++entry) {
      const auto& [name, parameter] = *entry;
      if (parameter->frozen() || !parameter->has_gradient()) continue;
      const Index place = first_anomaly(parameter->gradient(), parameter->size());
      if (place >= 0)
        fail<AnomalyError>("Trainer: the gradient of ", name, " is ", parameter->gradient()[place], " at element ", place, " of ",
            parameter->shape(), ", at step ", step_,
            "; a smaller learning rate or gradient clipping may help, and an AnomalyScope finds the layer");
    }
    fail<AnomalyError>("Trainer: the gradients are finite numbers, but too large to be squared and added up (beyond about ",
        sizeof(T) == 4 ? "1e19" : "1e154", "), at step ", step_, "; a smaller learning rate, smaller inputs or gradient clipping may help");
  }

  Model& model_;
  Loss loss_;
  Optimizer<T>& optimizer_;
  std::function<double(Index)> schedule_;
  TrainerOptions options_;
  std::vector<NamedParameter<T>> parameters_;
  std::vector<Parameter<T>*> others_;  // those that the optimiser does not step: what backward adds to them must not pile up
  SingleProcess alone_;
  std::unique_ptr<ShardedGradients<T>> sharded_;  ///< null: one shard, one process
  bool ranks_stop_ = false;
  std::string cause_;  ///< of a step that cannot be made: the sentence of the layer
  Index step_;
  typename Model::Cache cache_;
  Tensor<T, 2> d_logits_;
  std::atomic<bool> stop_{false};
};

}  // namespace heed::inline HEED_ABI
