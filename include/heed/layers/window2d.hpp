// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/pool2d.hpp>
#include <heed/layers/size2d.hpp>

namespace heed::inline HEED_ABI {

/// How the windows of a convolution or pooling layer lie on its input: image (N, H, W, C), or sequence (N, T, C), which is an image of height 1.
/// It checks the options and the shapes of all these layers; errors name `layer`.
class Window2d {
 public:
  /// Of options with kernel_size, stride, padding and dilation (numbers for sequences), and ceil_mode where there is one.
  template <class Options>
  Window2d(const char* layer, const Options& options)
      : layer_(layer),
        kernel_size_(of_image(options.kernel_size)),
        stride_(of_image(options.stride)),
        padding_(border(options.padding)),
        dilation_(of_image(options.dilation)),
        image_(std::is_same_v<decltype(options.kernel_size), Size2d>) {
    if constexpr (requires { options.ceil_mode; }) ceil_mode_ = options.ceil_mode;
    require(kernel_size_.height > 0 && kernel_size_.width > 0 && stride_.height > 0 && stride_.width > 0 && dilation_.height > 0 &&
                dilation_.width > 0,
        layer, ": kernel_size (", options.kernel_size, "), stride (", options.stride, ") and dilation (", options.dilation,
        ") must be positive");
    require(padding_.top >= 0 && padding_.left >= 0 && padding_.bottom >= 0 && padding_.right >= 0, layer, ": padding (", options.padding,
        ") must not be negative");
  }

  /// For pooling: a window that lies in the padding alone would have nothing to pool.
  template <class Options>
  void require_small_padding(const Options& options) const {
    require(std::max(padding_.top, padding_.bottom) < extent(0) && std::max(padding_.left, padding_.right) < extent(1), layer_,
        ": padding (", options.padding, ") must be smaller than the window (kernel_size ", options.kernel_size, ", dilation ",
        options.dilation, ")");
  }

  /// Throws ShapeError for inputs of another rank and for those into which the kernel does not fit.
  Shape output_shape(const Shape& in, Index channels) const {
    require<ShapeError>(in.rank() == (image_ ? 4 : 3), layer_, ": input ", in, " has ", in.rank(), " axes, (",
        image_ ? "images, height, width, channels" : "sequences, tokens, channels", ") are expected");
    const Index height = windows(0, image_ ? in[1] : 1), width = windows(1, in[-2]);
    if (height <= 0 || width <= 0)  // the words are put together only then
      fail<ShapeError>(layer_, ": the kernel does not fit into the input (input ", in, ", padding ",
          image_ ? padding_.to_string() : Padding1d(padding_.left, padding_.right).to_string(), ", kernel_size ", shown(kernel_size_),
          ", dilation ", shown(dilation_), ")");
    return image_ ? image_shape(in[0], height, width, channels) : token_shape(in[0], width, channels);
  }
  Shape output_shape(const Shape& in) const { return output_shape(in, in.features()); }

  /// For inputs and outputs of these shapes, which fit each other.
  kernels::Pool2dGeometry geometry(const Shape& x, const Shape& y) const {
    return {x[0], {image_ ? x[1] : 1, x[-2]}, {image_ ? y[1] : 1, y[-2]}, x[-1], {kernel_size_.height, kernel_size_.width},
        {stride_.height, stride_.width}, {padding_.top, padding_.left}, {dilation_.height, dilation_.width},
        {padding_.bottom, padding_.right}};
  }

 private:
  static Size2d of_image(const Size2d& size) { return size; }
  static Size2d of_image(Index width) { return {1, width}; }
  static Padding2d border(const Padding2d& padding) { return padding; }
  static Padding2d border(const Padding1d& padding) { return {0, padding.begin, 0, padding.end}; }
  std::string shown(const Size2d& size) const { return image_ ? size.to_string() : text(size.width); }

  /// What the taps of a window span.
  Index extent(int axis) const {
    return axis == 0 ? dilation_.height * (kernel_size_.height - 1) + 1 : dilation_.width * (kernel_size_.width - 1) + 1;
  }
  Index windows(int axis, Index size) const {
    return axis == 0 ? kernels::pool2d_windows(
                           size, kernel_size_.height, stride_.height, padding_.top, padding_.bottom, dilation_.height, ceil_mode_)
                     : kernels::pool2d_windows(
                           size, kernel_size_.width, stride_.width, padding_.left, padding_.right, dilation_.width, ceil_mode_);
  }

  const char* layer_;
  Size2d kernel_size_, stride_;
  Padding2d padding_;
  Size2d dilation_;
  bool image_, ceil_mode_ = false;
};

/// Pooling options whose strides of 0 have become the kernel's size.
template <class Options>
Options with_strides(Options options) {
  if constexpr (std::is_same_v<decltype(options.stride), Size2d>) {
    if (options.stride.height == 0) options.stride.height = options.kernel_size.height;
    if (options.stride.width == 0) options.stride.width = options.kernel_size.width;
  } else if (options.stride == 0) {
    options.stride = options.kernel_size;
  }
  return options;
}

}  // namespace heed::inline HEED_ABI
