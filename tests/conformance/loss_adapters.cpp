// SPDX-License-Identifier: MIT
// Losses: value and gradient, times the upstream gradient of the value.
#include <heed/losses/bce_with_logits_loss.hpp>
#include <heed/losses/cross_entropy.hpp>
#include <heed/losses/mse_loss.hpp>

#include "adapters.hpp"
#include "class_rows.hpp"

namespace conformance {
namespace {

heed::Reduction reduction_of(const ReferenceCase& reference) {
  return reference.word("reduction", "mean") == "sum" ? heed::Reduction::sum : heed::Reduction::mean;
}

template <class T>
void cross_entropy(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const bool none = reference.word("reduction", "mean") == "none";
  heed::CrossEntropyOptions options{.label_smoothing = reference.number("label_smoothing", 0),
      .ignore_index = reference.integer("ignore_index", -100),
      .reduction = reduction_of(reference)};
  if (reference.has("in.weight")) options.weight = run.template values<double>("in.weight");
  const heed::CrossEntropyLoss<T> loss(options);

  const ClassRows layout(run.shape("in.logits"));
  const Tensor<T, 2> logits = layout.from_file(run.values("in.logits"));
  const std::vector<T> upstream = run.values("grad.out.loss");
  Tensor<T, 2> d_logits;
  const auto check = [&](const auto& targets) {
    if (none) {
      Tensor<T, 1> losses;
      loss.rows(logits, targets, losses, d_logits);
      run.expect("out.loss", losses.data(), run.shape("out.loss"));
      return;
    }
    for (double value : {loss(logits, targets, d_logits), loss.value(logits, targets)}) {
      if constexpr (std::is_same_v<decltype(targets), const std::vector<std::int64_t>&>)
        if (options.reduction == heed::Reduction::mean) value = mean_or_nan(value, targets, options, logits.features());
      run.expect_number("out.loss", value);
    }
  };
  if (reference.flag("soft_targets"))
    check(layout.from_file(run.values("in.target")));
  else
    check(run.template values<std::int64_t>("in.target"));
  for (Index r = 0; r < d_logits.rows(); ++r)
    for (Index c = 0; c < d_logits.features(); ++c) d_logits(r, c) *= upstream[upstream.size() == 1 ? 0 : static_cast<std::size_t>(r)];
  const std::vector<T> elements = layout.to_file(d_logits);
  run.expect("grad.in.logits", elements.data(), run.shape("in.logits"));
}

/// A tensor of the file repeated along its missing axes and those of size 1, to the given shape.
template <class U, class T>
std::vector<U> broadcast(Run<T>& run, const std::string& name, const Shape& shape) {
  const std::vector<U> elements = run.template values<U>(name);
  const Shape own = run.shape(name);
  std::vector<U> result;
  for (Index i = 0; i < shape.size(); ++i) {
    Index left = i, offset = 0, step = 1;
    for (int back = 1; back <= own.rank(); ++back) {
      const Index position = left % shape[-back];
      left /= shape[-back];
      if (own[-back] > 1) offset += position * step;
      step *= own[-back];
    }
    result.push_back(elements[static_cast<std::size_t>(offset)]);
  }
  return result;
}

/// Losses of elements. As one row of many features, so that a weight of any shape is one of features.
template <class T, class Loss>
void elementwise_loss(Run<T>& run, const Loss& loss) {
  const ReferenceCase& reference = run.reference();
  const Shape shape = run.shape("in.x"), row{1, shape.size()};
  const std::vector<T> xs = run.values("in.x"), targets = broadcast<T>(run, "in.target", shape), upstream = run.values("grad.out.loss");
  const TensorView<const T, 2> x(xs.data(), row), target(targets.data(), row);
  Tensor<T, 2> losses, dx;
  if (reference.word("reduction", "mean") == "none") {
    loss.elements(x, target, losses, dx);
    run.expect("out.loss", losses.data(), shape);
  } else {
    run.expect_number("out.loss", loss(x, target, dx));
    run.expect_number("out.loss", loss.value(x, target));
  }
  for (Index i = 0; i < dx.size(); ++i) dx[i] *= upstream[upstream.size() == 1 ? 0 : static_cast<std::size_t>(i)];
  run.expect("grad.in.x", dx.data(), shape);
}
template <class T>
void mse_loss(Run<T>& run) {
  elementwise_loss(run, heed::MSELoss<T>({.reduction = reduction_of(run.reference())}));
}
template <class T>
void bce_with_logits(Run<T>& run) {
  heed::BCEWithLogitsLossOptions options{.reduction = reduction_of(run.reference())};
  const Shape shape = run.shape("in.x");
  if (run.reference().has("in.weight")) options.weight = broadcast<double>(run, "in.weight", shape);
  if (run.reference().has("in.pos_weight")) options.pos_weight = broadcast<double>(run, "in.pos_weight", shape);
  elementwise_loss(run, heed::BCEWithLogitsLoss<T>(options));
}

}  // namespace

void add_loss_adapters(Adapters& adapters) {
  adapters["cross_entropy"] = CONFORMANCE_ADAPTER(cross_entropy);
  adapters["mse_loss"] = CONFORMANCE_ADAPTER(mse_loss);
  adapters["bce_with_logits"] = CONFORMANCE_ADAPTER(bce_with_logits);
}

}  // namespace conformance
