// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <heed/core/parameter.hpp>

namespace heed::inline HEED_ABI {

/// What a layer tells about itself. Summary, files, optimisers, errors and the certificate are written on this one walk, so that no other
/// room needs to know layer types. Derive and override what you want to see; the rest is passed over.
///
/// A const layer shows const parameters and buffers; a mutable one shows mutable ones, which by default fall back to the const calls.
template <class T>
class Visitor {
 public:
  virtual ~Visitor() = default;

  /// First call for each layer: its class name ("Conv2d").
  virtual void kind(std::string_view /*name*/) {}
  /// An option under torch.nn's name, as text ("kernel_size", "3x3"). Numbers are given in full precision.
  virtual void option(std::string_view /*name*/, const std::string& /*value*/) {}
  /// A trained parameter under its own name ("weight"); `path_of` gives the full one. Layouts are PyTorch's.
  /// @{
  virtual void parameter(std::string_view /*name*/, const Parameter<T>& /*parameter*/) {}
  virtual void parameter(std::string_view name, Parameter<T>& parameter) { this->parameter(name, std::as_const(parameter)); }
  /// @}
  /// A parameter whose rows are looked up or added instead of multiplied (embeddings, positions); unless overridden, one like every other.
  virtual void table(std::string_view name, const Parameter<T>& parameter) { this->parameter(name, parameter); }
  /// The same of a mutable layer.
  virtual void table(std::string_view name, Parameter<T>& parameter) { this->parameter(name, parameter); }
  /// State that is saved but not trained (running statistics).
  virtual void buffer(std::string_view /*name*/, const Tensor<T, 1>& /*buffer*/) {}
  /// The same of a mutable layer.
  virtual void buffer(std::string_view name, Tensor<T, 1>& buffer) { this->buffer(name, std::as_const(buffer)); }
  /// Numbers that follow from the options, neither trained nor saved: tables of sines.
  virtual void constant(std::string_view /*name*/, const Shape& /*shape*/, const T* /*values*/) {}
  /// Around each child.
  virtual void enter(std::string_view name) {
    if (!path_.empty()) path_ += '.';
    path_ += name;
  }
  /// Behind each child: the path loses its last name.
  virtual void leave() { path_.resize(path_.rfind('.') == std::string::npos ? 0 : path_.rfind('.')); }

  /// For layers: an option of any printable type.
  template <class Value>
    requires(!std::is_convertible_v<const Value&, const std::string&>)
  void option(std::string_view name, const Value& value) { option(name, text(value)); }
  /// For layers: describes a child under its name. Works on const and mutable layers, AnyLayer among them. Names hold no dot.
  template <class Child>
  void child(std::string_view name, Child& child) {
    enter(name);
    child.describe(*this);
    leave();
  }

  /// Dotted path of the layer that is being described, empty at the root.
  const std::string& path() const { return path_; }
  /// Path of one of its parameters or buffers: "0.attention.in_proj_weight".
  std::string path_of(std::string_view name) const { return path_.empty() ? std::string(name) : path_ + '.' + std::string(name); }

