// SPDX-License-Identifier: MIT
// adamw/N: one step over N numbers. It reads value, gradient and two moments and writes all but the gradient.
#include <heed/optim/adam.hpp>

#include <reference/optimizer_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct AdamWorkload {
  Index count = 1;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("N", self.count);
  }
  void add(const std::string& name) const;
};

struct AdamCase {
  Parameter<float> parameter;
  AdamW<float> optimizer;

  explicit AdamCase(Index count) : parameter({count}), optimizer({{"weight", &parameter}}, {.learning_rate = 1e-3}) {
    std::copy_n(operand<1>({count}, 1).data(), count, parameter.value());
    std::copy_n(operand<1>({count}, 2).data(), count, parameter.gradient());
  }

  void run() {
    optimizer.step();
    benchmark::ClobberMemory();
  }
  /// Two steps of some numbers.
  std::string check() {
    constexpr Index kMost = 1000;
    const auto items = samples_of(parameter.size(), kMost);
    const auto sampled = [&](const float* all) {
      std::vector<float> part;
      for (const Index i : items) part.push_back(all[i]);
      return part;
    };
    std::vector<float> expected = sampled(parameter.value());
    const std::vector<float> gradient = sampled(parameter.gradient());
    heed::reference::AdamReference<float> rule;
    for (int step = 1; step <= 2; ++step) {
      optimizer.step();
      rule.step(expected, gradient, AdamWOptions{.learning_rate = 1e-3}, 1e-3, step);
    }
    // Two steps change a number by 0.002: that much is looked at.
    const std::vector<float> got = sampled(parameter.value());
    for (std::size_t i = 0; i < got.size(); ++i)
      if (!(std::abs(got[i] - expected[i]) <= 2e-3 * 1e-3))
        return text("value ", items[i], " is ", got[i], ", the reference ", expected[i]);
    return {};
  }

  naive::Floats value, first, second;
  int naive_step = 0;

  void run_naive() {
    const AdamWOptions o{.learning_rate = 1e-3};
    naive::adamw(parameter.size(), value.data(), parameter.gradient(), first.data(), second.data(), o.learning_rate, o.beta1, o.beta2,
        o.eps, o.weight_decay, ++naive_step);
    benchmark::ClobberMemory();
  }
  /// Two steps of two new optimisers.
  std::string check_naive() {
    AdamCase other(parameter.size());
    value.assign(other.parameter.value(), other.parameter.value() + parameter.size());
    first = second = naive::zeros(parameter.size());
    for (int step = 0; step < 2; ++step) other.run(), run_naive();
    return difference("value", other.parameter.value(), value);
  }
};

void AdamWorkload::add(const std::string& name) const {
  add_case(name, streams(static_cast<double>(count), 7, 7, 4, 4).forward, [n = count] { return AdamCase(n); });
}

[[maybe_unused]] const bool known = family<AdamWorkload>("adamw", {"10000000", "100000"});

}  // namespace
