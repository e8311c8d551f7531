// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/sum_squares.hpp>

using namespace heed;

TEMPLATE_TEST_CASE("sum_squares against the plain sum", "", float, double) {
  using T = TestType;
  for (Index count : {0, 1, 2, 7, 8, 9, 15, 16, 17, 100, 1001}) {
    INFO(count << " elements");
    auto x = reference::random_tensor<T, 1>({count + 1}, 5);
    x[count] = T(1000);  // behind the end
    long double sum = 0;
    for (Index i = 0; i < count; ++i) sum += static_cast<long double>(x[i]) * static_cast<long double>(x[i]);
    CHECK(kernels::sum_squares(count, x.data()) == Approx(static_cast<double>(sum)).epsilon(1e-14));
  }
}

TEST_CASE("large floats do not overflow") {
  const float x[] = {1e30f, 1e30f};
  CHECK(kernels::sum_squares(2, x) == Approx(2e60).epsilon(1e-6));
}