 private:
  std::string path_;
};
HEED_COMPILE_CLASS_ONCE(Visitor);

/// A parameter with its full name, as files and optimisers see it.
template <class T>
struct NamedParameter {
  std::string name;         ///< the dotted path, "0.attention.in_proj_weight"
  Parameter<T>* parameter;  ///< the model's own
};
/// A buffer with its full name.
template <class T>
struct NamedBuffer {
  std::string name;      ///< the dotted path, "1.running_mean"
  Tensor<T, 1>* buffer;  ///< the model's own
};

namespace detail {

/// A walk that lists the parameters. One for all models: what is written behind it is compiled once.
template <class T>
class ParameterList final : public Visitor<T> {
 public:
  std::vector<NamedParameter<T>> found;  ///< so far
  using Visitor<T>::parameter;
  void parameter(std::string_view name, Parameter<T>& p) override;
};
template <class T>
void ParameterList<T>::parameter(std::string_view name, Parameter<T>& p) {
  found.push_back({this->path_of(name), &p});
}
HEED_COMPILE_CLASS_ONCE(ParameterList);

/// The same of the buffers.
template <class T>
class BufferList final : public Visitor<T> {
 public:
  std::vector<NamedBuffer<T>> found;  ///< so far
  using Visitor<T>::buffer;
  void buffer(std::string_view name, Tensor<T, 1>& b) override;
};
template <class T>
void BufferList<T>::buffer(std::string_view name, Tensor<T, 1>& b) {
  found.push_back({this->path_of(name), &b});
}
HEED_COMPILE_CLASS_ONCE(BufferList);

}  // namespace detail

/// All parameters of a model in the order of the walk. They may be written, so the model is not const. The pointers are valid as long as the model is neither moved nor destroyed.
template <class Model>
auto named_parameters(Model& model) {
  static_assert(
      !std::is_const_v<Model>, "heed::named_parameters: the parameters that it names may be written, so the model must not be const");
  detail::ParameterList<typename Model::scalar> list;
  model.describe(list);
  return std::move(list.found);
}

/// All buffers of a model in the order of the walk.
template <class Model>
auto named_buffers(Model& model) {
  detail::BufferList<typename Model::scalar> list;
  model.describe(list);
  return std::move(list.found);
}

/// Copies parameters (with their frozen marks) and buffers between two models of equal structure; the scalars may differ.
template <class From, class To>
void copy_parameters(const From& from, To& to) {
  auto& source_model = const_cast<From&>(from);  // the walk hands out mutable pointers; only read here
  const auto source = named_parameters(source_model);
  const auto target = named_parameters(to);
  const auto source_buffers = named_buffers(source_model);
  const auto target_buffers = named_buffers(to);
  require(source.size() == target.size() && source_buffers.size() == target_buffers.size(),
      "copy_parameters: the models differ: ", source.size(), " and ", target.size(), " parameters, ", source_buffers.size(), " and ",
      target_buffers.size(), " buffers");
  for (std::size_t i = 0; i < source.size(); ++i)  // all of them before the first is copied
    require<ShapeError>(source[i].parameter->shape() == target[i].parameter->shape(), "copy_parameters: ", source[i].name, " is ",
        source[i].parameter->shape(), " in the model that is copied, ", target[i].name, " is ", target[i].parameter->shape(),
        " in the other; nothing is copied");
  for (std::size_t i = 0; i < source_buffers.size(); ++i)
    require<ShapeError>(source_buffers[i].buffer->shape() == target_buffers[i].buffer->shape(), "copy_parameters: ", source_buffers[i].name,
        " is ", source_buffers[i].buffer->shape(), " in the model that is copied, ", target_buffers[i].name, " is ",
        target_buffers[i].buffer->shape(), " in the other; nothing is copied");
  using U = typename To::scalar;
  for (std::size_t i = 0; i < source.size(); ++i) {
    for (Index j = 0; j < source[i].parameter->size(); ++j)
      target[i].parameter->value()[j] = static_cast<U>(source[i].parameter->value()[j]);
    target[i].parameter->freeze(source[i].parameter->frozen());
  }
  for (std::size_t i = 0; i < source_buffers.size(); ++i)
    for (Index j = 0; j < source_buffers[i].buffer->size(); ++j)
      (*target_buffers[i].buffer)[j] = static_cast<U>((*source_buffers[i].buffer)[j]);
}

namespace detail {
template <class X>
inline constexpr bool kIsTensor = false;
template <class T, int Rank>
inline constexpr bool kIsTensor<Tensor<T, Rank>> = true;
}  // namespace detail

/// Deduced for `X&& x` when x is a tensor that dies with the call: what a cache must not keep a view of.
template <class X>
concept TemporaryTensor = !std::is_reference_v<X> && detail::kIsTensor<std::remove_const_t<X>>;

/// `shape` with another last axis.
inline Shape replace_features(Shape shape, Index features) {
  if (shape.rank() > 0) shape[-1] = features;
  return shape;
}

/// The check of a `backward` that its cache was filled: `kept` is what forward puts there, a tensor, a view, a shape, or a mark of type bool.
/// Of several, name one that backward gives back to the pool when it is done, so that a second backward is refused too.
template <class Kept>
void require_filled(std::string_view layer, const Kept& kept) {
  bool filled;
  if constexpr (std::is_same_v<Kept, bool>)
    filled = kept;
  else if constexpr (requires { kept.rank(); })
    filled = kept.rank() > 0;
  else
    filled = kept.shape().rank() > 0;  // an empty batch has a shape, too
  require(filled, layer, ": backward follows one forward(x, cache); this cache was never filled, or has been used already");
}

/// The check of every `backward`: dy has the shape that forward gave, for the `rows` that the cache saw.
inline void require_gradient_shape(std::string_view layer, const Shape& dy, const Shape& expected, Index rows) {
  require<ShapeError>(dy.rank() > 0, layer, ": dy is empty; the layer behind has no input gradient (input_gradient = false?)");
  require<ShapeError>(dy == expected && dy.rows() == rows, layer, ": dy is ", dy, ", the forward pass of this cache gave ", rows,
      " rows of ", expected.features(), " features; backward takes the gradient of that output, once a forward");
}
/// The check that a cache is not that of another layer, nor of a forward pass that refused its input: it has `seen` as many features as the layer takes.
inline void require_own_cache(std::string_view layer, Index seen, Index features) {
  require<ShapeError>(seen == features, layer, ": the cache has seen an input of ", seen, " features, this layer takes ", features,
      "; backward takes the cache of a forward pass of its own layer");
}
/// The checks of `backward` where the cache keeps a view of x, with the rows of y and `features` of the layer.
template <class T, int Rank>
void require_gradient_shape(
    std::string_view layer, const Shape& dy, const Shape& expected, const TensorView<const T, Rank>& seen, Index features) {
  require_filled(layer, seen);
  require_own_cache(layer, seen.features(), features);
  require_gradient_shape(layer, dy, expected, seen.rows());
}

/// A member of caches that look into themselves. They may be moved, but not copied: a copy would look into the original.
struct MoveOnly {
  MoveOnly() = default;
  /// Moved with what it is a part of.
  /// @{
  MoveOnly(MoveOnly&&) noexcept = default;
  MoveOnly& operator=(MoveOnly&&) noexcept = default;
  /// @}
};

/// Sees what shapes a composed model asks of its children while it lives: `model.output_shape(in)` becomes a list of all layers with
/// their shapes, in the order in which they run. `heed::summarize` is written on it.
class ShapeObserver {
 public:
  ShapeObserver() : outer_(std::exchange(context().shapes, this)) {}
  virtual ~ShapeObserver() { context().shapes = outer_; }
  ShapeObserver(const ShapeObserver&) = delete;
  ShapeObserver& operator=(const ShapeObserver&) = delete;

