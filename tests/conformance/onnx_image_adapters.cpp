// SPDX-License-Identifier: MIT
// ONNX: convolution, pooling and batch norm. Files have (N, C, ...), the library has channels last; one axis of space is a sequence there.
#include <heed/layers/avg_pool1d.hpp>
#include <heed/layers/avg_pool2d.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv1d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/global_avg_pool1d.hpp>
#include <heed/layers/global_avg_pool2d.hpp>
#include <heed/layers/global_max_pool1d.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/max_pool1d.hpp>
#include <heed/layers/max_pool2d.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

/// `elements` of (N, outer, inner) in the order (N, inner, outer).
template <class T>
std::vector<T> swap_inner_axes(const T* elements, Index n, Index outer, Index inner) {
  std::vector<T> result(static_cast<std::size_t>(n * outer * inner));
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < outer; ++j)
      for (Index k = 0; k < inner; ++k)
        result[static_cast<std::size_t>((i * inner + k) * outer + j)] = elements[(i * outer + j) * inner + k];
  return result;
}

/// (N, C, ...) of a file, with axes of space (none: one of size 1), as (N, ..., C); rank 3 takes all axes of space as one.
template <int Rank, class T>
Tensor<T, Rank> read_channels_last(Run<T>& run, const std::string& name) {
  const Shape s = run.shape(name);
  if (!heed::is_floating(run.reference().file().at(name).dtype))
    unsupported("tensors of ", heed::dtype_name(run.reference().file().at(name).dtype), ": the library computes in float and double");
  const auto elements = run.values(name);
  Index pixels = 1;
  for (int axis = 2; axis < s.rank(); ++axis) pixels *= s[axis];
  Shape shape{s[0]};
  if constexpr (Rank == 3) shape.push_back(pixels);
  if constexpr (Rank == 4) shape.push_back(s[2]), shape.push_back(s[3]);
  shape.push_back(s[1]);
  const auto turned = swap_inner_axes(elements.data(), s[0], s[1], pixels);
  return Tensor<T, Rank>(TensorView<const T, Rank>(turned.data(), shape));
}

/// (N, ..., C) must equal the file's (N, C, ...).
template <class T, int Rank>
void expect_channels_last(Run<T>& run, const std::string& name, const TensorView<const T, Rank>& y) {
  Shape as_file{y.size(0), y.features()};
  for (int axis = 1; axis + 1 < Rank; ++axis) as_file.push_back(y.size(axis));
  const Index pixels = y.rows() / std::max<Index>(1, y.size(0));
  run.expect(name, swap_inner_axes(y.data(), y.size(0), pixels, y.features()).data(), as_file);
}

/// The attributes that say how windows lie, one number for each axis of space.
struct Windows {
  std::vector<Index> kernel, strides, dilations, begin, end;
  bool ceil_mode = false;

  /// For x (N, C, ...). `kernel` is known from the weight where the attribute may be left out.
  Windows(const ReferenceCase& reference, const Shape& x, std::vector<Index> kernel_size = {}) : kernel(std::move(kernel_size)) {
    const auto axes = static_cast<std::size_t>(x.rank() - 2);
    if (x.rank() > 4) unsupported("volumes: the library has no kernels for ", axes, " axes of space");
    const auto read = [&](const std::string& attribute, Index fallback, std::size_t count) {
      auto values = reference.integers(attribute);
      if (values.empty()) values.assign(count, fallback);
      heed::require(values.size() == count, attribute, " has ", values.size(), " numbers, ", count, " are expected");
      return values;
    };
    if (reference.has_attribute("kernel_shape")) kernel = read("kernel_shape", 1, axes);
    strides = read("strides", 1, axes);
    dilations = read("dilations", 1, axes);
    const auto pads = read("pads", 0, 2 * axes);
    begin.assign(pads.begin(), pads.begin() + static_cast<std::ptrdiff_t>(axes));
    end.assign(pads.begin() + static_cast<std::ptrdiff_t>(axes), pads.end());
    ceil_mode = reference.flag("ceil_mode");
    const std::string auto_pad = reference.word("auto_pad", "NOTSET");
    if (auto_pad == "NOTSET") return;
    // VALID pads nothing, and its formula is the floor in both modes. SAME makes ⌈size / stride⌉ windows; an odd pixel of padding goes to the
    // end (UPPER) or to the beginning (LOWER).
    ceil_mode = false;
    for (std::size_t i = 0; i < axes; ++i) {
      const Index size = x[static_cast<int>(i) + 2], extent = dilations[i] * (kernel[i] - 1) + 1;
      const Index windows = (size + strides[i] - 1) / strides[i];
      const Index total = auto_pad == "VALID" ? 0 : std::max<Index>(0, (windows - 1) * strides[i] + extent - size);
      begin[i] = auto_pad == "SAME_LOWER" ? total - total / 2 : total / 2;
      end[i] = total - begin[i];
    }
  }

