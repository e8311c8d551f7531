// SPDX-License-Identifier: MIT
// ONNX: operators that work row by row or element by element, and products of matrices.
#include <random>

#include <heed/kernels/dropout.hpp>
#include <heed/kernels/gemm.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/log_softmax.hpp>
#include <heed/layers/rms_norm.hpp>
#include <heed/layers/softmax.hpp>

#include "activations.hpp"

namespace conformance {
namespace {

/// Input number `position`, which must be of floating-point numbers.
template <class T>
std::vector<T> read_real(Run<T>& run, std::size_t position) {
  const auto& entry = run.reference().file().at(run.reference().input(position));
  if (!heed::is_floating(entry.dtype))
    unsupported("tensors of ", heed::dtype_name(entry.dtype), ": the library computes in float and double");
  return run.values(entry.name);
}
template <class T>
Shape input_shape(const Run<T>& run, std::size_t position) {
  return run.shape(run.reference().input(position));
}

/// The axes of `shape` from `begin` to below `end`.
Shape axes_of(const Shape& shape, Index begin, Index end) { return Shape(shape.begin() + begin, static_cast<std::size_t>(end - begin)); }

/// NumPy's rule: axes are matched from the last one, those of size 1 or missing are repeated.
Shape broadcast_shape(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape result;
  for (int axis = 0; axis < rank; ++axis) {
    const Index in_a = axis < rank - a.rank() ? 1 : a[axis - rank], in_b = axis < rank - b.rank() ? 1 : b[axis - rank];
    heed::require<heed::ShapeError>(in_a == in_b || in_a == 1 || in_b == 1, "broadcast: ", a, " and ", b, " do not fit");
    result.push_back(in_a == 1 ? in_b : in_a);
  }
  return result;
}
/// `elements` of the shape `from`, repeated until they fill `to`.
template <class Element>
std::vector<Element> broadcast(const std::vector<Element>& elements, const Shape& from, const Shape& to) {
  heed::require<heed::ShapeError>(broadcast_shape(from, to) == to, "broadcast: ", from, " does not fill ", to);
  std::vector<Element> result;
  for (Index i = 0; i < to.size(); ++i) {
    Index source = 0, step = 1, rest = i;
    for (int axis = 1; axis <= to.rank(); ++axis) {
      if (axis <= from.rank()) {
        source += (from[-axis] == 1 ? 0 : rest % to[-axis]) * step;
        step *= from[-axis];
      }
      rest /= to[-axis];
    }
    result.push_back(elements[static_cast<std::size_t>(source)]);
  }
  return result;
}

/// y = f(x) for tensors of any shape, which the layer sees as `seen`.
template <class T, int Rank, class Layer>
void one_to_one(Run<T>& run, const Layer& layer, const Shape& seen, std::integral_constant<int, Rank>) {
  const auto x = read_real(run, 0);
  const Tensor<T, Rank> y = layer.forward(TensorView<const T, Rank>(x.data(), seen));
  run.expect(run.reference().output(0), y.data(), input_shape(run, 0));
}
template <class T>
void activation(Run<T>& run) {
  with_activation<T>(run.reference(),
      [&](const auto& layer) { one_to_one(run, layer, Shape{input_shape(run, 0).size()}, std::integral_constant<int, 1>()); });
}

/// Along one axis, the last one if none is named; before opset 13 over all axes from `axis` on, which was 1 if not named.
template <class Layer, class T>
void along_axis(Run<T>& run) {
  const bool flattens = run.reference().opset() < 13;
  const Shape shape = input_shape(run, 0);
  const Index axis = axis_from_start(run.reference().integer("axis", flattens ? 1 : -1), shape);
  const Index before = axes_of(shape, 0, axis).size();
  const Shape seen = flattens ? Shape{before, axes_of(shape, axis, shape.rank()).size(), 1}
                              : Shape{before, shape[static_cast<int>(axis)], axes_of(shape, axis + 1, shape.rank()).size()};
  one_to_one(run, Layer({.dim = 1}), seen, std::integral_constant<int, 3>());
}
template <class T>
void softmax(Run<T>& run) {
  along_axis<heed::Softmax<T>>(run);
}
template <class T>
void log_softmax(Run<T>& run) {
  along_axis<heed::LogSoftmax<T>>(run);
}

/// Normalises over all axes from `axis` on; Scale and B may be of any shape that fills X.
template <class Layer, class T, class Options>
void row_norm(Run<T>& run, Options options) {
  const ReferenceCase& reference = run.reference();
  const Shape shape = input_shape(run, 0);
  const Index axis = axis_from_start(reference.integer("axis", -1), shape);
  const Shape row = axes_of(shape, axis, shape.rank());
  options.normalized_shape = Shape{row.size()};
  options.eps = reference.number("epsilon", 1e-5);

  // What fills a row becomes the layer's parameters; what differs from row to row is multiplied and added behind it.
  bool one_row = true;
  for (const std::size_t position : {std::size_t{1}, std::size_t{2}})
    if (reference.has_input(position)) {
      const Shape s = input_shape(run, position);
      for (int i = 0; i < s.rank() - row.rank(); ++i) one_row = one_row && s[i] == 1;
    }
  const auto fill = [&](std::size_t position) {
    Shape from = input_shape(run, position);
    if (one_row && from.rank() > row.rank()) from = axes_of(from, from.rank() - row.rank(), from.rank());
    return broadcast(read_real(run, position), from, one_row ? row : shape);
  };
  options.elementwise_affine = one_row;
  if constexpr (requires { options.bias; }) options.bias = one_row && reference.has_input(2);
  Layer layer(options);
  const std::vector<T> scale = fill(1), bias = reference.has_input(2) ? fill(2) : std::vector<T>();
  if (one_row) std::copy(scale.begin(), scale.end(), layer.weight().value());
  if constexpr (requires { layer.bias(); })
    if (one_row && !bias.empty()) std::copy(bias.begin(), bias.end(), layer.bias().value());

  const auto elements = read_real(run, 0);
  const TensorView<const T, 2> x(elements.data(), Shape{axes_of(shape, 0, axis).size(), row.size()});
  typename Layer::Cache cache;
  for (Tensor<T, 2> y : {std::as_const(layer).forward(x), std::as_const(layer).forward(x, cache)}) {
    for (Index i = 0; i < y.size() && !one_row; ++i) {
      y[i] *= scale[static_cast<std::size_t>(i)];
      if (!bias.empty()) y[i] += bias[static_cast<std::size_t>(i)];
    }
    run.expect(reference.output(0), y.data(), shape);
  }
  Shape statistics = shape;
  for (int i = static_cast<int>(axis); i < shape.rank(); ++i) statistics[i] = 1;
  if (reference.has_output(1)) run.expect(reference.output(1), cache.mean.data(), statistics);
  if (reference.has_output(2)) run.expect(reference.output(2), cache.inv_std.data(), statistics);
}
template <class T>
void layer_normalization(Run<T>& run) {
  row_norm<heed::LayerNorm<T>>(run, heed::LayerNormOptions{.normalized_shape = {}});
}
template <class T>
void rms_normalization(Run<T>& run) {
  row_norm<heed::RMSNorm<T>>(run, heed::RMSNormOptions{.normalized_shape = {}});
}

/// Training drops what NumPy's generator draws below the ratio: 53 bits of std::mt19937, as the operator's reference does. The scale is the
/// library's. Otherwise, and before opset 12, y = x.
template <class T>
void dropout(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const auto x = read_real(run, 0);
  const bool options_are_inputs = reference.opset() >= 12;
  double ratio = 0.5;
  if (options_are_inputs && reference.has_input(1)) ratio = run.template values<double>(reference.input(1)).at(0);
  bool training = false;
  if (options_are_inputs && reference.has_input(2)) training = run.template values<std::int64_t>(reference.input(2)).at(0) != 0;
  if (reference.opset() < 7 && !reference.flag("is_test")) unsupported("training without a seed");

  std::vector<std::int64_t> kept(x.size(), 1);
  std::vector<T> y = x;
  if (training && ratio > 0) {
    if (!reference.has_attribute("seed")) unsupported("training without a seed");
    std::mt19937 numbers(static_cast<std::mt19937::result_type>(reference.integer("seed")));
    const heed::kernels::DropoutMask mask(0, ratio);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::uint32_t high = static_cast<std::uint32_t>(numbers()) >> 5, low = static_cast<std::uint32_t>(numbers()) >> 6;
      kept[i] = (high * 67108864.0 + low) / 9007199254740992.0 >= ratio;  // 2^26 and 2^53
      y[i] = kept[i] ? static_cast<T>(x[i] * static_cast<T>(mask.scale)) : T(0);
    }
  }
  run.expect(reference.output(0), y.data(), input_shape(run, 0));
  if (!reference.has_output(1)) return;
  const std::vector<T> as_numbers(kept.begin(), kept.end());
  if (reference.opset() < 10)  // the mask is of the type of x
    run.expect(reference.output(1), as_numbers.data(), input_shape(run, 0));
  else
    run.expect_whole(reference.output(1), kept);
}

/// y = alpha y + beta c, with c as large as y or empty.
template <class T>
struct ScaleAndAdd {
  double alpha, beta;
  const std::vector<T>& c;