  /// The layer at `layer_path()` turns `in` into `out`. `products`: multiply-adds of activations with activations, see `child_shape`.
  virtual void seen(const Shape& in, const Shape& out, double products) = 0;

 private:
  ShapeObserver* outer_;
};

/// For composers: `layer.output_shape(in)` of the child called `name`. A layer that multiplies activations with each other, as attention
/// does, says how often in `double activation_products(const Shape& in) const`; what weights cost is seen from their shapes.
template <class Child>
Shape child_shape(std::string_view name, const Child& child, const Shape& in) {
  LayerScope scope(name);
  const Shape out = child.output_shape(in);
  if (context().shapes) [[unlikely]] {
    double products = 0;
    if constexpr (requires { child.activation_products(in); }) products = child.activation_products(in);
    context().shapes->seen(in, out, products);
  }
  return out;
}

/// For `Layer::input_rank`, and what a layer without one has: the layer takes tensors of any rank, reads them as rows x features, and gives the same rank.
inline constexpr int kAnyRank = 0;

namespace detail {
template <class L>
struct FindInputScalar {
  using type = typename L::scalar;
};
template <class L>
  requires requires { typename L::input_scalar; }
struct FindInputScalar<L> {
  using type = typename L::input_scalar;
};
}  // namespace detail

/// What a layer's input is made of: its scalar, unless the layer names another `input_scalar`. `Embedding` reads whole numbers; those have no
/// gradient, and its backward returns an empty tensor.
template <class L>
using InputScalarOf = typename detail::FindInputScalar<L>::type;

namespace detail {
/// The rank that a layer takes, or kAnyRank.
template <class L>
inline constexpr int kInputRankOf = kAnyRank;
template <class L>
  requires requires { L::input_rank; }
inline constexpr int kInputRankOf<L> = L::input_rank;

/// Is there for tensors that L does not take, and for Eigen's matrices. (Embedding takes words of any rank, which its input_rank does not say.)
/// @{
template <class L, class T, int Rank>
  requires(!std::is_same_v<T, InputScalarOf<L>> || (kInputRankOf<L> != kAnyRank && kInputRankOf<L> != Rank && !std::is_integral_v<T>))
void not_for(const TensorView<const T, Rank>&);
template <class L, class Matrix>
void not_for(const Eigen::DenseBase<Matrix>&);
/// @}
template <class X, class L>
concept NotFor = requires(const X& x) {
  not_for<L>(x);
};
}  // namespace detail

/// What every layer gets for writing one function, the walk over its members:
///
///     template <class Self, class V>
///     static void describe_members(Self& self, V& visitor) {   // Self is the layer or the const layer
///       visitor.kind("Linear");
///       visitor.option("bias", self.options_.bias);
///       visitor.parameter("weight", self.weight_);
///     }
///
/// A layer is a plain value; this base holds nothing.
template <class Derived>
class LayerBase {
 public:
  /// Tells kind, options, parameters and children (see Visitor).
  template <class T>
  void describe(Visitor<T>& visitor) {
    Derived::describe_members(self(), visitor);
  }
  /// The same of a const layer, whose parameters the visitor may read only.
  template <class T>
  void describe(Visitor<T>& visitor) const {
    Derived::describe_members(self(), visitor);
  }

