// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <set>
#include <utility>

#include <heed/kernels/pool2d_windows.hpp>

using namespace heed;
using kernels::Pool2dGeometry;

namespace {

/// Images of 7 x 11 pixels under all small windows.
template <class F>
void for_each_geometry(const F& f) {
  for (Index kernel : {1, 2, 3})
    for (Index stride : {1, 2, 4})
      for (Index padding : {0, 1, 2})
        for (Index dilation : {1, 2}) {
          Pool2dGeometry g{
              2, {7, 11}, {}, 3, {kernel, kernel + 1}, {stride, stride}, {padding, padding}, {dilation, dilation}, {padding, padding}};
          for (int axis : {0, 1})
            g.out_size[axis] = kernels::pool2d_windows(g.size[axis], g.kernel[axis], stride, padding, padding, dilation, true);
          INFO("kernel " << kernel << " stride " << stride << " padding " << padding << " dilation " << dilation);
          f(g);
        }
}

}  // namespace

TEST_CASE("the taps of a window in the image, and the windows that have all of theirs there") {
  for_each_geometry([](const Pool2dGeometry& g) {
    for (int axis : {0, 1})
      for (Index o = 0; o < g.out_size[axis]; ++o) {
        Index first = -1, end = 0, count = 0;
        for (Index k = 0; k < g.kernel[axis]; ++k) {
          if (g.position(axis, o, k) < 0 || g.position(axis, o, k) >= g.size[axis]) continue;
          if (first < 0) first = k;
          end = k + 1, ++count;
        }
        REQUIRE(std::max<Index>(0, g.end_tap(axis, o) - g.first_tap(axis, o)) == count);
        if (count > 0) REQUIRE((g.first_tap(axis, o) == first && g.end_tap(axis, o) == end));
        REQUIRE((o >= g.inner_begin(axis) && o < g.inner_end(axis)) == (count == g.kernel[axis]));
      }
  });
}

TEST_CASE("the readers of a pixel are the windows that have a tap on it, the last window first") {
  for_each_geometry([](const Pool2dGeometry& g) {
    for (int axis : {0, 1}) {
      const kernels::detail::Readers readers(g, axis);
      for (Index i = 0; i < g.size[axis]; ++i) {
        std::set<std::pair<Index, Index>> expected, found;
        for (Index o = 0; o < g.out_size[axis]; ++o)
          for (Index k = 0; k < g.kernel[axis]; ++k)
            if (g.position(axis, o, k) == i) expected.emplace(o, k);
        const Index* row = readers.of(i);
        for (Index r = 0; r < row[0]; ++r) {
          found.emplace(row[1 + 2 * r], row[2 + 2 * r]);
          if (r > 0) REQUIRE(row[1 + 2 * r] < row[2 * r - 1]);
        }
        REQUIRE(found == expected);
        REQUIRE(static_cast<Index>(found.size()) == row[0]);
      }
    }
  });
}

TEST_CASE("the readers of a pixel take room for the windows that may overlap there, not for all taps") {
  const Pool2dGeometry g{1, {1, 1000}, {1, 900}, 1, {1, 101}, {1, 50}, {0, 0}, {1, 1}, {0, 0}};
  CHECK(kernels::detail::Readers(g, 1).row() == 1 + 2 * 3);
}

TEST_CASE("a walk over rows begins anywhere and goes from image to image") {
  for_each_geometry([](const Pool2dGeometry& g) {
    const Index rows = g.images * g.out_size[0];
    for (Index first = 0; first < rows; ++first) {
      Index number = first;
      for (kernels::detail::RowWalk at(g, first); at.row < rows; at.next(), ++number) {
        REQUIRE((at.row == number && at.oy == number % g.out_size[0]));
        REQUIRE(at.image == number / g.out_size[0] * 7 * 11 * 3);
        REQUIRE(at.out() == number * g.out_size[1] * 3);
      }
      REQUIRE(number == rows);
    }
  });
}

TEST_CASE("the bands of disjoint windows are all rows, each once, and hold the taps of their windows") {
  for_each_geometry([](const Pool2dGeometry& g) {
    if (!g.disjoint()) return;
    Tensor<float, 2> times({7, 33});
    for (Index oy = 0; oy < g.out_size[0]; ++oy) {
      Tensor<float, 2> dx({7, 33});
      dx.fill(1);
      kernels::detail::clear_band(g, oy, dx.data());
      for (Index i = 0; i < dx.size(); ++i) times[i] += 1 - dx[i];
      for (Index k = g.first_tap(0, oy); k < g.end_tap(0, oy); ++k) REQUIRE(dx(g.position(0, oy, k), 0) == 0);
    }
    for (float count : times.span()) REQUIRE(count == 1);
  });
}
