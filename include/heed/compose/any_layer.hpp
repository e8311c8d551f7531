// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <utility>

#include <heed/core/layer.hpp>
#include <heed/fwd.hpp>

namespace heed::inline HEED_ABI {

/// Any layer that takes tensors of rank `InRank` to rank `OutRank`, chosen when the program runs. A value like every layer: copies are
/// deep, the cache belongs to the caller. Costs one virtual call a pass. Describes itself as the layer that it holds.
/// X is what inputs are made of, where that is not T (`AnyLayer<float, 2, 3, std::int64_t>` may hold an Embedding).
template <class T, int InRank, int OutRank, class X>
class AnyLayer : public LayerBase<AnyLayer<T, InRank, OutRank, X>> {
  using Input = TensorView<const X, InRank>;
  using Output = TensorView<const T, OutRank>;

  /// What something is a Holder or a State of, in a program without run-time type information, too: the place of L's own number.
  template <class L>
  static constexpr char kOwn = 0;

  struct CacheState {
    explicit CacheState(const char* place) : own(place) {}
    virtual ~CacheState() = default;
    const char* own;  ///< see kOwn
  };
  struct Model {
    explicit Model(const char* place) : own(place) {}
    virtual ~Model() = default;
    const char* own;
    virtual std::unique_ptr<Model> clone() const = 0;
    virtual Shape output_shape(const Shape& in) const = 0;
    virtual double activation_products(const Shape& in) const = 0;
    virtual Tensor<T, OutRank> forward(const Input& x) const = 0;
    virtual Tensor<T, OutRank> forward(const Input& x, std::unique_ptr<CacheState>& cache) const = 0;
    virtual Tensor<T, InRank> backward(const Output& dy, std::unique_ptr<CacheState>& cache) = 0;
    virtual void describe(Visitor<T>& visitor) = 0;
    virtual void describe(Visitor<T>& visitor) const = 0;
  };

 public:
  using scalar = T;
  using input_scalar = X;
  static constexpr int input_rank = InRank;
  static constexpr bool mixes_tokens = true;  // perhaps: what it holds is not known here, so decode refuses it

  struct Cache {
    std::unique_ptr<CacheState> state;  ///< of the held layer; made by the first forward pass
  };

  /// Takes the layer; it must compute in T.
  template <class L>
    requires(!std::is_same_v<std::remove_cvref_t<L>, AnyLayer>)
  explicit AnyLayer(L layer) : model_(std::make_unique<Holder<L>>(std::move(layer))) {
    static_assert(std::is_same_v<typename L::scalar, T>, "heed::AnyLayer: the layer has another scalar type");
  }
  /// A deep copy.
  AnyLayer(const AnyLayer& other) : model_(other.model_->clone()) {}
  /// Takes the layer; `other` holds none afterwards and must not be called.
  AnyLayer(AnyLayer&&) noexcept = default;
  /// Becomes a deep copy, or takes a temporary's layer.
  AnyLayer& operator=(AnyLayer other) noexcept {
    model_ = std::move(other.model_);
    return *this;
  }

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() == InRank, "AnyLayer: input ", in, " has rank ", in.rank(), ", the layer takes rank ", InRank);
    return model_->output_shape(in);
  }
  /// Of the held layer (see `child_shape`).
  double activation_products(const Shape& in) const { return model_->activation_products(in); }
  using LayerBase<AnyLayer<T, InRank, OutRank, X>>::forward;  // what it says to other tensors
  Tensor<T, OutRank> forward(const Input& x) const { return model_->forward(x); }
  Tensor<T, OutRank> forward(const Input& x, Cache& cache) const { return model_->forward(x, cache.state); }
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, OutRank> forward(Tensor<X, InRank>&& x, Cache& cache) const;
  Tensor<T, InRank> backward(const Output& dy, Cache& cache) { return model_->backward(dy, cache.state); }

  /// The held layer if it is an L, else null.
  template <class L>
  L* get() {
    return model_ && model_->own == &kOwn<L> ? &static_cast<Holder<L>&>(*model_).layer : nullptr;
  }
  template <class L>
  const L* get() const {
    return model_ && model_->own == &kOwn<L> ? &static_cast<const Holder<L>&>(*model_).layer : nullptr;
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    if constexpr (std::is_const_v<Self>)
      std::as_const(*self.model_).describe(visitor);
    else
      self.model_->describe(visitor);
  }

 private:
  template <class L>
  struct Holder final : Model {
    /// The cache of an L.
    struct State final : CacheState {
      State() : CacheState(&kOwn<L>) {}
      typename L::Cache cache;  ///< the layer's own
    };
    explicit Holder(L l) : Model(&kOwn<L>), layer(std::move(l)) {}
    std::unique_ptr<Model> clone() const override { return std::make_unique<Holder>(layer); }
    Shape output_shape(const Shape& in) const override { return layer.output_shape(in); }
    double activation_products([[maybe_unused]] const Shape& in) const override {
      if constexpr (requires { layer.activation_products(in); })
        return layer.activation_products(in);
      else
        return 0;
    }
    Tensor<T, OutRank> forward(const Input& x) const override { return layer.forward(x); }
    Tensor<T, OutRank> forward(const Input& x, std::unique_ptr<CacheState>& cache) const override {
      if (!is_ours(cache)) cache = std::make_unique<State>();
      return layer.forward(x, static_cast<State&>(*cache).cache);
    }
    Tensor<T, InRank> backward(const Output& dy, std::unique_ptr<CacheState>& cache) override {
      require(is_ours(cache), "AnyLayer: backward needs a cache that this layer's forward(x, cache) has filled");
      return layer.backward(dy, static_cast<State&>(*cache).cache);
    }
    static bool is_ours(const std::unique_ptr<CacheState>& cache) { return cache && cache->own == &kOwn<L>; }
    void describe(Visitor<T>& visitor) override { layer.describe(visitor); }
    void describe(Visitor<T>& visitor) const override { layer.describe(visitor); }

    L layer;
  };

  std::unique_ptr<Model> model_;
};

}  // namespace heed::inline HEED_ABI
