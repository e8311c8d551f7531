// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include <heed/compose/decode.hpp>
#include <heed/core/anomaly.hpp>
#include <heed/core/layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/fwd.hpp>

namespace heed::inline HEED_ABI {

namespace detail {
/// y += x, element by element.
template <class T>
void add_to(T* y, const T* x, Index count) {
  parallel_for(count, 32768, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) y[i] += x[i];
  });
}
/// The way beside the branch is the input itself.
struct NoShortcut {
  struct Cache {};
};
}  // namespace detail

/// y = x + branch(x) (He et al. 2016, eq. 1), or with a shortcut beside it y = shortcut(x) + branch(x) (eq. 2): where the branch changes the shape, the shortcut,
/// mostly a 1x1 convolution of the same stride, has to change it alike. Their parameters stand under "branch" and "shortcut".
/// A branch or shortcut that leaves its input gradient out (Conv2dOptions::input_gradient) says that nobody wants it: then the residual leaves it out, too.
template <class Branch, class Shortcut>
class Residual : public LayerBase<Residual<Branch, Shortcut>> {
  static constexpr bool kHasShortcut = !std::is_void_v<Shortcut>;
  using Way = std::conditional_t<kHasShortcut, Shortcut, detail::NoShortcut>;

 public:
  using scalar = typename Branch::scalar;
  static constexpr int input_rank = detail::kInputRankOf<Branch>;

  struct Cache {
    typename Branch::Cache branch;                         ///< the branch's own
    [[no_unique_address]] typename Way::Cache shortcut{};  ///< the shortcut's
  };

  /// Takes the branch.
  explicit Residual(Branch branch) requires(!kHasShortcut) : branch_(std::move(branch)) {}
  /// Takes the branch and the shortcut.
  Residual(Branch branch, Way shortcut) requires(kHasShortcut) : branch_(std::move(branch)), shortcut_(std::move(shortcut)) {}

  Shape output_shape(const Shape& in) const {
    const Shape out = child_shape("branch", branch_, in);
    if constexpr (kHasShortcut) {
      const Shape other = child_shape("shortcut", shortcut_, in);
      require<ShapeError>(out == other, "Residual: the branch turns ", in, " into ", out, ", the shortcut into ", other,
          "; to be added they must have one shape");
    } else {
      require<ShapeError>(out == in, "Residual: the branch turns ", in, " into ", out,
          "; to be added to its input it must keep the shape, or a shortcut change it alike");
    }
    return out;
  }

  using LayerBase<Residual<Branch, Shortcut>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<scalar, Rank> forward(const TensorView<const scalar, Rank>& x) const {
    output_shape(x.shape());
    return sum(
        x, [](const auto& part, const auto& in) { return detail::infer(part, in); },
        [](const auto& part, const auto& in) { return detail::infer(part, in); });
  }

  struct DecodeState {
    detail::DecodeStateOf<Branch> branch;                       ///< the branch's own
    [[no_unique_address]] detail::DecodeStateOf<Way> shortcut;  ///< the shortcut's

    /// Tokens seen so far, of each sequence.
    Index length() const { return std::max(detail::decoded_length(branch), detail::decoded_length(shortcut)); }
    /// Forgets all tokens but the first `length`.
    void truncate(Index length) { detail::truncate_decoded(branch, length), detail::truncate_decoded(shortcut, length); }
  };
  DecodeState decode_state(Index sequences, Index capacity) const {
    return {detail::decode_state(branch_, sequences, capacity), detail::decode_state(shortcut_, sequences, capacity)};
  }
  /// Inference of the tokens that follow those in `state` (see `Decoder`).
  template <int Rank>
  Tensor<scalar, Rank> decode(const TensorView<const scalar, Rank>& x, DecodeState& state) const {
    output_shape(x.shape());
    detail::DecodeScope scope(state);
    auto y = sum(
        x, [&](const Branch& branch, const auto& in) { return detail::infer(branch, in, state.branch); },
        [&](const auto& shortcut, const auto& in) { return detail::infer(shortcut, in, state.shortcut); });
    scope.done();
    return y;
  }

  template <int Rank>
  Tensor<scalar, Rank> forward(const TensorView<const scalar, Rank>& x, Cache& cache) const {
    output_shape(x.shape());
    return sum(
        x, [&](const Branch& branch, const auto& in) { return branch.forward(in, cache.branch); },
        [&](const auto& shortcut, const auto& in) { return shortcut.forward(in, cache.shortcut); });
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<scalar, Rank> forward(Tensor<scalar, Rank>&& x, Cache& cache) const;

  /// dx = dy + the branch's input gradient, or the sum of both ways'; empty if a way returns none.
  template <int Rank>
  Tensor<scalar, Rank> backward(const TensorView<const scalar, Rank>& dy, Cache& cache) {
    Tensor<scalar, Rank> dx = backward_part("branch", branch_, [&] { return branch_.backward(dy, cache.branch); });
    if constexpr (kHasShortcut) {
      const Tensor<scalar, Rank> other = backward_part("shortcut", shortcut_, [&] { return shortcut_.backward(dy, cache.shortcut); });
      if (other.empty()) return {};
      if (!dx.empty()) detail::add_to(dx.data(), other.data(), dx.size());
    } else {
      if (!dx.empty()) detail::add_to(dx.data(), dy.data(), dy.size());
    }
    return dx;
  }

  /// The layer beside the input, or beside the shortcut.
  Branch& branch() { return branch_; }
  const Branch& branch() const { return branch_; }
  /// What is added to the branch in place of the input.
  Way& shortcut() requires(kHasShortcut) { return shortcut_; }
  /// The same, to read.
  const Way& shortcut() const requires(kHasShortcut) { return shortcut_; }

  template <class U>
  auto rebind() const {
    if constexpr (kHasShortcut)
      return heed::Residual(branch_.template rebind<U>(), shortcut_.template rebind<U>());
    else
      return Residual<decltype(branch_.template rebind<U>())>(branch_.template rebind<U>());
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Residual");
    visitor.child("branch", self.branch_);
    if constexpr (kHasShortcut) visitor.child("shortcut", self.shortcut_);
  }

 private:
  /// The branch's y and the shortcut's, or x.
  template <int Rank, class ByBranch, class ByShortcut>
  Tensor<scalar, Rank> sum(
      const TensorView<const scalar, Rank>& x, const ByBranch& by_branch, [[maybe_unused]] const ByShortcut& by_shortcut) const {
    Tensor<scalar, Rank> y = forward_part("branch", branch_, [&] { return by_branch(branch_, x); });
    if constexpr (kHasShortcut) {
      const Tensor<scalar, Rank> other = forward_part("shortcut", shortcut_, [&] { return by_shortcut(shortcut_, x); });
      detail::add_to(y.data(), other.data(), y.size());
    } else {
      detail::add_to(y.data(), x.data(), x.size());
    }
    return y;
  }

  Branch branch_;
  [[no_unique_address]] Way shortcut_{};
};

template <class Branch>
Residual(Branch) -> Residual<Branch>;
template <class Branch, class Shortcut>
Residual(Branch, Shortcut) -> Residual<Branch, Shortcut>;

}  // namespace heed::inline HEED_ABI
