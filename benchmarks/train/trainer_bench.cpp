// SPDX-License-Identifier: MIT
// train_step/demo|small|large[/batchN]: forward, cross-entropy, backward and AdamW on one random batch.
#include <heed/optim/adam.hpp>
#include <heed/train/trainer.hpp>

#include "net_workload.hpp"

namespace {

using namespace bench;

/// A model in training.
template <class T>
struct Training {
  cifar10::Net<T> model;
  AdamW<T> optimizer{named_parameters(model), {.learning_rate = 1e-3}};
  Trainer<cifar10::Net<T>> trainer{model, CrossEntropyLoss<T>(), optimizer};

  explicit Training(cifar10::Net<T> start) : model(std::move(start)) {}
};

std::vector<int> labels(Index count) {
  std::vector<int> result;
  for (Index i = 0; i < count; ++i) result.push_back(static_cast<int>(i % 10));
  return result;
}

struct TrainStepWorkload : NetWorkload {
  void add(const std::string& name) const;
};

struct TrainStepCase {
  TrainStepWorkload w;
  Tensor<float, 4> x = w.input();
  std::vector<int> classes = labels(w.images());
  Training<float> training{w.model<float>()};

  explicit TrainStepCase(const TrainStepWorkload& workload) : w(workload) {}

  void run() { benchmark::DoNotOptimize(training.trainer.step(x, classes).loss); }

  /// The losses of three steps, each of which shows what the one before did to the weights, as they are in double.
  std::string check() const {
    const Index count = std::min<Index>(w.images(), 16);  // in double a whole batch would take seconds
    const auto part = Tensor<float, 4>(x.slice(0, count));
    const auto wide = converted<double, float, 4>(part);
    Training<float> narrow(w.model<float>());
    Training<double> twin(w.twin(narrow.model));
    std::vector<float> losses;
    std::vector<double> expected;
    for (int step = 0; step < 3; ++step) {
      losses.push_back(static_cast<float>(narrow.trainer.step(part, labels(count)).loss));
      expected.push_back(twin.trainer.step(wide, labels(count)).loss);
    }
    // The first step of AdamW is a sign: where a gradient is 0 up to rounding, the signs differ.
    for (std::size_t i = 0; i < losses.size(); ++i)
      if (!(std::abs(losses[i] - expected[i]) <= 0.01 * expected[i]))
        return text("the loss of step ", i, " is ", losses[i], ", in double ", expected[i]);
    return {};
  }
};

void TrainStepWorkload::add(const std::string& name) const {
  add_case(name, work(true), [w = *this] { return TrainStepCase(w); });
}

[[maybe_unused]] const bool known = family<TrainStepWorkload>("train_step", {"demo", "small", "large"});

}  // namespace