  void operator()(Index row, Index rows, Index col, Index cols, T* y, Index y_row) const {
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < cols; ++j) {
        T& element = y[i * y_row + j];
        element *= static_cast<T>(alpha);
        if (!c.empty()) element += static_cast<T>(beta) * c[static_cast<std::size_t>((row + i) * y_row + col + j)];
      }
  }
};

/// y = alpha A B + beta C, either factor transposed or not.
template <class T>
void gemm(Run<T>& run) {
  using heed::kernels::MatrixRef;
  const ReferenceCase& reference = run.reference();
  const auto a = read_real(run, 0), b = read_real(run, 1);
  const Shape a_shape = input_shape(run, 0), b_shape = input_shape(run, 1);
  const int a_turned = reference.flag("transA"), b_turned = reference.flag("transB");
  const Index rows = a_shape[a_turned], depth = a_shape[1 - a_turned], cols = b_shape[1 - b_turned];
  heed::require<heed::ShapeError>(
      a_shape.rank() == 2 && b_shape.rank() == 2 && b_shape[b_turned] == depth, "Gemm: ", a_shape, " times ", b_shape, " do not fit");
  std::vector<T> c;
  if (reference.has_input(2)) c = broadcast(read_real(run, 2), input_shape(run, 2), Shape{rows, cols});
  if (reference.number("beta", 1) == 0) c.clear();  // whatever it holds
  const MatrixRef<T> a_stored{a.data(), a_shape[1]}, b_stored{b.data(), b_shape[1]};
  Tensor<T, 2> y({rows, cols});
  heed::kernels::gemm<T>(rows, cols, depth, a_turned ? a_stored.transposed() : a_stored, b_turned ? b_stored.transposed() : b_stored,
      y.data(), cols, false, nullptr, ScaleAndAdd<T>{reference.number("alpha", 1), reference.number("beta", 1), c});
  run.expect(reference.output(0), y);
}