  /// What the compiler says to an x that is none of the layer's. A layer has it by `using LayerBase<...>::forward`.
  template <class X, class... More>
    requires(detail::NotFor<X, Derived>)
  HEED_REFUSED("forward takes the layer's scalar and axes: Tensor<T, 4> of images, Tensor<T, 3> of sequences, Tensor<T, 2> or wrap(matrix)")
  X forward(const X& x, const More&... more) const;

  /// Calls `f(name, parameter)` for each parameter of the layer and its children, with full names.
  template <class F>
  void parameters(const F& f) {
    for (auto& [name, parameter] : named_parameters(self())) f(name, *parameter);
  }

  /// Sets every parameter gradient to zero.
  void zero_gradients() {
    for (auto& [name, parameter] : named_parameters(self())) parameter->zero_gradient();
  }
  /// Freezes (or thaws) every parameter. Fixed ones stay frozen.
  void freeze(bool frozen = true) {
    for (auto& [name, parameter] : named_parameters(self())) parameter->freeze(frozen);
  }
  /// The number of trainable and frozen numbers.
  Index parameter_count() const {
    Index count = 0;
    for (auto& [name, parameter] : named_parameters(const_cast<Derived&>(self()))) count += parameter->size();
    return count;
  }

 protected:
  /// For `rebind<U>()` of layers: a `Rebound` made from `arguments` (the options), with this layer's parameters and buffers.
  template <class Rebound, class... Arguments>
  Rebound rebound(const Arguments&... arguments) const {
    SeedScope keep_streams(0);  // the copy draws no initial weights from the thread's sequence
    Rebound fresh(arguments...);
    copy_parameters(self(), fresh);
    return fresh;
  }