  /// Into a layer's options, of sequences or images.
  template <class Options>
  void set(Options& options) const {
    if constexpr (std::is_same_v<decltype(options.kernel_size), heed::Size2d>) {
      options.kernel_size = {kernel[0], kernel[1]};
      options.stride = {strides[0], strides[1]};
      options.padding = {begin[0], begin[1], end[0], end[1]};
      options.dilation = {dilations[0], dilations[1]};
    } else {
      options.kernel_size = kernel[0];
      options.stride = strides[0];
      options.padding = {begin[0], end[0]};
      options.dilation = dilations[0];
    }
    if constexpr (requires { options.ceil_mode; }) options.ceil_mode = ceil_mode;
  }
};

/// Both passes of a layer must give the first output. The cache is filled by the second.
template <class T, class L>
void expect_both_passes(Run<T>& run, const L& layer, const Tensor<T, L::input_rank>& x, typename L::Cache& cache) {
  const std::string y = run.reference().output(0);
  expect_channels_last(run, y, layer.forward(x).view());
  expect_channels_last(run, y, layer.forward(x, cache).view());
}

template <class L, class Options, class T>
void conv_layer(Run<T>& run, const Windows& windows) {
  const ReferenceCase& reference = run.reference();
  const Shape weight = run.shape(reference.input(1));
  Options options;
  windows.set(options);
  options.groups = reference.integer("group", 1);
  options.in_channels = weight[1] * options.groups;
  options.out_channels = weight[0];
  options.bias = reference.has_input(2);
  L layer(options);
  run.set_parameter(reference.input(1), layer.weight());
  if (options.bias) run.set_parameter(reference.input(2), layer.bias());
  const auto x = read_channels_last<L::input_rank>(run, reference.input(0));
  typename L::Cache cache;
  expect_both_passes(run, layer, x, cache);
}
template <class T>
void conv(Run<T>& run) {
  const Shape x = run.shape(run.reference().input(0)), weight = run.shape(run.reference().input(1));
  const Windows windows(run.reference(), x, std::vector<Index>(weight.begin() + 2, weight.end()));
  if (x.rank() == 3) return conv_layer<heed::Conv1d<T>, heed::Conv1dOptions>(run, windows);
  conv_layer<heed::Conv2d<T>, heed::Conv2dOptions>(run, windows);
}

template <class L, class Options, class T>
void average_pool_layer(Run<T>& run, const Windows& windows) {
  Options options;
  windows.set(options);
  options.count_include_pad = run.reference().flag("count_include_pad", false);  // ONNX's default; torch's is true
  const auto x = read_channels_last<L::input_rank>(run, run.reference().input(0));
  typename L::Cache cache;
  expect_both_passes(run, L(options), x, cache);
}
template <class T>
void average_pool(Run<T>& run) {
  const Shape x = run.shape(run.reference().input(0));
  const Windows windows(run.reference(), x);
  if (x.rank() == 3) return average_pool_layer<heed::AvgPool1d<T>, heed::AvgPool1dOptions>(run, windows);
  average_pool_layer<heed::AvgPool2d<T>, heed::AvgPool2dOptions>(run, windows);
}

template <class L, class Options, class T>
void max_pool_layer(Run<T>& run, const Windows& windows) {
  const ReferenceCase& reference = run.reference();
  Options options;
  windows.set(options);
  const L layer(options);
  const auto x = read_channels_last<L::input_rank>(run, reference.input(0));
  typename L::Cache cache;
  expect_both_passes(run, layer, x, cache);
  if (!reference.has_output(1)) return;
  // The library counts within a plane, row by row. ONNX counts over the whole of (N, C, ...), within a plane row by row or down the columns.
  const auto indices = layer.indices(cache);
  const bool by_columns = reference.integer("storage_order") == 1;
  const Index width = x.size(-2 + L::input_rank), height = L::input_rank == 4 ? x.size(1) : 1;
  const Index windows_of_image = indices.rows() / std::max<Index>(1, indices.size(0));
  auto turned = swap_inner_axes(indices.data(), indices.size(0), windows_of_image, indices.features());
  for (std::size_t i = 0; i < turned.size(); ++i) {
    const Index place = static_cast<Index>(turned[i]);
    const Index in_plane = by_columns ? place % width * height + place / width : place;
    turned[i] = in_plane + static_cast<Index>(i) / windows_of_image * height * width;
  }
  run.expect_whole(reference.output(1), turned);
}
template <class T>
void max_pool(Run<T>& run) {
  const Shape x = run.shape(run.reference().input(0));
  const Windows windows(run.reference(), x);
  if (x.rank() == 3) return max_pool_layer<heed::MaxPool1d<T>, heed::MaxPool1dOptions>(run, windows);
  max_pool_layer<heed::MaxPool2d<T>, heed::MaxPool2dOptions>(run, windows);
}

