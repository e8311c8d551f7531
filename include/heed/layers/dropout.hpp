// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/core/random.hpp>
#include <heed/kernels/dropout.hpp>

namespace heed::inline HEED_ABI {

struct DropoutOptions {
  double p = 0.5;  ///< probability that an element is dropped, 0 ... 1
};

/// The key of a dropout mask. Under a StepScope it is a function of (seed, step, layer path, number of this cache's pass inside the scope), so
/// that a step can be repeated, whatever came before. Without one, of the number that the cache takes from its thread when it is first used
/// (see SeedScope), the layer path, and the number of its pass. Any layer with dropout inside keeps one of these in its cache.
class DropoutKey {
 public:
  /// The key of a new training pass. Under an EvaluationScope nothing is drawn: the training passes to come find the numbers that they would find without it.
  std::uint64_t draw() {
    Context& c = context();
    off_ = c.evaluation;
    if (off_) return key_;
    if (c.has_step) {
      const bool again = c.step_scope == scope_ && c.seed == seed_ && c.step == step_;
      scope_ = c.step_scope, seed_ = c.seed, step_ = c.step;
      step_pass_ = again ? step_pass_ + 1 : 0;
      key_ = CounterRandom({c.seed, c.step, layer_path_hash()}).key();
      if (step_pass_ > 0) key_ = CounterRandom({key_, step_pass_}).key();
    } else {
      if (passes_ == 0) stream_ = CounterRandom({c.init_seed, 0x64726f70, c.dropout_caches++}).key();
      key_ = CounterRandom({stream_, passes_++, layer_path_hash()}).key();
    }
    return key_;
  }
  /// The key that was drawn last: what backward needs.
  std::uint64_t key() const { return key_; }
  /// The probability of that pass: 0 under an EvaluationScope.
  double probability(double p) const { return off_ ? 0.0 : p; }

 private:
  bool off_ = false;
  std::uint64_t key_ = 0;
  std::uint64_t scope_ = 0, seed_ = 0, step_ = 0, step_pass_ = 0;  // of the last pass under a StepScope, whose numbers start with 1
  std::uint64_t stream_ = 0, passes_ = 0;                          // outside of any
};

/// Training: y = x ⊙ m / (1 - p) with m = 0 with probability p, else 1, independently for each element (Srivastava et al. 2014, inverted scaling
/// as torch.nn.Dropout). Inference: y = x.
///
/// Any shape; no parameters. The cache keeps a key, not the mask: the mask is drawn again in backward (see DropoutKey).
template <class T>
class Dropout : public LayerBase<Dropout<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    DropoutKey key;
    Shape x;  ///< its shape
  };

  explicit Dropout(const DropoutOptions& options = {}) : options_(options) {
    require(options.p >= 0 && options.p <= 1, "Dropout: p is ", options.p, ", it must lie in 0 ... 1");
  }

  Shape output_shape(const Shape& in) const { return in; }

  using LayerBase<Dropout<T>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    return Tensor<T, Rank>(x);
  }

  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    cache.x = x.shape();
    auto y = Tensor<T, Rank>::uninitialized(x.shape());
    cache.key.draw();
    drop(cache, x, y);
    return y;
  }

  /// y = x ⊙ m / (1 - p): dx = dy ⊙ m / (1 - p).
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    require_filled("Dropout", cache.x);
    require_gradient_shape("Dropout", dy.shape(), cache.x, cache.x.rows());
    auto dx = Tensor<T, Rank>::uninitialized(dy.shape());
    drop(cache, dy, dx);
    return dx;
  }

  const DropoutOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  Dropout<U> rebind() const {
    return Dropout<U>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Dropout");
    visitor.option("p", self.options_.p);
  }

 private:
  template <int Rank>
  void drop(const Cache& cache, const TensorView<const T, Rank>& from, Tensor<T, Rank>& to) const {
    kernels::apply_dropout(kernels::DropoutMask(cache.key.key(), cache.key.probability(options_.p)), from.size(), from.data(), to.data());
  }

  DropoutOptions options_;
};

static_assert(Layer<Dropout<float>>);
HEED_COMPILE_CLASS_ONCE(Dropout);

}  // namespace heed::inline HEED_ABI
