// SPDX-License-Identifier: MIT
#pragma once

#include <heed/compose/decode.hpp>
#include <heed/core/anomaly.hpp>
#include <heed/core/layer.hpp>
#include <heed/core/parallel.hpp>

namespace heed::inline HEED_ABI {

namespace detail {
/// y += x, element by element.
template <class T>
void add_to(T* y, const T* x, Index count) {
  parallel_for(count, 32768, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) y[i] += x[i];
  });
}
}  // namespace detail

/// y = x + branch(x) (He et al. 2016, eq. 1). The branch must keep the shape. Its parameters stand under "branch".
/// A branch that leaves its input gradient out (Conv2dOptions::input_gradient) says that nobody wants it: then the residual leaves it out, too.
template <class Branch>
class Residual : public LayerBase<Residual<Branch>> {
 public:
  using scalar = typename Branch::scalar;
  static constexpr int input_rank = detail::kInputRankOf<Branch>;

  struct Cache {
    typename Branch::Cache branch;  ///< the branch's own
  };

  /// Takes the branch.
  explicit Residual(Branch branch) : branch_(std::move(branch)) {}

  Shape output_shape(const Shape& in) const {
    const Shape out = child_shape("branch", branch_, in);
    require<ShapeError>(out == in, "Residual: the branch turns ", in, " into ", out, "; to be added to its input it must keep the shape");
    return out;
  }

  using LayerBase<Residual<Branch>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<scalar, Rank> forward(const TensorView<const scalar, Rank>& x) const {
    return infer(x);
  }

  using DecodeState = detail::DecodeStateOf<Branch>;
  DecodeState decode_state(Index sequences, Index capacity) const { return detail::decode_state(branch_, sequences, capacity); }
  /// Inference of the tokens that follow those in `state` (see `Decoder`).
  template <int Rank>
  Tensor<scalar, Rank> decode(const TensorView<const scalar, Rank>& x, DecodeState& state) const {
    return infer(x, state);
  }

  template <int Rank>
  Tensor<scalar, Rank> forward(const TensorView<const scalar, Rank>& x, Cache& cache) const {
    output_shape(x.shape());
    LayerScope scope("branch");
    Tensor<scalar, Rank> y = branch_.forward(x, cache.branch);
    detail::watch_forward(branch_, y);
    detail::add_to(y.data(), x.data(), x.size());
    return y;
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<scalar, Rank> forward(Tensor<scalar, Rank>&& x, Cache& cache) const;

  /// y = x + branch(x): dx = dy + the branch's input gradient; empty if the branch returns none.
  template <int Rank>
  Tensor<scalar, Rank> backward(const TensorView<const scalar, Rank>& dy, Cache& cache) {
    LayerScope scope("branch");
    Tensor<scalar, Rank> dx = branch_.backward(dy, cache.branch);
    detail::watch_backward(branch_, dx);
    if (!dx.empty()) detail::add_to(dx.data(), dy.data(), dy.size());  // empty: the branch has no input gradient
    return dx;
  }

  /// The layer beside the sum.
  Branch& branch() { return branch_; }
  const Branch& branch() const { return branch_; }

  template <class U>
  auto rebind() const {
    return Residual<decltype(branch_.template rebind<U>())>(branch_.template rebind<U>());
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Residual");
    visitor.child("branch", self.branch_);
  }

 private:
  template <int Rank, class... State>
  Tensor<scalar, Rank> infer(const TensorView<const scalar, Rank>& x, State&... state) const {
    output_shape(x.shape());
    LayerScope scope("branch");
    Tensor<scalar, Rank> y = detail::infer(branch_, x, state...);
    detail::watch_forward(branch_, y);
    detail::add_to(y.data(), x.data(), x.size());
    return y;
  }

  Branch branch_;
};

}  // namespace heed::inline HEED_ABI