 private:
  Derived& self() { return static_cast<Derived&>(*this); }
  const Derived& self() const { return static_cast<const Derived&>(*this); }
};

namespace detail {
template <class L>
inline constexpr int example_rank = kInputRankOf<L> == kAnyRank ? 3 : kInputRankOf<L>;
}  // namespace detail

/// The contract of every layer (docs/architecture.md, "Who changes what"):
/// - `forward(x)` is inference and changes nothing; `forward(x, cache)` is the training pass and changes only the cache, which the caller owns.
///   The cache may keep a view of x: **x must live, unchanged, until `backward(dy, cache)` returns.** (Temporaries are refused at compile time.)
/// - `backward(dy, cache)`, with f = sum(dy * y): adds df/dparameter to the gradients and returns df/dx. It follows one `forward(x, cache)`.
/// - `output_shape(in)` throws ShapeError for inputs that the layer refuses; `describe(visitor)` walks options, parameters and children.
/// - `rebind<U>()`, where a layer has it, is the same layer over another scalar (what `check_gradients` runs on).
template <class L>
concept Layer = requires(L& layer, const L& fixed, typename L::Cache& cache, const Shape& shape, Visitor<typename L::scalar>& visitor,
    const Tensor<InputScalarOf<L>, detail::example_rank<L>>& x) {
  { fixed.output_shape(shape) } -> std::same_as<Shape>;
  fixed.describe(visitor);
  layer.describe(visitor);
  fixed.forward(x);
  { fixed.forward(x, cache) } -> std::same_as<decltype(fixed.forward(x))>;
  { layer.backward(fixed.forward(x), cache) } -> std::same_as<Tensor<typename L::scalar, detail::example_rank<L>>>;
};

namespace detail {
/// The concept Layer a requirement at a time, so that the compiler says in words what a type lacks.
template <class L>
consteval bool require_layer() {
  static_assert(
      requires { typename L::scalar; }, "heed: this is no layer: it does not say what it computes in (using scalar = T)");
  static_assert(
      requires { typename L::Cache; }, "heed: this is no layer: it has no struct Cache, which holds what backward needs");
  if constexpr (requires {
                  typename L::scalar;
                  typename L::Cache;
                }) {
    using X = Tensor<InputScalarOf<L>, example_rank<L>>;
    static_assert(
        requires(const L& layer, const Shape& in) { layer.output_shape(in); },
        "heed: this is no layer: output_shape(in), which is const, is missing");
    static_assert(
        requires(L & layer, Visitor<typename L::scalar> & visitor) { layer.describe(visitor); },
        "heed: this is no layer: describe(visitor) is missing (LayerBase makes it of describe_members(self, visitor))");
    static_assert(
        requires(const L& layer, const X& x) { layer.forward(x); },
        "heed: this is no layer: forward(x), which is const, is missing for tensors of its input_rank (of three axes where it names none)");
    static_assert(
        requires(const L& layer, const X& x, typename L::Cache& cache) { layer.forward(x, cache); },
        "heed: this is no layer: forward(x, cache), which is const, is missing for tensors of its input_rank (of three axes where it names "
        "none)");
    static_assert(
        requires(L & layer, const X& x, typename L::Cache& cache) { layer.backward(layer.forward(x, cache), cache); },
        "heed: this is no layer: backward(dy, cache) is missing");
    static_assert(Layer<L>, "heed: this is no layer: forward(x, cache) gives what forward(x) gives, and backward a tensor as x is");
  }
  return true;
}
}  // namespace detail

}  // namespace heed::inline HEED_ABI
