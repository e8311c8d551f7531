// SPDX-License-Identifier: MIT
// Losses: value and gradient, times the upstream gradient of the value.
#include <heed/losses/cross_entropy.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

template <class T>
void cross_entropy(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const std::string reduction = reference.word("reduction", "mean");
  heed::CrossEntropyOptions options{.label_smoothing = reference.number("label_smoothing", 0),
      .ignore_index = reference.integer("ignore_index", -100),
      .reduction = reduction == "sum" ? heed::Reduction::sum : heed::Reduction::mean};
  if (reference.has("in.weight")) options.weight = run.template values<double>("in.weight");
  const heed::CrossEntropyLoss<T> loss(options);

  // Classes are on axis 1 of the file's tensor: as an image batch, each pixel is a row.
  const Tensor<T, 4> logits = run.read_image("in.logits");
  const std::vector<T> upstream = run.values("grad.out.loss");
  Tensor<T, 2> d_logits;
  const auto check = [&](const auto& targets) {
    if (reduction == "none") {
      Tensor<T, 1> losses;
      loss.rows(logits.as_rows(), targets, losses, d_logits);
      run.expect("out.loss", losses.data(), run.shape("out.loss"));
    } else {
      run.expect_number("out.loss", loss(logits.as_rows(), targets, d_logits));
      run.expect_number("out.loss", loss.value(logits.as_rows(), targets));
    }
  };
  if (reference.flag("soft_targets")) {
    const Tensor<T, 4> targets = run.read_image("in.target");
    check(targets.as_rows());
  } else {
    check(run.template values<std::int64_t>("in.target"));
  }
  for (Index r = 0; r < d_logits.rows(); ++r)
    for (Index c = 0; c < d_logits.features(); ++c) d_logits(r, c) *= upstream[upstream.size() == 1 ? 0 : static_cast<std::size_t>(r)];
  run.expect_image("grad.in.logits", {d_logits.data(), logits.shape()});
}

}  // namespace

void add_loss_adapters(Adapters& adapters) { adapters["cross_entropy"] = CONFORMANCE_ADAPTER(cross_entropy); }

}  // namespace conformance
