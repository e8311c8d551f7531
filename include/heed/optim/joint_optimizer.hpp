// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <heed/core/error.hpp>
#include <heed/optim/optimizer.hpp>

namespace heed::inline HEED_ABI {

/// Several optimisers as one, each for its own parameters: Muon for the matrices of a model, say, and AdamW for the rest. Looks at them; they must outlive it
/// and stay where they are.
///
///     Muon<float> muon(hidden, {.learning_rate = 2e-3, .adjust_lr = AdjustLr::match_rms_adamw});
///     AdamW<float> adam(others, {.learning_rate = 2e-3});
///     JointOptimizer<float> both({&muon, &adam});
///     Trainer trainer(model, CrossEntropyLoss<float>(), both, schedule);
///
/// A step, a factor of the learning rates and the end of the gradients go to all, one after another; states and step counts are those of all, in their order.
/// The bits are those of the optimisers stepped by themselves. A weight that is tied under two names must be left to one of them: names alone are compared.
template <class T>
class JointOptimizer final : public Optimizer<T> {
 public:
  /// Throws std::invalid_argument if there is none, one is null, or a parameter's name stands in two of them.
  explicit JointOptimizer(std::vector<Optimizer<T>*> optimizers) : optimizers_(std::move(optimizers)) {
    require(!optimizers_.empty(), "JointOptimizer: there are no optimisers");
    std::unordered_set<std::string> states;
    for (Optimizer<T>* one : optimizers_) {
      require(one != nullptr, "JointOptimizer: an optimiser is null");
      kind_ += (kind_.empty() ? "" : " + ") + std::string(one->kind());
      for (const NamedStepCount& count : one->named_step_counts())
        require(states.insert(count.name).second, "JointOptimizer: two of the optimisers count \"", count.name,
            "\"; each parameter belongs to one of them");
    }
  }

  /// The kinds of all: "Muon + AdamW".
  std::string_view kind() const override { return kind_; }

  void step(double learning_rate_factor = 1) override {
    for (Optimizer<T>* one : optimizers_) one->step(learning_rate_factor);
  }
  void zero_gradients() override {
    for (Optimizer<T>* one : optimizers_) one->zero_gradients();
  }
  std::vector<NamedState<T>> named_state() override { return joined(&Optimizer<T>::named_state); }
  std::vector<NamedStepCount> named_step_counts() override { return joined(&Optimizer<T>::named_step_counts); }

 private:
  template <class Entry>
  std::vector<Entry> joined(std::vector<Entry> (Optimizer<T>::*list)()) {
    std::vector<Entry> all;
    for (Optimizer<T>* one : optimizers_)
      for (Entry& entry : (one->*list)()) all.push_back(std::move(entry));
    return all;
  }

  std::vector<Optimizer<T>*> optimizers_;
  std::string kind_;
};

}  // namespace heed::inline HEED_ABI
