// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <utility>

#include <heed/compose/decode.hpp>
#include <heed/core/anomaly.hpp>
#include <heed/core/layer.hpp>

namespace heed::inline HEED_ABI {

/// A layer under a name of its own, for `Sequential`: `named("conv1", Conv2d<float>(...))`.
template <class L>
struct Named {
  std::string name;  ///< stands in paths, files and errors
  L layer;           ///< the layer itself
};
/// `layer` under `name`, for `Sequential`.
template <class L>
Named<L> named(std::string name, L layer) {
  return {std::move(name), std::move(layer)};
}

namespace detail {
template <class L>
struct Unnamed {
  using type = L;
};
template <class L>
struct Unnamed<Named<L>> {
  using type = L;
};

template <class L>
std::string take_name(const L&, std::size_t position) {
  return std::to_string(position);
}
template <class L>
std::string take_name(const Named<L>& layer, std::size_t) {
  return layer.name;
}
template <class L>
L take_layer(L layer) {
  return layer;
}
template <class L>
L take_layer(Named<L> layer) {
  return std::move(layer.layer);
}

/// The rank that the first layer with a fixed rank takes.
template <class First, class... Rest>
constexpr int first_rank() {
  if constexpr (kInputRankOf<First> != kAnyRank || sizeof...(Rest) == 0)
    return kInputRankOf<First>;
  else
    return first_rank<Rest...>();
}

/// Enough to tell a layer from what is none; the whole concept would make every model compile its passes for an example's rank.
template <class L>
inline constexpr bool kNamesLikeLayer = requires {
  typename L::scalar;
  typename L::Cache;
};

/// Which layers run in one pass with the layer before them.
template <class L, class Next>
constexpr bool fuses() {
  if constexpr (requires { L::template fuses_with<L, Next>; })
    return L::template fuses_with<L, Next>;
  else
    return false;
}
template <class... Layers, std::size_t... I>
constexpr auto find_fused(std::index_sequence<I...>) {
  using All = std::tuple<Layers...>;
  std::array<bool, sizeof...(Layers) + 1> fused{};
  ((fused[I + 1] = !fused[I] && fuses<std::tuple_element_t<I, All>, std::tuple_element_t<I + 1, All>>()), ...);
  return fused;
}
}  // namespace detail

/// One layer after another: y = lₙ(… l₂(l₁(x))) (torch.nn.Sequential). Children are called "0", "1", ... unless `named`. Names are not empty,
/// hold no dot and differ from each other: files and error messages tell layers apart by them.
///
/// The cache holds each layer's cache and the tensors between them, which the layers' caches look at.
///
/// Two neighbours may run as one. A layer says so, and then does the work of both, with the bits of both:
///
///     template <class Self, class Next> static constexpr bool fuses_with;                 // Self is what Sequential holds
///     forward_then(next, x), forward_then(next, x, cache, next_cache), backward_then(next, dy, cache, next_cache)
///
/// Shapes have been checked. The layer may leave the cache of `next` unfilled, and the tensor between the two is not kept.
template <class First, class... Rest>
class Sequential : public LayerBase<Sequential<First, Rest...>> {
  static_assert(detail::kNamesLikeLayer<First> && (detail::kNamesLikeLayer<Rest> && ...),
      "heed::Sequential: each argument is a layer, or named(\"name\", layer); the concept heed::Layer says what a layer has");
  static constexpr std::size_t kCount = 1 + sizeof...(Rest);
  /// kFused[i]: layer i is run by layer i - 1.
  static constexpr auto kFused = detail::find_fused<First, Rest...>(std::make_index_sequence<kCount - 1>());

 public:
  using scalar = typename First::scalar;
  using input_scalar = InputScalarOf<First>;
  static_assert((std::is_same_v<scalar, typename Rest::scalar> && ...), "heed::Sequential: all layers must have the same scalar type");
  static_assert((std::is_same_v<scalar, InputScalarOf<Rest>> && ...),
      "heed::Sequential: a layer that reads whole numbers (Embedding) can only be the first one");
  static constexpr int input_rank = detail::first_rank<First, Rest...>();

  struct Cache {
    std::tuple<typename First::Cache, typename Rest::Cache...> layers;  ///< each layer's own
    std::array<Tensor<scalar, 1>, kCount - 1> between;  ///< output of layer i, input of layer i + 1; empty where one runs both
    bool filled = false;                                ///< forward has come to its end, and no backward has followed
    [[no_unique_address]] MoveOnly looks_into_itself;   ///< views of tensors beside them
  };