/// NumPy's matmul: the last two axes are matrices, the others are broadcast; a vector is a row on the left and a column on the right, and its
/// axis is gone in the result.
template <class T>
void matmul(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const auto a = read_real(run, 0), b = read_real(run, 1);
  Shape a_shape = input_shape(run, 0), b_shape = input_shape(run, 1);
  const bool row = a_shape.rank() == 1, column = b_shape.rank() == 1;
  if (row) a_shape = Shape{1, a_shape[0]};
  if (column) b_shape = Shape{b_shape[0], 1};
  const Index rows = a_shape[-2], depth = a_shape[-1], cols = b_shape[-1];
  heed::require<heed::ShapeError>(b_shape[-2] == depth, "MatMul: ", a_shape, " times ", b_shape, " do not fit");

  const Shape a_items = axes_of(a_shape, 0, a_shape.rank() - 2), b_items = axes_of(b_shape, 0, b_shape.rank() - 2);
  const Shape items = broadcast_shape(a_items, b_items);
  const auto numbers = [&](const Shape& from) {
    std::vector<Index> all(static_cast<std::size_t>(from.size()));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Index>(i);
    return broadcast(all, from, items);
  };
  const std::vector<Index> a_of = numbers(a_items), b_of = numbers(b_items);
  std::vector<T> y(static_cast<std::size_t>(items.size() * rows * cols));
  for (Index i = 0; i < items.size(); ++i)
    heed::kernels::gemm<T>(rows, cols, depth, {a.data() + a_of[static_cast<std::size_t>(i)] * rows * depth, depth},
        {b.data() + b_of[static_cast<std::size_t>(i)] * depth * cols, cols}, y.data() + i * rows * cols, cols);
  Shape shape = items;
  if (!row) shape.push_back(rows);
  if (!column) shape.push_back(cols);
  run.expect(reference.output(0), y.data(), shape);
}

}  // namespace

void add_onnx_row_adapters(Adapters& adapters) {
  adapters["Relu"] = CONFORMANCE_ADAPTER(activation);
  adapters["Gelu"] = CONFORMANCE_ADAPTER(activation);
  adapters["Elu"] = CONFORMANCE_ADAPTER(activation);
  adapters["LeakyRelu"] = CONFORMANCE_ADAPTER(activation);
  adapters["Swish"] = CONFORMANCE_ADAPTER(activation);
  adapters["Sigmoid"] = CONFORMANCE_ADAPTER(activation);
  adapters["Tanh"] = CONFORMANCE_ADAPTER(activation);
  adapters["Softmax"] = CONFORMANCE_ADAPTER(softmax);
  adapters["LogSoftmax"] = CONFORMANCE_ADAPTER(log_softmax);
  adapters["LayerNormalization"] = CONFORMANCE_ADAPTER(layer_normalization);
  adapters["RMSNormalization"] = CONFORMANCE_ADAPTER(rms_normalization);
  adapters["Dropout"] = CONFORMANCE_ADAPTER(dropout);
  adapters["Gemm"] = CONFORMANCE_ADAPTER(gemm);
  adapters["MatMul"] = CONFORMANCE_ADAPTER(matmul);
}

}  // namespace conformance
