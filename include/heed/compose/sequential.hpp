// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <string>
#include <tuple>
#include <utility>

#include <heed/compose/decode.hpp>
#include <heed/core/layer.hpp>

namespace heed {

/// A layer under a name of its own, for `Sequential`: `named("conv1", Conv2d<float>(...))`.
template <class L>
struct Named {
  std::string name;
  L layer;
};
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
  if constexpr (First::input_rank != kAnyRank || sizeof...(Rest) == 0)
    return First::input_rank;
  else
    return first_rank<Rest...>();
}
}  // namespace detail

/// One layer after another: y = lₙ(… l₂(l₁(x))) (torch.nn.Sequential). Children are called "0", "1", ... unless `named`. Names are not empty,
/// hold no dot and differ from each other: files and error messages tell layers apart by them.
///
/// The cache holds each layer's cache and the tensors between them, which the layers' caches look at.
template <class First, class... Rest>
class Sequential : public LayerBase<Sequential<First, Rest...>> {
  static constexpr std::size_t kCount = 1 + sizeof...(Rest);

 public:
  using scalar = typename First::scalar;
  using input_scalar = InputScalarOf<First>;
  static_assert((std::is_same_v<scalar, typename Rest::scalar> && ...), "heed::Sequential: all layers must have the same scalar type");
  static_assert((std::is_same_v<scalar, InputScalarOf<Rest>> && ...),
      "heed::Sequential: a layer that reads whole numbers (Embedding) can only be the first one");
  static constexpr int input_rank = detail::first_rank<First, Rest...>();

  struct Cache {
    std::tuple<typename First::Cache, typename Rest::Cache...> layers;
    std::array<Tensor<scalar, 1>, kCount - 1> between;  ///< output of layer i, input of layer i + 1
    bool filled = false;                                ///< forward has come to its end, and no backward has followed
  };

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

  template <int Rank>
  auto forward(const TensorView<const input_scalar, Rank>& x) const {
    return infer<1>(infer_one<0>(x));
  }

  struct DecodeState {
    std::tuple<detail::DecodeStateOf<First>, detail::DecodeStateOf<Rest>...> layers;
  };
  DecodeState decode_state(Index sequences, Index capacity) const {
    return std::apply([&](const auto&... layer) { return DecodeState{{detail::decode_state(layer, sequences, capacity)...}}; }, layers_);
  }
  /// Inference of the tokens that follow those in `state` (see `Decoder`).
  template <int Rank>
  auto decode(const TensorView<const input_scalar, Rank>& x, DecodeState& state) const {
    return infer<1>(infer_one<0>(x, state), state);
  }

  template <int Rank>
  auto forward(const TensorView<const input_scalar, Rank>& x, Cache& cache) const {
    cache.filled = false;
    auto y = train<0>(x, cache);
    cache.filled = true;
    return y;
  }
  template <int Rank>
  auto forward(Tensor<input_scalar, Rank>&& x, Cache& cache) const -> decltype(this->forward(std::as_const(x), cache)) = delete;

  /// Frees the tensors between the layers on its way.
  template <int Rank>
  auto backward(const TensorView<const scalar, Rank>& dy, Cache& cache) {
    require_filled("Sequential", std::exchange(cache.filled, false));
    return back<kCount - 1>(back_one<kCount - 1>(dy, cache), cache);
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

  /// Inference of layer I; with a state, decoding.
  template <std::size_t I, class X, class... State>
  auto infer_one(const X& x, State&... state) const {
    LayerScope scope(names_[I]);
    return detail::infer(get<I>(), x, std::get<I>(state.layers)...);
  }
  /// Layers I and following. x comes by value, so that its memory is free again as soon as layer I has read it.
  template <std::size_t I, int Rank, class... State>
  auto infer(Tensor<scalar, Rank> x, State&... state) const {
    if constexpr (I == kCount) {
      return x;
    } else {
      auto y = infer_one<I>(x, state...);
      x.release();
      return infer<I + 1>(std::move(y), state...);
    }
  }

  template <std::size_t I, class X>
  auto train(const X& x, Cache& cache) const {
    if constexpr (I + 1 < kCount) cache.between[I].release();  // of an earlier pass: its memory is free for this one
    auto y = [&] {
      LayerScope scope(names_[I]);
      return get<I>().forward(x, std::get<I>(cache.layers));
    }();
    if constexpr (I + 1 == kCount) {
      return y;
    } else {
      auto last = train<I + 1>(y, cache);
      cache.between[I] = std::move(y).flattened();  // the memory stays where it is: the next layer's cache looks at it
      return last;
    }
  }

  template <std::size_t I, int Rank>
  auto back_one(const TensorView<const scalar, Rank>& dy, Cache& cache) {
    LayerScope scope(names_[I]);
    return get<I>().backward(dy, std::get<I>(cache.layers));
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
      return back<End - 1>(std::move(dx), cache);
    }
  }

  std::array<std::string, kCount> names_;
  std::tuple<First, Rest...> layers_;
};

template <class... Layers>
Sequential(Layers...) -> Sequential<typename detail::Unnamed<Layers>::type...>;

}  // namespace heed
