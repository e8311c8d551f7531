// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/batch_norm.hpp>
#include <heed/layers/activation_layer.hpp>

namespace heed::inline HEED_ABI {

struct BatchNormOptions {
  Index num_features = 0;           ///< features of x; must be given
  double eps = 1e-5;                ///< added to the variance
  double momentum = 0.1;            ///< weight of the **new** value in the running statistics, as in torch.nn (ONNX weighs the old one)
  bool affine = true;               ///< has weight and bias
  bool track_running_stats = true;  ///< false: no buffers, and inference normalises with the statistics of its own input
  bool frozen_scale = false;        ///< weight stays at 1 (a frozen parameter)
  bool frozen_statistics = false;   ///< both passes use the running statistics, which do not change; gradients flow all the same
  /// Training statistics over fixed shards of this many images ("ghost" batch norm, Hoffer et al. 2017); 0: over the batch.
  /// A last shard shorter than half of it, or of a single row (which has no variance), joins the one before.
  Index shard_size = 0;
};

/// What BatchNorm1d and 2d share, all but name and ranks: y = (x − mean) / √(variance + eps) · weight + bias for each feature (Ioffe and Szegedy
/// 2015).
///
/// Shapes: x and y (N, ..., num_features); weight, bias, running_mean, running_var (num_features), which start at 1, 0, 0, 1. (torch's
/// num_batches_tracked is left out: it serves a momentum of None only, which is not offered.)
///
/// Training normalises with mean and variance (over n) of the batch or of each shard; inference with the running ones. `forward(x, cache)` puts
/// the batch's statistics into the cache, and **`backward` folds them into the running ones** (variance over n − 1; of shards the mean), so a
/// forward pass without a backward pass leaves the layer as it was. Under an EvaluationScope it takes the running ones. The cache keeps a view of x and 4 shards × num_features numbers.
///
/// Derived gives `static constexpr const char* kKind` and `static constexpr int kHighestRank` of x.
template <class Derived, class T>
class BatchNormLayer : public LayerBase<Derived> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    TensorView<const T, 2> x;        ///< (rows, num_features), the caller's
    kernels::BatchNormRows rows;     ///< how they are cut into shards
    bool batch_statistics = true;    ///< not the running ones
    Tensor<T, 2> mean;               ///< (shards, num_features)
    Tensor<T, 2> mean_rest;          ///< digits of the mean that T cannot hold
    Tensor<T, 2> variance, inv_std;  ///< over n; 1 / √(variance + eps)
  };

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() >= 2 && in.rank() <= Derived::kHighestRank, Derived::kKind, ": input ", in, " has ", in.rank(),
        " axes, the layer takes 2 to ", Derived::kHighestRank);
    require<ShapeError>(in.features() == options_.num_features, Derived::kKind, ": input has ", in.features(), " features, the layer ",
        options_.num_features, " (input ", in, ")");
    return in;
  }

  /// Whether inference sees tokens beside each other, since the statistics are those of its input: decode refuses it.
  bool mixes(const Shape&) const { return !options_.track_running_stats; }

  using LayerBase<Derived>::forward;  // what it says to other tensors
  /// Inference. Without running statistics the input's own are used.
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    Cache cache;
    return normalize(x, cache, !options_.track_running_stats, kernels::NoActivation());
  }

  /// Training. Throws ShapeError for a single row and for shards of single rows, which have no variance.
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    return normalize(x, cache, batch_statistics(), kernels::NoActivation());
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, Rank> forward(Tensor<T, Rank>&& x, Cache& cache) const;

  /// With n = (x − mean) inv_std: d_bias += Σ dy, d_weight += Σ dy n, dx = weight inv_std (dy − mean(dy) − n mean(dy n)).
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    require_gradient_shape(Derived::kKind, dy.shape(), output_shape(dy.shape()), cache.x.rows());
    return gradients(dy, cache, kernels::NoActivation());
  }

  /// An activation layer behind this one runs in the same pass over memory (see Sequential): `next(layer(x))` and its gradient, with the same
  /// bits. What lies between is not kept; backward makes it again from x.
  template <class Self, class Next>
  static constexpr bool fuses_with = (std::is_same_v<Self, Derived> && std::is_base_of_v<ActivationLayer<Next, T>, Next>);

  template <int Rank, class Next>
  Tensor<T, Rank> forward_then(const Next& next, const TensorView<const T, Rank>& x) const {
    Cache cache;
    return with(next, [&](const auto& activation) { return normalize(x, cache, !options_.track_running_stats, activation); });
  }
  template <int Rank, class Next>
  Tensor<T, Rank> forward_then(const Next& next, const TensorView<const T, Rank>& x, Cache& cache, typename Next::Cache&) const {
    return with(next, [&](const auto& activation) { return normalize(x, cache, batch_statistics(), activation); });
  }
  template <int Rank, class Next>
  Tensor<T, Rank> backward_then(const Next& next, const TensorView<const T, Rank>& dy, Cache& cache, typename Next::Cache&) {
    require_gradient_shape(Next::kKind, dy.shape(), replace_features(dy.shape(), options_.num_features), cache.x, options_.num_features);
    return with(next, [&](const auto& activation) { return gradients(dy, cache, activation); });
  }

  const BatchNormOptions& options() const { return options_; }
  /// Empty unless affine.
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }
  Parameter<T>& bias() { return bias_; }
  const Parameter<T>& bias() const { return bias_; }
  /// Empty unless running statistics are tracked.
  Tensor<T, 1>& running_mean() { return running_mean_; }
  const Tensor<T, 1>& running_mean() const { return running_mean_; }
  /// Variance over n − 1. Empty unless running statistics are tracked.
  Tensor<T, 1>& running_var() { return running_var_; }
  const Tensor<T, 1>& running_var() const { return running_var_; }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    const auto& o = self.options_;
    visitor.kind(Derived::kKind);
    visitor.option("num_features", o.num_features);
    visitor.option("eps", o.eps);
    visitor.option("momentum", o.momentum);
    visitor.option("affine", o.affine);
    visitor.option("track_running_stats", o.track_running_stats);
    visitor.option("frozen_scale", o.frozen_scale);
    visitor.option("frozen_statistics", o.frozen_statistics);
    visitor.option("shard_size", o.shard_size);
    if (o.affine) visitor.parameter("weight", self.weight_), visitor.parameter("bias", self.bias_);
    if (o.track_running_stats) visitor.buffer("running_mean", self.running_mean_), visitor.buffer("running_var", self.running_var_);
  }

 protected:
  explicit BatchNormLayer(const BatchNormOptions& options) : options_(options) {
    const auto& o = options_;
    require(o.num_features > 0 && o.eps >= 0 && o.momentum >= 0 && o.momentum <= 1 && o.shard_size >= 0, Derived::kKind, ": num_features (",
        o.num_features, ") must be positive, eps (", o.eps, ") and shard_size (", o.shard_size, ") not negative, momentum (", o.momentum,
        ") from 0 to 1");
    require(!o.frozen_statistics || o.track_running_stats, Derived::kKind, ": frozen_statistics needs track_running_stats");
    if (o.affine) {
      weight_ = Parameter<T>({o.num_features});
      bias_ = Parameter<T>({o.num_features});
      initialize(weight_, Initializer::ones);
      if (o.frozen_scale) weight_.fix();
    }
    if (!o.track_running_stats) return;
    running_mean_ = Tensor<T, 1>({o.num_features});
    running_var_ = Tensor<T, 1>({o.num_features});
    running_var_.fill(T(1));
  }

 private:
  /// The shards of `images` images; see BatchNormOptions::shard_size.
  kernels::BatchNormRows cut(const Shape& x, bool batch) const {
    const Index images = x[0], rows = x.rows(), size = options_.shard_size;
    if (!batch || size == 0 || images <= size) return {rows, x.features(), 1, rows};
    const Index rest = images % size;
    const Index shards = images / size + (2 * rest >= size && rest * (rows / images) > 1 ? 1 : 0);
    return {rows, x.features(), shards, shards == 1 ? rows : size * (rows / images)};
  }

  /// What `use` gives for the activation of a layer.
  template <class Next, class Use>
  static auto with(const Next& next, const Use& use) {
    decltype(use(kernels::NoActivation())) result;
    next.with_activation([&](const auto& activation) { result = use(activation); });
    return result;
  }

  /// Whether a training pass normalises with those of its batch.
  bool batch_statistics() const { return !options_.track_running_stats || !(options_.frozen_statistics || context().evaluation); }

  /// Puts statistics into the cache, of x or the running ones.
  void take_statistics(const TensorView<const T, 2>& x, const Shape& shape_of_x, Cache& cache, bool batch) const {
    cache.rows = cut(shape_of_x, batch);
    cache.batch_statistics = batch;
    const Shape shape{cache.rows.groups, options_.num_features};
    cache.inv_std.resize(shape);
    cache.mean.resize(shape);
    if (batch) {
      require<ShapeError>(
          x.rows() > 1, Derived::kKind, ": one value a feature has no variance (input ", shape_of_x, "); give more than one row");
      require<ShapeError>(cache.rows.count(0) > 1, Derived::kKind, ": shards of one row have no variance (shard_size ", options_.shard_size,
          ", input ", shape_of_x, "); give a shard_size of 2 or more");
      cache.mean_rest.resize(shape);
      cache.variance.resize(shape);
      kernels::batch_norm_statistics(cache.rows, x.data(), cache.mean.data(), cache.mean_rest.data(), cache.variance.data());
    } else {
      std::copy_n(running_mean_.data(), running_mean_.size(), cache.mean.data());
    }
    kernels::batch_norm_inv_std(shape.size(), batch ? cache.variance.data() : running_var_.data(), options_.eps, cache.inv_std.data());
  }

  template <int Rank, class Activation>
  Tensor<T, Rank> normalize(const TensorView<const T, Rank>& x, Cache& cache, bool batch, const Activation& activation) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    cache.x = x.as_rows();
    if (y.empty()) return y;
    take_statistics(cache.x, x.shape(), cache, batch);
    kernels::batch_norm_forward(cache.rows, x.data(), cache.mean.data(), batch ? cache.mean_rest.data() : nullptr, cache.inv_std.data(),
        options_.affine ? weight_.value() : nullptr, options_.affine ? bias_.value() : nullptr, y.data(), activation);
    return y;
  }

  template <int Rank, class Activation>
  Tensor<T, Rank> gradients(const TensorView<const T, Rank>& dy, Cache& cache, const Activation& activation) {
    auto dx = Tensor<T, Rank>::uninitialized(dy.shape());
    if (dx.empty()) return dx;
    require_filled(Derived::kKind, cache.mean);
    const bool batch = cache.batch_statistics;
    kernels::batch_norm_backward(cache.rows, cache.x.data(), dy.data(), cache.mean.data(), batch ? cache.mean_rest.data() : nullptr,
        cache.inv_std.data(), options_.affine ? weight_.value() : nullptr, !batch, dx.data(), weight_.gradient_unless_frozen(),
        bias_.gradient_unless_frozen(), options_.affine ? bias_.value() : nullptr, activation);
    if (batch && options_.track_running_stats)
      kernels::batch_norm_update_running(
          cache.rows, cache.mean.data(), cache.variance.data(), options_.momentum, running_mean_.data(), running_var_.data());
    release(cache.mean, cache.mean_rest, cache.variance, cache.inv_std);
    return dx;
  }

  BatchNormOptions options_;
  Parameter<T> weight_, bias_;
  Tensor<T, 1> running_mean_, running_var_;
};

}  // namespace heed::inline HEED_ABI
