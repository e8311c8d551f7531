// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/losses/loss_base.hpp>

namespace heed::inline HEED_ABI {

struct BCEWithLogitsLossOptions {
  std::vector<double> weight = {};        ///< factors of the losses: one a feature (last axis), or one for all; empty: 1
  std::vector<double> pos_weight = {};    ///< factors of the targets' share alone: one a feature, or one for all; empty: 1
  Reduction reduction = Reduction::mean;  ///< mean divides by the number of elements, whatever the weights
};

/// Binary cross-entropy of sigmoid(x) against targets in [0, 1], element by element: value and gradient in one call.
///
///     loss_i = - weight_i (pos_weight_i t_i log s_i + (1 - t_i) log(1 - s_i)),   s_i = 1 / (1 + exp(-x_i))
///     d loss_i / d x_i = weight_i ((1 - t_i) s_i - pos_weight_i t_i (1 - s_i))
///
/// x, target, dx: channels-last of any rank, for example (rows, questions) or (N, H, W, 1). Neither logarithm is taken of a rounded
/// probability, so x of any size is safe. `torch.nn.BCEWithLogitsLoss`, except where torch has NaN: the mean of no elements is 0, and a
/// share with a factor of 0 adds nothing even where x is infinite.
///
///     Value operator()(x, target, dx) const    Value value(x, target) const     (see LossBase)
///
/// Throws ShapeError for sizes that differ, std::invalid_argument for weights that are negative. Derivation: docs/losses/bce_with_logits_loss.md.
template <class T>
class BCEWithLogitsLoss : public LossBase<T, BCEWithLogitsLoss<T>> {
  using Base = LossBase<T, BCEWithLogitsLoss<T>>;

 public:
  using typename Base::Value;

  /// Throws std::invalid_argument for a negative weight.
  explicit BCEWithLogitsLoss(BCEWithLogitsLossOptions options = {}) : options_(std::move(options)) {
    for (double w : options_.weight)
      require(w >= 0 && std::isfinite(w), "BCEWithLogitsLoss: weights must be finite and not negative, one is ", w);
    for (double w : options_.pos_weight)
      require(w >= 0 && std::isfinite(w), "BCEWithLogitsLoss: pos_weights must be finite and not negative, one is ", w);
  }

  const BCEWithLogitsLossOptions& options() const { return options_; }

  /// Every element's own loss (torch's reduction "none"), and in `dx` its derivative. `losses` takes the shape of x. Factors of single
  /// rows or elements, which change from batch to batch, multiply both.
  template <int Rank>
  void elements(
      const TensorView<const T, Rank>& x, const TensorView<const T, Rank>& target, Tensor<T, Rank>& losses, Tensor<T, Rank>& dx) const {
    Base::unreduced(x, target, x.shape(), losses, dx);
  }

 private:
  friend Base;

  static double factor(const std::vector<double>& of_features, Index element) {
    if (of_features.empty()) return 1;
    return of_features[static_cast<std::size_t>(element) % of_features.size()];
  }

  /// A term is an element.
  struct Terms {
    const T *x, *target;
    Index count, width;
    double divisor;
    const BCEWithLogitsLossOptions& options;

    Value operator()(Index i, double scale, T* dx) const {
      using std::exp, std::log1p;
      const double weight = factor(options.weight, i);
      const Value z(x[i]), t(target[i]);
      const Value on = Value(weight * factor(options.pos_weight, i)) * t, off = Value(weight) * (Value(1) - t);
      const bool up = z > Value(0);
      const Value e = exp(up ? -z : z);  // at most 1: nothing overflows
      const Value rest = log1p(e), large = Value(1) / (Value(1) + e), small = e / (Value(1) + e);
      // s, 1 - s and minus their logarithms
      const Value s = up ? large : small, not_s = up ? small : large;
      Value loss(0), slope(0);
      if (on != Value(0)) {
        loss = on * (up ? rest : rest - z);
        slope = -on * not_s;
      }
      if (off != Value(0)) {
        loss += off * (up ? rest + z : rest);
        slope += off * s;
      }
      if (dx) dx[i] = static_cast<T>(Value(scale) * slope);
      return loss;
    }
  };

  template <int Rank>
  Terms terms(const TensorView<const T, Rank>& x, const TensorView<const T, Rank>& target) const {
    detail::require_target_shape("BCEWithLogitsLoss", x.shape(), target.shape());
    check("weight", options_.weight, x.features());
    check("pos_weight", options_.pos_weight, x.features());
    return {x.data(), target.data(), x.size(), 1, static_cast<double>(x.size()), options_};
  }
  static void check(std::string_view name, const std::vector<double>& factors, Index features) {
    require<ShapeError>(factors.size() <= 1 || static_cast<Index>(factors.size()) == features, "BCEWithLogitsLoss: the input has ",
        features, " features, ", name, " has ", factors.size());
  }

  BCEWithLogitsLossOptions options_;
};

}  // namespace heed::inline HEED_ABI