  /// From layers, some perhaps `named`. Throws std::invalid_argument for names that are empty, hold a dot or occur twice.
  template <class... Layers>
    requires(
        sizeof...(Layers) == kCount && std::is_same_v<std::tuple<typename detail::Unnamed<Layers>::type...>, std::tuple<First, Rest...>>)
  explicit Sequential(Layers... layers) : Sequential(std::index_sequence_for<Layers...>(), layers...) {}

  Shape output_shape(const Shape& in) const {
    Shape shape = in;
    std::size_t i = 0;
    std::apply([&](const auto&... layer) { ((shape = child_shape(names_[i++], layer, shape)), ...); }, layers_);
    return shape;
  }

  using LayerBase<Sequential<First, Rest...>>::forward;  // what it says to other tensors
  template <int Rank>
  auto forward(const TensorView<const input_scalar, Rank>& x) const {
    return infer<kBehind<0>>(infer_one<0>(x));
  }

  struct DecodeState {
    std::tuple<detail::DecodeStateOf<First>, detail::DecodeStateOf<Rest>...>
        layers;  ///< each layer's own; nothing for layers that look at one token at a time

    /// Tokens seen so far, of each sequence.
    Index length() const {
      return std::apply([](const auto&... layer) { return std::max({Index(0), detail::decoded_length(layer)...}); }, layers);
    }
    /// Forgets all tokens but the first `length`.
    void truncate(Index length) {
      std::apply([&](auto&... layer) { (detail::truncate_decoded(layer, length), ...); }, layers);
    }
  };
  DecodeState decode_state(Index sequences, Index capacity) const {
    return std::apply([&](const auto&... layer) { return DecodeState{{detail::decode_state(layer, sequences, capacity)...}}; }, layers_);
  }
  /// Inference of the tokens that follow those in `state` (see `Decoder`).
  template <int Rank>
  auto decode(const TensorView<const input_scalar, Rank>& x, DecodeState& state) const {
    detail::DecodeScope scope(state);
    auto y = infer<kBehind<0>>(infer_one<0>(x, state), state);
    scope.done();
    return y;
  }

