// SPDX-License-Identifier: MIT
#pragma once

#include <limits>
#include <optional>
#include <type_traits>

#include <heed/layers/row_norm_layer.hpp>

namespace heed::inline HEED_ABI {

struct RMSNormOptions {
  Shape normalized_shape;          ///< the last axes of the input, over which each mean square is taken: {channels}, or several
  std::optional<double> eps = {};  ///< added to the mean square; none: the machine epsilon of T (1.2e-7 in float, 2.2e-16 in double)
  bool elementwise_affine = true;  ///< whether there is a weight
};

/// y = x / √(mean(x²) + eps) ⊙ weight, with the mean over the last axes (torch.nn.RMSNorm; Zhang and Sennrich 2019).
///
/// Shapes: x and y (..., normalized_shape), weight (normalized_shape), starting as ones. The cache keeps a view of x, and 1/√(mean(x²) + eps)
/// of each row.
template <class T>
class RMSNorm : public RowNormLayer<RMSNorm<T>, T> {
 public:
  static constexpr const char* kKind = "RMSNorm";
  static constexpr bool kCentered = false;

  explicit RMSNorm(const RMSNormOptions& options)
      : RowNormLayer<RMSNorm, T>(options.normalized_shape, options.eps.value_or(kMachineEpsilon), options.elementwise_affine, false),
        options_(options) {}

  const RMSNormOptions& options() const { return options_; }

  /// The same layer over another scalar. Without eps, the machine epsilon of that one counts.
  template <class U>
  RMSNorm<U> rebind() const {
    return this->template rebound<RMSNorm<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(kKind);
    visitor.option("normalized_shape", self.options_.normalized_shape);
    visitor.option("eps", self.eps());
    visitor.option("elementwise_affine", self.options_.elementwise_affine);
    if (!self.weight_.empty()) visitor.parameter("weight", self.weight_);
  }

 private:
  /// Number-like types count as double.
  static constexpr double kMachineEpsilon = std::numeric_limits<std::conditional_t<std::is_floating_point_v<T>, T, double>>::epsilon();

  RMSNormOptions options_;
};

static_assert(Layer<RMSNorm<float>>);
HEED_COMPILE_LAYER_ONCE(RMSNorm, RowNormLayer);

}  // namespace heed::inline HEED_ABI
