// SPDX-License-Identifier: MIT
// ONNX: losses.
#include <heed/kernels/softmax.hpp>
#include <heed/losses/cross_entropy.hpp>
#include <heed/losses/nll_loss.hpp>

#include "adapters.hpp"
#include "class_rows.hpp"

namespace conformance {
namespace {

/// Scores or log-probabilities (N, C, d1, ...), labels (N, d1, ...) and, if there are any, weights (C).
template <class Loss, class T>
void class_loss(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const std::string reduction = reference.word("reduction", "mean"), name = reference.output(0);
  std::remove_cvref_t<decltype(Loss().options())> options;
  options.ignore_index = reference.integer("ignore_index", options.ignore_index);
  options.reduction = reduction == "sum" ? heed::Reduction::sum : heed::Reduction::mean;
  if (reference.has_input(2)) options.weight = run.template values<double>(reference.input(2));
  const Loss loss(options);

  const Tensor<T, 2> x = ClassRows(run.shape(reference.input(0))).from_file(run.values(reference.input(0)));
  const auto labels = run.template values<std::int64_t>(reference.input(1));
  if (reduction == "none") {
    Tensor<T, 1> losses;
    Tensor<T, 2> dx;
    loss.rows(x, labels, losses, dx);
    run.expect(name, losses.data(), run.shape(reference.input(1)));
  } else {
    const double value = loss.value(x, labels);
    run.expect_number(name, reduction == "mean" ? mean_or_nan(value, labels, options, x.features()) : value);
  }
}
template <class T>
void negative_log_likelihood(Run<T>& run) {
  class_loss<heed::NLLLoss<T>>(run);
}
template <class T>
void softmax_cross_entropy(Run<T>& run) {
  class_loss<heed::CrossEntropyLoss<T>>(run);
  if (!run.reference().has_output(1)) return;
  const Shape shape = run.shape(run.reference().input(0));
  const ClassRows layout(shape);
  std::vector<T> log_p = run.values(run.reference().input(0));
  heed::kernels::log_softmax_forward<T>({layout.items, layout.classes, layout.places}, log_p.data(), log_p.data());
  run.expect(run.reference().output(1), log_p.data(), shape);
}

}  // namespace

void add_onnx_loss_adapters(Adapters& adapters) {
  adapters["NegativeLogLikelihoodLoss"] = CONFORMANCE_ADAPTER(negative_log_likelihood);
  adapters["SoftmaxCrossEntropyLoss"] = CONFORMANCE_ADAPTER(softmax_cross_entropy);
}

}  // namespace conformance
