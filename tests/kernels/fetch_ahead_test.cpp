// SPDX-License-Identifier: MIT
#include <cstring>
#include <vector>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/tile.hpp>

using namespace heed;
using kernels::FetchAhead;

TEST_CASE("fetch ahead: line by line, column by column where rows lie apart", "[fetch_ahead]") {
  const std::vector<float> x(600), y(100);
  const char *first = reinterpret_cast<const char*>(x.data()), *second = reinterpret_cast<const char*>(y.data());
  FetchAhead ahead;
  CHECK(ahead.empty());
  ahead.add(x.data(), 100, 5, 33);  // three lines a row
  ahead.add(x.data(), 100, 0, 33);
  ahead.add(x.data(), 100, 5, 0);
  ahead.add(y.data(), 20, 5, 20);  // 400 bytes one behind the other: seven lines
  CHECK_FALSE(ahead.empty());
  std::vector<const char*> seen;
  const auto walk = [&](Index steps) {
    FetchAhead::Lines lines = ahead.take(steps, x.data());
    for (Index k = 0; k < steps; ++k, lines.next()) seen.push_back(lines.line);
  };
  for (const Index steps : {3, 2, 5, 4, 1, 6, 1}) walk(steps);
  std::vector<const char*> expected;
  for (Index line = 0; line < 3; ++line)
    for (Index row = 0; row < 5; ++row) expected.push_back(first + row * 400 + line * 64);
  for (Index line = 0; line < 7; ++line) expected.push_back(second + line * 64);
  CHECK(seen == expected);
  CHECK(ahead.empty());
  CHECK(ahead.take(4, y.data()).line == second);  // nothing is left
  CHECK(ahead.take(4, y.data()).step == 0);
}

TEST_CASE("fetch ahead: more steps than rows go on below the last one", "[fetch_ahead]") {
  const std::vector<float> x(800);
  const char* first = reinterpret_cast<const char*>(x.data());
  FetchAhead ahead;
  ahead.add(x.data(), 100, 3, 17);  // two lines a row
  for (Index line = 0; line < 2; ++line) {
    REQUIRE_FALSE(ahead.empty());
    FetchAhead::Lines lines = ahead.take(5, x.data());
    for (Index row = 0; row < 5; ++row, lines.next()) CHECK(lines.line == first + row * 400 + line * 64);
  }
  CHECK(ahead.empty());
}

TEST_CASE("fetch ahead: a walk takes a line a step", "[fetch_ahead]") {
  const std::vector<float> x(600);
  kernels::FetchingWalk<kernels::NeighbouringRows<float>> walk{{x.data(), 7}, {reinterpret_cast<const char*>(x.data()), 64}};
  for (int k = 0; k < 6; k += 2, walk.next()) {
    CHECK(walk.at<0>(2) == x.data() + 7 * k + 2);
    CHECK(walk.at<1>(2) == x.data() + 7 * (k + 1) + 2);
    CHECK(walk.lines.line == reinterpret_cast<const char*>(x.data()) + 64 * k);
  }
}

TEST_CASE("fetch ahead: it pays beyond 2 MB", "[fetch_ahead]") {
  CHECK_FALSE(kernels::fetching_pays<float>(Index(1) << 19));
  CHECK(kernels::fetching_pays<float>((Index(1) << 19) + 1));
  CHECK(kernels::fetching_pays<double>((Index(1) << 18) + 1));
}

TEMPLATE_TEST_CASE("fetch ahead: a product with it has the same bits", "[fetch_ahead]", float, double) {
  using T = TestType;
  const Index rows = 45, cols = 70, depth = 19, width = kernels::panel_width<T>();
  const auto a = reference::random_tensor<T, 1>({rows * depth}, 1), b = reference::random_tensor<T, 1>({depth * (cols + width)}, 2);
  for (const bool transposed : {false, true}) {
    Tensor<T, 1> plain({rows * cols}), fetching({rows * cols});
    kernels::TileProduct<T> product{.rows = rows,
        .cols = cols,
        .depth = depth,
        .a = a.data(),
        .a_row = transposed ? 1 : depth,
        .a_step = transposed ? rows : 1,
        .b = b.data(),
        .b_row = cols,
        .b_panel = width,
        .c = plain.data(),
        .c_row = cols};
    kernels::multiply_tiles(product);
    product.c = fetching.data();
    FetchAhead ahead, nothing;
    ahead.add(b.data(), cols + 1, 20, 40);
    kernels::multiply_tiles(product, &ahead);
    CHECK(std::memcmp(plain.data(), fetching.data(), static_cast<std::size_t>(rows * cols) * sizeof(T)) == 0);
    fetching.fill(T(7));
    kernels::multiply_tiles(product, &nothing);
    CHECK(std::memcmp(plain.data(), fetching.data(), static_cast<std::size_t>(rows * cols) * sizeof(T)) == 0);
  }
}
