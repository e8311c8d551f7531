// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <limits>

#include <heed/kernels/row_exponentials.hpp>

using namespace heed;
using reference::random_tensor;

namespace {

template <class T>
void check(Index width, double spread) {
  INFO(width << " numbers, spread " << spread);
  auto x = random_tensor<T, 1>({width + 1}, 1, -spread, spread);
  x[width] = T(2 * spread);  // behind the row
  Tensor<T, 1> y({width + 1});
  y[width] = T(-7);
  const auto r = kernels::row_exponentials<T>(width, x.data(), 3.0, y.data());
  const auto alone = kernels::row_exponentials<T>(width, x.data(), 3.0, nullptr);
  CHECK((alone.largest == r.largest && alone.sum == r.sum));

  const T largest = *std::max_element(x.data(), x.data() + width);
  long double sum = 0;
  for (Index i = 0; i < width; ++i) sum += std::exp(static_cast<long double>(x[i]) - largest);
  CHECK(r.largest == static_cast<double>(largest));
  CHECK(static_cast<double>(std::abs(r.sum - sum) / sum) < 1e-14);  // in double, for float too
  for (Index i = 0; i < width; ++i) {
    const long double expected = 3 * std::exp(static_cast<long double>(x[i]) - largest) / sum;
    // Roundings of the exponential, the factor and the product; in double those of x - largest and of the sum, too.
    const double roundings = 3 + (sizeof(T) == 8 ? std::abs(static_cast<double>(x[i] - largest)) + 10 : 0.0);
    REQUIRE(static_cast<double>(std::abs(y[i] - expected)) <=
            roundings * std::numeric_limits<T>::epsilon() * static_cast<double>(expected) + 1e-37);
  }
  CHECK(y[width] == T(-7));
}

}  // namespace

TEST_CASE("exponentials of rows of any length, and their sum in double") {
  for (Index width : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 33, 100, 1000})
    for (double spread : {0.5, 20.0}) {
      check<float>(width, spread);
      check<double>(width, spread);
    }
}

TEST_CASE("exponentials of rows with infinities and NaN") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (Index width : {2, 9, 20})
    for (Index at : {Index{0}, width - 1}) {
      auto x = random_tensor<float, 1>({width}, 1);
      Tensor<float, 1> y({width});
      x[at] = -kInfinity;  // a class that is ruled out
      const auto r = kernels::row_exponentials<float>(width, x.data(), 1.0, y.data());
      CHECK((std::isfinite(r.sum) && y[at] == 0));
      x[at] = std::numeric_limits<float>::quiet_NaN();
      CHECK(std::isnan(kernels::row_exponentials<float>(width, x.data(), 1.0, y.data()).sum));
    }
}
