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
/// ```cpp
/// Muon<float> muon(hidden, {.learning_rate = 2e-3, .adjust_lr = AdjustLr::match_rms_adamw});
/// AdamW<float> adam(others, {.learning_rate = 2e-3});
/// JointOptimizer<float> both({&muon, &adam});
/// Trainer trainer(model, CrossEntropyLoss<float>(), both, schedule);
/// ```
///
/// A step, a factor of the learning rates and the end of the gradients go to all, one after another; states and step counts are those of all, in their order.
/// The bits are those of the optimisers stepped by themselves.
template <class T>
class JointOptimizer final : public Optimizer<T> {
 public:
  /// Throws std::invalid_argument if there is none, one is null, or a parameter or its name stands in two of them.
  explicit JointOptimizer(std::vector<Optimizer<T>*> optimizers) : optimizers_(std::move(optimizers)) {
    require(!optimizers_.empty(), "JointOptimizer: there are no optimisers");
    std::unordered_set<std::string> names;
    std::unordered_set<const Parameter<T>*> parameters;
    for (Optimizer<T>* one : optimizers_) {
      require(one != nullptr, "JointOptimizer: an optimiser is null");
      kind_ += (kind_.empty() ? "" : " + ") + std::string(one->kind());
      for (const NamedParameter<T>& own : one->named_parameters())
        require(names.insert(own.name).second && parameters.insert(own.parameter).second, "JointOptimizer: two of the optimisers step \"",
            own.name, "\"; each parameter belongs to one of them");
    }
  }

  /// The kinds of all: "Muon + AdamW".
  std::string_view kind() const override { return kind_; }

  void step(double learning_rate_factor = 1) override {
    check_step(learning_rate_factor);  // all of them step, or none
    for (Optimizer<T>* one : optimizers_) one->step(learning_rate_factor);
  }
  void check_step(double learning_rate_factor = 1) const override {
    for (const Optimizer<T>* one : optimizers_) one->check_step(learning_rate_factor);
  }
  void zero_gradients() override {
    for (Optimizer<T>* one : optimizers_) one->zero_gradients();
  }
  std::vector<NamedParameter<T>> named_parameters() const override {
    return joined([](const Optimizer<T>& one) { return one.named_parameters(); });
  }
  std::vector<NamedState<T>> named_state() override {
    return joined([](Optimizer<T>& one) { return one.named_state(); });
  }
  std::vector<NamedStepCount> named_step_counts() override {
    return joined([](Optimizer<T>& one) { return one.named_step_counts(); });
  }
  std::vector<std::string> list_frozen(const std::vector<std::string>& names) override {
    return joined([&](Optimizer<T>& one) { return one.list_frozen(names); });
  }

 private:
  template <class List>
  auto joined(const List& list) const {
    auto all = decltype(list(*optimizers_.front()))();
    for (Optimizer<T>* one : optimizers_)
      for (auto& entry : list(*one)) all.push_back(std::move(entry));
    return all;
  }

  std::vector<Optimizer<T>*> optimizers_;
  std::string kind_;
};

}  // namespace heed::inline HEED_ABI
