// SPDX-License-Identifier: MIT
// ONNX: optimisers. One step of several tensors, on the library's rules, which are PyTorch's.
#include <cmath>
#include <memory>

#include <heed/kernels/elementwise.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/sgd.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

/// The inputs R (learning rate), T (steps made before), X1 ... Xn (values), G1 ... (gradients) and the arrays of state behind them; the
/// outputs are X and the state after the step.
template <class T>
struct Step {
  Run<T>& run;
  double rate;
  Index count;
  std::size_t tensors;
  std::vector<std::unique_ptr<heed::Parameter<T>>> parameters;
  std::vector<heed::NamedParameter<T>> named;

  Step(Run<T>& case_run, std::size_t states)
      : run(case_run), rate(number<double>(0)), count(number<Index>(1)), tensors((run.reference().inputs() - 2) / (2 + states)) {
    for (std::size_t k = 0; k < tensors; ++k) {
      parameters.push_back(std::make_unique<heed::Parameter<T>>(run.shape(input(0, k))));
      read(input(0, k), parameters[k]->value());
      read(input(1, k), parameters[k]->gradient());
      named.push_back({heed::text(k), parameters[k].get()});
    }
  }
  /// Tensor k of an array of inputs: 0 values, 1 gradients, 2 ... state.
  std::string input(std::size_t array, std::size_t k) const { return run.reference().input(2 + array * tensors + k); }
  std::string output(std::size_t array, std::size_t k) const { return run.reference().output(array * tensors + k); }

  void read(const std::string& name, T* target) const {
    const std::vector<T> elements = run.values(name);
    std::copy(elements.begin(), elements.end(), target);
  }
  /// Gives the optimiser, which has `states` arrays of state, what it knew after `steps` steps.
  void restore(heed::Optimizer<T>& optimizer, std::size_t states, Index steps) const {
    const auto found = optimizer.named_state();
    for (std::size_t k = 0; k < tensors; ++k)
      for (std::size_t s = 0; s < states; ++s) read(input(2 + s, k), found[k * states + s].tensor->data());
    for (const auto& step : optimizer.named_step_counts()) *step.count = steps;
  }
  void expect(heed::Optimizer<T>& optimizer, std::size_t states) const {
    const auto found = optimizer.named_state();
    for (std::size_t k = 0; k < tensors; ++k) {
      run.expect(output(0, k), std::as_const(*parameters[k]).value(), parameters[k]->shape());
      for (std::size_t s = 0; s < states; ++s) run.expect(output(1 + s, k), found[k * states + s].tensor->data(), parameters[k]->shape());
    }
  }

 private:
  template <class U>
  U number(std::size_t position) {
    return run.template values<U>(run.reference().input(position)).at(0);
  }
};

/// ONNX adds epsilon to the root before it is corrected, and corrects nothing at T = 0: with root' = root / c2 and rate' = rate / c1, the
/// factors that the library will divide by, it is R c2 / c1 m / (root + epsilon) = rate' m / (root' + epsilon / c2).
template <class T>
void adam(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  Step<T> step(run, 2);
  const double alpha = reference.number("alpha", 0.9), beta = reference.number("beta", 0.999);
  const double t = static_cast<double>(std::max<Index>(step.count, 1));
  const double correction1 = 1 - std::pow(alpha, t), correction2 = std::sqrt(1 - std::pow(beta, t));
  heed::Adam<T> optimizer(step.named, {.learning_rate = step.count > 0 ? step.rate : step.rate * correction1 / correction2,
                                          .beta1 = alpha,
                                          .beta2 = beta,
                                          .eps = reference.number("epsilon", 1e-6) / correction2,
                                          .weight_decay = reference.number("norm_coefficient", 0)});
  step.restore(optimizer, 2, std::max<Index>(step.count, 1) - 1);
  optimizer.step();
  const heed::kernels::Scale<T> shrink{static_cast<T>(1 - reference.number("norm_coefficient_post", 0))};
  for (auto& p : step.parameters) heed::kernels::elementwise(shrink, p->size(), p->value(), std::as_const(*p).value());
  step.expect(optimizer, 2);
}

/// V = alpha V + beta (G + norm_coefficient X), where beta counts as 1 at T = 0. The library's buffer takes the whole gradient, so beta goes
/// into the gradient.
template <class T>
void momentum(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const double alpha = reference.number("alpha", 0), norm = reference.number("norm_coefficient", 0);
  Step<T> step(run, 1);
  const double beta = step.count > 0 ? reference.number("beta", 1) : 1.0;
  const bool nesterov = reference.word("mode", "standard") == "nesterov";

  std::vector<std::vector<T>> whole;  // the gradients with their L2 term
  for (auto& p : step.parameters) {
    whole.emplace_back(static_cast<std::size_t>(p->size()));
    T* g = whole.back().data();
    heed::kernels::elementwise(heed::kernels::Scale<T>{static_cast<T>(norm)}, p->size(), g, std::as_const(*p).value());
    heed::kernels::elementwise(heed::kernels::Add{}, p->size(), g, static_cast<const T*>(g), std::as_const(*p).gradient());
    heed::kernels::elementwise(heed::kernels::Scale<T>{static_cast<T>(beta)}, p->size(), p->gradient(), static_cast<const T*>(g));
  }
  // X -= R V, or with nesterov X -= R alpha V and then R (G + norm_coefficient X before the step). A momentum of 0 has no buffer in the
  // library: then it is 1, of a buffer that is 0.
  heed::Sgd<T> optimizer(step.named, {.learning_rate = nesterov ? step.rate * alpha : step.rate, .momentum = alpha != 0 ? alpha : 1.0});
  if (alpha != 0) {
    step.restore(optimizer, 1, 1);
  } else {
    for (std::size_t k = 0; k < step.tensors; ++k) run.mark_used(step.input(2, k));
    optimizer.named_state();
    for (const auto& steps : optimizer.named_step_counts()) *steps.count = 1;
  }
  optimizer.step();
  if (nesterov) {
    for (std::size_t k = 0; k < step.tensors; ++k) std::copy(whole[k].begin(), whole[k].end(), step.parameters[k]->gradient());
    heed::Sgd<T>(step.named, {.learning_rate = step.rate}).step();
  }
  step.expect(optimizer, 1);
}

}  // namespace

void add_onnx_optimizer_adapters(Adapters& adapters) {
  adapters["Adam"] = CONFORMANCE_ADAPTER(adam);
  adapters["Momentum"] = CONFORMANCE_ADAPTER(momentum);
}

}  // namespace conformance