  template <int Rank>
  auto forward(const TensorView<const input_scalar, Rank>& x, Cache& cache) const {
    cache.filled = false;
    auto y = train<0>(x, cache);
    cache.filled = true;
    return y;
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  auto forward(Tensor<input_scalar, Rank>&& x, Cache& cache) const -> decltype(this->forward(std::as_const(x), cache));

  /// Frees the tensors between the layers on its way.
  template <int Rank>
  auto backward(const TensorView<const scalar, Rank>& dy, Cache& cache) {
    require_filled("Sequential", std::exchange(cache.filled, false));
    return back<kFirst<kCount - 1>>(back_one<kCount - 1>(dy, cache), cache);
  }

  /// Layer number I.
  template <std::size_t I>
  auto& get() {
    return std::get<I>(layers_);
  }
  template <std::size_t I>
  const auto& get() const {
    return std::get<I>(layers_);
  }
  /// The number of layers.
  static constexpr std::size_t size() { return kCount; }

  template <class U>
  auto rebind() const {
    return std::apply(
        [&](const auto&... layer) {
          std::size_t i = 0;
          using Rebound = Sequential<decltype(layer.template rebind<U>())...>;
          return Rebound{Named<decltype(layer.template rebind<U>())>{names_[i++], layer.template rebind<U>()}...};  // braces: in order
        },
        layers_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Sequential");
    std::size_t i = 0;
    std::apply([&](auto&... layer) { (visitor.child(self.names_[i++], layer), ...); }, self.layers_);
  }

 private:
  template <std::size_t... I, class... Layers>
  Sequential(std::index_sequence<I...>, Layers&... layers)
      : names_{detail::take_name(layers, I)...}, layers_(detail::take_layer(std::move(layers))...) {
    for (std::size_t i = 0; i < kCount; ++i) {
      const std::string& name = names_[i];
      require(!name.empty() && name.find('.') == std::string::npos, "Sequential: layer ", i, " is named \"", name,
          "\"; a name must not be empty and holds no dot, which separates the names of a path");
      for (std::size_t j = 0; j < i; ++j)
        require(name != names_[j], "Sequential: layers ", j, " and ", i, " are both named \"", name, "\"; each needs a name of its own");
    }
  }

  /// The layer behind layer I and what it runs; the layer that runs layer I.
  template <std::size_t I>
  static constexpr std::size_t kBehind = I + 1 + kFused[I + 1];
  template <std::size_t I>
  static constexpr std::size_t kFirst = I - kFused[I];

  /// Throws what layers I and I + 1 throw for an input of such a shape, each under its name.
  template <std::size_t I>
  void check_pair(const Shape& in) const {
    const auto shape_behind = [](const std::string& name, const auto& layer, const Shape& shape) {
      LayerScope scope(name);
      return layer.output_shape(shape);
    };
    shape_behind(names_[I + 1], get<I + 1>(), shape_behind(names_[I], get<I>(), in));
  }

  /// Inference of layer I and what it runs; with a state, decoding.
  template <std::size_t I, class X, class... State>
  auto infer_one(const X& x, State&... state) const {
    if constexpr (kFused[I + 1]) check_pair<I>(x.shape());
    LayerScope scope(names_[I]);
    if constexpr (kFused[I + 1] && sizeof...(State) > 0) {
      detail::require_tokens_alone(get<I>(), x.shape());
      detail::require_tokens_alone(get<I + 1>(), get<I>().output_shape(x.shape()));
    }
    auto y = [&] {
      if constexpr (kFused[I + 1])
        return get<I>().forward_then(get<I + 1>(), x);
      else
        return detail::infer(get<I>(), x, std::get<I>(state.layers)...);
    }();
    detail::watch_forward(get<I>(), y);
    return y;
  }
  /// Layers I and following. x comes by value, so that its memory is free again as soon as layer I has read it.
  template <std::size_t I, int Rank, class... State>
  auto infer(Tensor<scalar, Rank> x, State&... state) const {
    if constexpr (I == kCount) {
      return x;
    } else {
      auto y = infer_one<I>(x, state...);
      x.release();
      return infer<kBehind<I>>(std::move(y), state...);
    }
  }

  template <std::size_t I, class X>
  auto train(const X& x, Cache& cache) const {
    constexpr std::size_t kNext = kBehind<I>;
    if constexpr (kNext < kCount) cache.between[kNext - 1].release();  // of an earlier pass: its memory is free for this one
    if constexpr (kFused[I + 1]) check_pair<I>(x.shape());
    const auto run = [&] {
      if constexpr (kFused[I + 1])
        return get<I>().forward_then(get<I + 1>(), x, std::get<I>(cache.layers), std::get<I + 1>(cache.layers));
      else
        return get<I>().forward(x, std::get<I>(cache.layers));
    };
    auto y = [&] {
      LayerScope scope(names_[I]);
      auto result = run();
      detail::watch_forward(get<I>(), result);
      return result;
    }();
    if constexpr (kNext == kCount) {
      return y;
    } else {
      auto last = train<kNext>(y, cache);
      cache.between[kNext - 1] = std::move(y).flattened();  // the memory stays where it is: the next layer's cache looks at it
      return last;
    }
  }

  /// The gradient of layer I and of the layer that runs it. Errors about dy belong to layer I.
  template <std::size_t I, int Rank>
  auto back_one(const TensorView<const scalar, Rank>& dy, Cache& cache) {
    constexpr std::size_t kRunner = kFirst<I>;
    LayerScope scope(names_[I]);
    auto dx = [&] {
      if constexpr (kFused[I])
        return get<kRunner>().backward_then(get<I>(), dy, std::get<kRunner>(cache.layers), std::get<I>(cache.layers));
      else
        return get<I>().backward(dy, std::get<I>(cache.layers));
    }();
    detail::watch_backward(get<kRunner>(), dx);
    if constexpr (kFused[I]) detail::watch_backward(get<I>(), dx);
    return dx;
  }
  /// Layers End - 1, ..., 0. Neither dy nor what lies before the layer behind is read again: the next gradients take their memory while it is
  /// warm.
  template <std::size_t End, int Rank>
  auto back(Tensor<scalar, Rank> dy, Cache& cache) {
    if constexpr (End == 0) {
      return dy;
    } else {
      cache.between[End - 1].release();
      auto dx = back_one<End - 1>(dy, cache);
      dy.release();
      return back<kFirst<End - 1>>(std::move(dx), cache);
    }
  }

  std::array<std::string, kCount> names_;
  std::tuple<First, Rest...> layers_;
};

template <class... Layers>
Sequential(Layers...) -> Sequential<typename detail::Unnamed<Layers>::type...>;

}  // namespace heed::inline HEED_ABI
