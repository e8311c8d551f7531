// SPDX-License-Identifier: MIT
#include <heed/layers/window2d.hpp>

#include "catch.hpp"

using heed::Index;
using heed::Padding1d;
using heed::Padding2d;
using heed::Shape;
using heed::ShapeError;
using heed::Size2d;
using heed::Window2d;

namespace {

struct OfImages {
  Size2d kernel_size = 1;
  Size2d stride = 1;
  Padding2d padding = 0;
  Size2d dilation = 1;
};
struct OfSequences {
  Index kernel_size = 1;
  Index stride = 1;
  Padding1d padding = 0;
  Index dilation = 1;
  bool ceil_mode = false;
};

}  // namespace

TEST_CASE("windows on images and on sequences, which are images of height 1") {
  const Window2d window("L", OfImages{.kernel_size = {2, 3}, .stride = {2, 3}, .padding = {1, 0, 2, 4}, .dilation = {3, 2}});
  const Shape x{5, 7, 9, 4}, y = window.output_shape(x, 6);
  CHECK(y == Shape{5, 4, 3, 6});  // (7 + 3 - 4) / 2 + 1, (9 + 4 - 5) / 3 + 1
  CHECK(window.output_shape(x) == Shape{5, 4, 3, 4});
  const auto g = window.geometry(x, y);
  CHECK(g.images == 5);
  CHECK((g.size[0] == 7 && g.size[1] == 9 && g.out_size[0] == 4 && g.out_size[1] == 3 && g.channels == 4));
  CHECK((g.kernel[0] == 2 && g.kernel[1] == 3 && g.stride[0] == 2 && g.stride[1] == 3 && g.dilation[0] == 3 && g.dilation[1] == 2));
  CHECK((g.padding[0] == 1 && g.padding[1] == 0 && g.padding_end[0] == 2 && g.padding_end[1] == 4));

  for (const bool ceil_mode : {false, true}) {
    const Window2d sequences("L", OfSequences{.kernel_size = 3, .stride = 2, .padding = {1, 2}, .dilation = 2, .ceil_mode = ceil_mode});
    const Shape tokens{5, 7, 4}, out = sequences.output_shape(tokens, 6);
    CHECK(out == Shape{5, ceil_mode ? 4 : 3, 6});  // (7 + 3 - 5) / 2 + 1
    const auto s = sequences.geometry(tokens, out);
    CHECK(s.images == 5);
    CHECK((s.size[0] == 1 && s.size[1] == 7 && s.out_size[0] == 1 && s.out_size[1] == out[1] && s.channels == 4));
    CHECK((s.kernel[0] == 1 && s.kernel[1] == 3 && s.stride[0] == 1 && s.stride[1] == 2 && s.dilation[0] == 1 && s.dilation[1] == 2));
    CHECK((s.padding[0] == 0 && s.padding[1] == 1 && s.padding_end[0] == 0 && s.padding_end[1] == 2));
  }
}

TEST_CASE("windows: errors show the options as they were given") {
  CHECK_THROWS_WITH(
      Window2d("Conv1d", OfSequences{.kernel_size = 0}), "Conv1d: kernel_size (0), stride (1) and dilation (1) must be positive");
  CHECK_THROWS_AS(Window2d("L", OfImages{.kernel_size = {0, 1}}), std::invalid_argument);
  CHECK_THROWS_AS(Window2d("L", OfImages{.kernel_size = {1, 0}}), std::invalid_argument);
  CHECK_THROWS_AS(Window2d("L", OfImages{.stride = {0, 1}}), std::invalid_argument);
  CHECK_THROWS_AS(Window2d("L", OfImages{.stride = {1, -1}}), std::invalid_argument);
  CHECK_THROWS_AS(Window2d("L", OfImages{.dilation = {0, 1}}), std::invalid_argument);
  CHECK_THROWS_AS(Window2d("L", OfImages{.dilation = {1, 0}}), std::invalid_argument);
  CHECK_THROWS_WITH(Window2d("L", OfImages{.padding = {0, 1, -1, 1}}), "L: padding (0,1,-1,1) must not be negative");
  for (const Padding2d& padding : {Padding2d{-1, 0, 0, 0}, Padding2d{0, -1, 0, 0}, Padding2d{0, 0, 0, -1}})
    CHECK_THROWS_AS(Window2d("L", OfImages{.padding = padding}), std::invalid_argument);

  CHECK_THROWS_WITH(
      Window2d("Conv2d", OfImages{.kernel_size = {2, 3}, .padding = {0, 1, 0, 0}, .dilation = {1, 2}}).output_shape({1, 9, 3, 1}),
      "Conv2d: the kernel does not fit into the input (input 1x9x3x1, padding 0,1,0,0, kernel_size 2x3, dilation 1x2)");
  CHECK_THROWS_WITH(Window2d("Conv1d", OfSequences{.kernel_size = 4, .padding = {1, 0}}).output_shape({1, 2, 1}),
      "Conv1d: the kernel does not fit into the input (input 1x2x1, padding 1,0, kernel_size 4, dilation 1)");
  CHECK_THROWS_AS(Window2d("L", OfImages{.kernel_size = {3, 1}}).output_shape({1, 2, 3, 1}), ShapeError);
  CHECK_THROWS_WITH(
      Window2d("L", OfImages{}).output_shape({1, 2, 3}), "L: input 1x2x3 has 3 axes, (images, height, width, channels) are expected");
  CHECK_THROWS_WITH(
      Window2d("L", OfSequences{}).output_shape({1, 2}), "L: input 1x2 has 2 axes, (sequences, tokens, channels) are expected");
  CHECK_THROWS_AS(Window2d("L", OfSequences{}).output_shape({1, 2, 3, 4}), ShapeError);
}

TEST_CASE("windows of pools do not lie in the padding alone") {
  const auto check = [](const auto& options) { Window2d("P", options).require_small_padding(options); };
  CHECK_NOTHROW(check(OfImages{.kernel_size = {3, 2}, .padding = {2, 1, 2, 1}}));
  CHECK_NOTHROW(check(OfImages{.kernel_size = 2, .padding = {3, 0, 0, 2}, .dilation = {3, 2}}));
  for (const Padding2d& padding : {Padding2d{3, 0, 0, 0}, Padding2d{0, 2, 0, 0}, Padding2d{0, 0, 3, 0}, Padding2d{0, 0, 0, 2}})
    CHECK_THROWS_AS(check(OfImages{.kernel_size = {3, 2}, .padding = padding}), std::invalid_argument);
  CHECK_THROWS_WITH(check(OfSequences{.kernel_size = 2, .padding = {0, 3}, .dilation = 2}),
      "P: padding (0,3) must be smaller than the window (kernel_size 2, dilation 2)");
}

TEST_CASE("the stride of a pool is its kernel's size unless it is given") {
  const OfImages images = heed::with_strides(OfImages{.kernel_size = {4, 5}, .stride = {0, 3}});
  CHECK(images.stride == Size2d{4, 3});
  CHECK(heed::with_strides(OfImages{.kernel_size = {4, 5}, .stride = {2, 0}}).stride == Size2d{2, 5});
  CHECK(heed::with_strides(OfSequences{.kernel_size = 4, .stride = 0}).stride == 4);
  CHECK(heed::with_strides(OfSequences{.kernel_size = 4, .stride = 1}).stride == 1);
}
