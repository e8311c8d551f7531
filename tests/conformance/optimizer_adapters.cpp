// SPDX-License-Identifier: MIT
// Optimisers: a trajectory of parameters over given gradients, and the state at its end.
#include <memory>

#include <heed/optim/adam.hpp>
#include <heed/optim/sgd.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

/// Feeds `grads.P` to an optimiser of the parameters `param0.P`, made by `make(parameters)`, and compares every step.
template <class T, class Make>
void trajectory(Run<T>& run, const Make& make) {
  const ReferenceCase& reference = run.reference();
  std::vector<std::unique_ptr<heed::Parameter<T>>> parameters;
  std::vector<heed::NamedParameter<T>> named;
  for (const auto& entry : reference.file().entries()) {
    if (!entry.name.starts_with("param0.")) continue;
    parameters.push_back(std::make_unique<heed::Parameter<T>>(entry.shape));
    run.set_parameter(entry.name, *parameters.back());
    named.push_back({entry.name.substr(7), parameters.back().get()});
  }
  auto optimizer = make(named);

  const Index steps = reference.integer("steps");
  std::vector<std::vector<T>> gradients, values(named.size());
  for (const auto& p : named) gradients.push_back(run.values("grads." + p.name));
  for (Index step = 0; step < steps; ++step) {
    for (std::size_t k = 0; k < named.size(); ++k)
      std::copy_n(gradients[k].data() + step * named[k].parameter->size(), named[k].parameter->size(), named[k].parameter->gradient());
    optimizer.step();
    for (std::size_t k = 0; k < named.size(); ++k)
      values[k].insert(values[k].end(), named[k].parameter->value(), named[k].parameter->value() + named[k].parameter->size());
  }
  // The files have no float error of PyTorch here. Each step rounds the value, its state and the step by a few units in the last place, and
  // the errors add up over the steps; a single one has as many as other results.
  const Allowance allowance{.roundings = std::max(4.0, 2 * static_cast<double>(steps))};
  for (std::size_t k = 0; k < named.size(); ++k)
    run.expect("traj." + named[k].name, values[k].data(), run.shape("traj." + named[k].name), allowance);
  for (const auto& state : optimizer.named_state())
    run.expect("state." + state.name, state.tensor->data(), run.shape("state." + state.name), allowance);
}

template <class T, class Optimizer>
void adam_like(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  typename Optimizer::Options options;
  options.learning_rate = reference.number("lr", options.learning_rate);
  options.beta1 = reference.number("beta1", options.beta1);
  options.beta2 = reference.number("beta2", options.beta2);
  options.eps = reference.number("eps", options.eps);
  options.weight_decay = reference.number("weight_decay", options.weight_decay);
  options.amsgrad = reference.flag("amsgrad");
  options.maximize = reference.flag("maximize");
  trajectory(run, [&](const auto& parameters) { return Optimizer(parameters, options); });
}
template <class T>
void adam(Run<T>& run) {
  adam_like<T, heed::Adam<T>>(run);
}
template <class T>
void adamw(Run<T>& run) {
  adam_like<T, heed::AdamW<T>>(run);
}

template <class T>
void sgd(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const heed::SgdOptions options{.learning_rate = reference.number("lr", 1e-3),
      .momentum = reference.number("momentum", 0),
      .dampening = reference.number("dampening", 0),
      .weight_decay = reference.number("weight_decay", 0),
      .nesterov = reference.flag("nesterov"),
      .maximize = reference.flag("maximize")};
  trajectory(run, [&](const auto& parameters) { return heed::Sgd<T>(parameters, options); });
}

}  // namespace

void add_optimizer_adapters(Adapters& adapters) {
  adapters["optimizer_adam"] = CONFORMANCE_ADAPTER(adam);
  adapters["optimizer_adamw"] = CONFORMANCE_ADAPTER(adamw);
  adapters["optimizer_sgd"] = CONFORMANCE_ADAPTER(sgd);
}

}  // namespace conformance
