// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/core/dual.hpp>
#include <heed/kernels/elementwise.hpp>

using namespace heed;
using reference::random_tensor;

namespace {

/// a² + b c, with a function object of the user's own.
struct SquarePlusProduct {
  template <class P>
  HEED_INLINE P operator()(const P& a, const P& b, const P& c) const {
    return P::fma(a, a, b * c);
  }
};

template <class T>
void check(Index count) {
  const auto a = random_tensor<T, 1>({count}, 1), b = random_tensor<T, 1>({count}, 2), c = random_tensor<T, 1>({count}, 3);
  Tensor<T, 1> sum({count}), product({count}), scaled({count}), mixed({count});
  kernels::elementwise(kernels::Add{}, count, sum.data(), a.data(), b.data());
  kernels::elementwise(kernels::Multiply{}, count, product.data(), a.data(), b.data());
  kernels::elementwise(kernels::Scale<T>{T(-3)}, count, scaled.data(), a.data());
  kernels::elementwise(SquarePlusProduct{}, count, mixed.data(), a.data(), b.data(), c.data());
  for (Index i = 0; i < count; ++i) {
    REQUIRE(sum[i] == a[i] + b[i]);
    REQUIRE(product[i] == a[i] * b[i]);
    REQUIRE(scaled[i] == T(-3) * a[i]);
    REQUIRE(mixed[i] == Approx(a[i] * a[i] + b[i] * c[i]).margin(1e-6));
  }
  Tensor<T, 1> copy({count});
  kernels::copy_elements(count, a.data(), copy.data());
  CHECK(reference::same_bits(copy, a));
  auto in_place = a;
  kernels::elementwise(kernels::Add{}, count, in_place.data(), in_place.data(), b.data());
  CHECK(reference::same_bits(in_place, sum));
}

}  // namespace

TEST_CASE("element by element, for any count and in place") {
  for (Index count : {0, 1, 3, 7, 8, 9, 15, 16, 17, 63, 1000, 16384, 16385, 40000}) {
    check<float>(count);
    check<double>(count);
  }
}

TEST_CASE("nothing is written past the end") {
  Tensor<float, 1> out({40}), in({40});
  out.fill(7);
  kernels::elementwise(kernels::Scale<float>{1.0f}, 21, out.data(), in.data());
  CHECK(out[20] == 0);
  for (Index i = 21; i < 40; ++i) CHECK(out[i] == 7);
}

TEST_CASE("one table for every sequence") {
  for (Index period : {1, 3, 16, 17, 1000, 20000})
    for (Index repeats : {1, 2, 5}) {
      const Index count = period * repeats;
      const auto x = random_tensor<float, 1>({count}, 1), table = random_tensor<float, 1>({period}, 2);
      Tensor<float, 1> y({count});
      kernels::elementwise_repeated(kernels::Multiply{}, count, period, y.data(), x.data(), table.data());
      for (Index i = 0; i < count; ++i) REQUIRE(y[i] == x[i] * table[i % period]);
    }
}

TEST_CASE("number-like types take the scalar path") {
  Tensor<Dual<2>, 1> a({3}), b({3}), y({3});
  for (Index i = 0; i < 3; ++i) a[i] = 2.0 + static_cast<double>(i), b[i] = 5.0;
  a[1].tangent[0] = 1;
  kernels::elementwise(kernels::Multiply{}, 3, y.data(), a.data(), b.data());
  CHECK(y[1].value == 15);
  CHECK(y[1].tangent[0] == 5);
}