/// Global pools: images as images, other axes of space (of sequences, and of volumes, too) as one.
template <class L, class T>
void global_pool_layer(Run<T>& run) {
  const L layer;
  const auto x = read_channels_last<L::input_rank>(run, run.reference().input(0));
  typename L::Cache cache;
  Shape as_file = run.shape(run.reference().input(0));
  for (int axis = 2; axis < as_file.rank(); ++axis) as_file[axis] = 1;
  run.expect(run.reference().output(0), layer.forward(x).data(), as_file);
  run.expect(run.reference().output(0), layer.forward(x, cache).data(), as_file);
}
template <class T>
void global_max_pool(Run<T>& run) {
  if (run.shape(run.reference().input(0)).rank() == 4) return global_pool_layer<heed::GlobalMaxPool2d<T>>(run);
  global_pool_layer<heed::GlobalMaxPool1d<T>>(run);
}
template <class T>
void global_average_pool(Run<T>& run) {
  if (run.shape(run.reference().input(0)).rank() == 4) return global_pool_layer<heed::GlobalAvgPool2d<T>>(run);
  global_pool_layer<heed::GlobalAvgPool1d<T>>(run);
}

/// Is it the training pass? Opset 14 says so, the older ones by their outputs (7 to 13) or by is_test.
inline bool batch_norm_trains(const ReferenceCase& reference) {
  if (reference.opset() >= 14) return reference.flag("training_mode");
  if (reference.opset() >= 7) return reference.outputs() > 1;
  return !reference.flag("is_test");
}

/// Any rank, volumes among them: a batch norm knows features, and that the rest are rows.
template <class T>
void batch_norm(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const std::string names[] = {reference.input(0), reference.output(0)};
  const Shape shape = run.shape(names[0]);
  const bool by_channel = reference.flag("spatial", true) && shape.rank() > 1;  // else (opset < 9) each element of an item is a feature
  Tensor<T, 3> x;
  if (by_channel) {
    x = read_channels_last<3>(run, names[0]);
  } else {
    const auto elements = run.values(names[0]);
    const Index items = shape[0], features = shape.rank() == 1 ? 1 : shape.size() / std::max<Index>(1, items);
    x = Tensor<T, 3>(TensorView<const T, 3>(elements.data(), Shape{items, 1, features}));
  }
  const auto expect_output = [&](const Tensor<T, 3>& y) {
    if (!by_channel) return run.expect(names[1], y.data(), shape);
    run.expect(names[1], swap_inner_axes(y.data(), y.size(0), y.size(1), y.size(2)).data(), shape);
  };
  const double momentum = reference.number("momentum", 0.9);
  const bool trains = batch_norm_trains(reference);
  // To train on one value a feature is refused by the library, as by torch. Here the variance is 0, as it is of the same value twice.
  if (trains && x.rows() == 1) {
    Tensor<T, 3> twice({2, 1, x.features()});
    std::copy_n(x.data(), x.size(), std::copy_n(x.data(), x.size(), twice.data()));
    x = std::move(twice);
  }
  // The files' momentum weighs the old value, the library's (torch's) the new one.
  heed::BatchNorm2d<T> layer(
      {.num_features = x.features(), .eps = reference.number("epsilon", 1e-5), .momentum = 1 - momentum, .frozen_statistics = !trains});
  T* const targets[] = {layer.weight().value(), layer.bias().value(), layer.running_mean().data(), layer.running_var().data()};
  for (std::size_t i = 0; i < 4; ++i) {
    const auto values = run.values(reference.input(i + 1));
    heed::require<heed::ShapeError>(static_cast<Index>(values.size()) == x.features(), reference.input(i + 1), " has ", values.size(),
        " elements, x ", x.features(), " features");
    std::copy(values.begin(), values.end(), targets[i]);
  }
  const auto old_variance = Tensor<T, 1>(layer.running_var());
  typename heed::BatchNorm2d<T>::Cache cache;
  if (!trains) expect_output(std::as_const(layer).forward(x));
  const auto y = std::as_const(layer).forward(x, cache);
  expect_output(y);
  if (!trains) return;
  const auto batch_mean = cache.mean, batch_variance = cache.variance;
  layer.backward(y, cache);  // folds the statistics in
  // The files' variance is over n, the library's running one over n - 1.
  const T share = static_cast<T>(x.rows() - 1) / static_cast<T>(x.rows());
  for (Index i = 0; i < x.features(); ++i) {
    const T kept = static_cast<T>(momentum) * old_variance[i];
    layer.running_var().data()[i] = kept + (layer.running_var()[i] - kept) * share;
  }
  const T* const results[] = {layer.running_mean().data(), layer.running_var().data(), batch_mean.data(), batch_variance.data()};
  for (std::size_t i = 0; i < 4; ++i)  // the last two before opset 14 only
    if (reference.has_output(i + 1)) run.expect(reference.output(i + 1), results[i], run.shape(reference.output(i + 1)));
}

}  // namespace

void add_onnx_image_adapters(Adapters& adapters) {
  adapters["Conv"] = CONFORMANCE_ADAPTER(conv);
  adapters["AveragePool"] = CONFORMANCE_ADAPTER(average_pool);
  adapters["MaxPool"] = CONFORMANCE_ADAPTER(max_pool);
  adapters["GlobalMaxPool"] = CONFORMANCE_ADAPTER(global_max_pool);
  adapters["GlobalAveragePool"] = CONFORMANCE_ADAPTER(global_average_pool);
  adapters["BatchNormalization"] = CONFORMANCE_ADAPTER(batch_norm);
}

}  // namespace conformance
