// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>

namespace heed::inline HEED_ABI {

/// A layer that must remember the tokens before to infer the next ones. It names its memory, `DecodeState`, and has two functions:
///
///     DecodeState decode_state(Index sequences, Index capacity) const;   // an empty one, for up to `capacity` tokens a sequence
///     Tensor<T, 3> decode(const TensorView<const T, 3>& x, DecodeState& state) const;
///
/// where decode(x, state) is what forward would give for the tokens x if the whole sequences were given to it, and puts x into the state. Layers
/// that read each token alone (Linear, LayerNorm, activations, Embedding) have none of this: composers call their forward. Layers that mix tokens
/// say so with a member `mixes_tokens`, and are refused when compiling; those that do so with some options say it with `bool mixes(const Shape& in) const`,
/// and throw std::invalid_argument. `Sequential`, `Stack` and `Residual` hand the call on:
///
/// ```cpp
/// auto state = writer.decode_state(1, 256);
/// auto scores = writer.decode(prompt, state);                         // (1, T) tokens, then
/// scores = writer.decode(next, state);                                // (1, 1) token after token
/// ```
///
/// A state that has `Index length() const`, the tokens it has seen, and `void truncate(Index length)`, which forgets those behind, as KeyValueCache has them, can
/// be taken back: when a later layer refuses its input, composers leave all states as they were; and a caller may drop tokens.
template <class L>
concept Decoder = requires(const L& layer) {
  typename L::DecodeState;
  layer.decode_state(Index(1), Index(1));
};

namespace detail {

template <class L>
struct FindDecodeState {
  struct type {};  // nothing to remember
};
template <Decoder L>
struct FindDecodeState<L> {
  using type = typename L::DecodeState;
};
template <class L>
using DecodeStateOf = typename FindDecodeState<L>::type;

template <class L>
DecodeStateOf<L> decode_state([[maybe_unused]] const L& layer, [[maybe_unused]] Index sequences, [[maybe_unused]] Index capacity) {
  if constexpr (Decoder<L>)
    return layer.decode_state(sequences, capacity);
  else
    return {};
}

/// Tokens that a layer's state has seen; 0 where it does not count them.
template <class State>
Index decoded_length([[maybe_unused]] const State& state) {
  if constexpr (requires { state.length(); })
    return state.length();
  else
    return 0;
}
/// Forgets what came behind the first `length` tokens, where the state counts them.
template <class State>
void truncate_decoded([[maybe_unused]] State& state, [[maybe_unused]] Index length) {
  if constexpr (requires { state.truncate(length); })
    if (state.length() > length) state.truncate(length);
}

/// Takes a composer's state back to the tokens that it had, unless the last of its layers was `done`.
template <class State>
class DecodeScope {
 public:
  explicit DecodeScope(State& state) : state_(&state), length_(state.length()) {}
  ~DecodeScope() {
    if (state_) state_->truncate(length_);
  }
  DecodeScope(const DecodeScope&) = delete;
  DecodeScope& operator=(const DecodeScope&) = delete;
  /// All layers have decoded.
  void done() { state_ = nullptr; }

 private:
  State* state_;
  Index length_;
};

/// Refuses layers that cannot be run token by token with their forward, for inputs of shape `in`.
template <class L>
void require_tokens_alone([[maybe_unused]] const L& layer, [[maybe_unused]] const Shape& in) {
  static_assert(
      !requires { L::mixes_tokens; },
      "heed: decode runs layers that read each token alone, or have a decode of their own; this one mixes tokens, or may do so");
  if constexpr (requires { layer.mixes(in); })
    require(!layer.mixes(in), "decode: with these options the layer reads the tokens of ", in,
        " together, so a token alone would come out otherwise; it must read each alone");
}

/// What composers call: forward, or decode where there is a state.
template <class L, class X>
auto infer(const L& layer, const X& x) {
  return layer.forward(x);
}
template <class L, class X>
auto infer(const L& layer, const X& x, [[maybe_unused]] DecodeStateOf<L>& state) {
  if constexpr (Decoder<L>) {
    return layer.decode(x, state);
  } else {
    require_tokens_alone(layer, x.shape());
    auto y = layer.forward(x);
    if constexpr (std::is_same_v<InputScalarOf<L>, typename L::scalar>)
      static_assert(std::remove_cvref_t<decltype(y)>::rank == std::remove_cvref_t<X>::rank,
          "heed: decode runs layers that read each token alone; this one makes one row of all tokens");
    return y;
  }
}

}  // namespace detail
}  // namespace heed::inline HEED_ABI
