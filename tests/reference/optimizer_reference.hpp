// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include <heed/optim/adam.hpp>
#include <heed/optim/sgd.hpp>

namespace heed::reference {

/// torch's single-tensor Adam and AdamW, one line an operation and in its order. `step` is 1 at the first.
template <class T>
struct AdamReference {
  std::vector<T> exp_avg, exp_avg_sq, max_exp_avg_sq;

  template <bool decoupled>
  void step(std::vector<T>& param, const std::vector<T>& gradient, const BasicAdamOptions<decoupled>& o, double rate, int step) {
    for (auto* state : {&exp_avg, &exp_avg_sq, &max_exp_avg_sq}) state->resize(param.size());
    for (std::size_t i = 0; i < param.size(); ++i) {
      T g = gradient[i];
      if (o.maximize) g = -g;
      if (o.weight_decay != 0 && decoupled) param[i] = param[i] * static_cast<T>(1 - rate * o.weight_decay);
      if (o.weight_decay != 0 && !decoupled) g = g + static_cast<T>(o.weight_decay) * param[i];
      exp_avg[i] = exp_avg[i] + static_cast<T>(1 - o.beta1) * (g - exp_avg[i]);
      exp_avg_sq[i] = exp_avg_sq[i] * static_cast<T>(o.beta2) + static_cast<T>(1 - o.beta2) * g * g;
      T second = exp_avg_sq[i];
      if (o.amsgrad) {
        if (second > max_exp_avg_sq[i]) max_exp_avg_sq[i] = second;
        second = max_exp_avg_sq[i];
      }
      const double bias_correction1 = 1 - std::pow(o.beta1, step), bias_correction2 = 1 - std::pow(o.beta2, step);
      const T denom = std::sqrt(second) / static_cast<T>(std::sqrt(bias_correction2)) + static_cast<T>(o.eps);
      param[i] = param[i] - static_cast<T>(rate / bias_correction1) * (exp_avg[i] / denom);
    }
  }
};

/// torch's single-tensor SGD.
template <class T>
struct SgdReference {
  std::vector<T> momentum_buffer;

  void step(std::vector<T>& param, const std::vector<T>& gradient, const SgdOptions& o, double rate, int) {
    const bool first = momentum_buffer.empty();
    momentum_buffer.resize(param.size());
    for (std::size_t i = 0; i < param.size(); ++i) {
      T g = gradient[i];
      if (o.maximize) g = -g;
      if (o.weight_decay != 0) g = g + static_cast<T>(o.weight_decay) * param[i];
      if (o.momentum != 0) {
        T& buffer = momentum_buffer[i];
        buffer = first ? g : static_cast<T>(o.momentum) * buffer + static_cast<T>(1 - o.dampening) * g;
        g = o.nesterov ? g + static_cast<T>(o.momentum) * buffer : buffer;
      }
      param[i] = param[i] - static_cast<T>(rate) * g;
    }
  }
};

}  // namespace heed::reference
