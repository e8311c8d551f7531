// SPDX-License-Identifier: MIT
#pragma once

#include <heed/heed.hpp>

/// y = γ ⊙ x: one learned factor a channel, small at first, so that a deep residual branch starts near zero
/// (LayerScale: Touvron et al. 2021, eq. 6).
///
/// Shapes: x and y (..., channels), weight γ (channels), which starts at `initial`. The cache keeps a view of x and no memory.
template <class T>
class LayerScale : public heed::LayerBase<LayerScale<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = heed::kAnyRank;

  struct Cache {
    heed::TensorView<const T, 2> x;  ///< (rows, channels), the caller's
  };

  explicit LayerScale(heed::Index channels, double initial = 1e-4) : initial_(initial), weight_({channels}) {
    heed::initialize(weight_, heed::Initializer::constant, {.value = initial});
  }

  heed::Shape output_shape(const heed::Shape& in) const {
    heed::require<heed::ShapeError>(in.features() == weight_.size(), "LayerScale: input has ", in.features(), " channels, weight expects ",
        weight_.size(), " (input ", in, ")");
    return in;
  }

  template <int Rank>
  heed::Tensor<T, Rank> forward(const heed::TensorView<const T, Rank>& x) const {
    auto y = heed::Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    const heed::Index channels = weight_.size();
    heed::parallel_for(x.rows(), 256, [&](heed::Index begin, heed::Index end) {
      for (heed::Index r = begin; r < end; ++r)
        for (heed::Index c = 0; c < channels; ++c) y[r * channels + c] = weight_.value()[c] * x[r * channels + c];
    });
    return y;
  }

  template <int Rank>
  heed::Tensor<T, Rank> forward(const heed::TensorView<const T, Rank>& x, Cache& cache) const {
    cache.x = x.as_rows();
    return forward(x);
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  heed::Tensor<T, Rank> forward(heed::Tensor<T, Rank>&& x, Cache& cache) const;

  /// y = γ ⊙ x: dx = γ ⊙ dy, d_weight += column sums of dy ⊙ x.
  template <int Rank>
  heed::Tensor<T, Rank> backward(const heed::TensorView<const T, Rank>& dy, Cache& cache) {
    heed::require_gradient_shape("LayerScale", dy.shape(), output_shape(dy.shape()), cache.x, weight_.size());
    const heed::Index channels = weight_.size();
    heed::parallel_sum(cache.x.rows(), 256, channels, weight_.gradient(), [&](heed::Index begin, heed::Index end, T* sums) {
      for (heed::Index r = begin; r < end; ++r)
        for (heed::Index c = 0; c < channels; ++c) sums[c] += dy[r * channels + c] * cache.x(r, c);
    });
    return forward(dy);  // the layer is diagonal: the same factors on the way back
  }

  template <class U>
  LayerScale<U> rebind() const {
    return this->template rebound<LayerScale<U>>(weight_.size(), initial_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("LayerScale");
    visitor.option("channels", self.weight_.size());
    visitor.option("initial", self.initial_);
    visitor.parameter("weight", self.weight_);
  }

 private:
  double initial_;
  heed::Parameter<T> weight_;
};

static_assert(heed::Layer<LayerScale<float>>);
