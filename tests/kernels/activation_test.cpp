// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/activation_reference.hpp"
#include "reference/random_tensor.hpp"

#include <limits>

#include <heed/core/dual.hpp>
#include <heed/kernels/activation.hpp>

using namespace heed;
using reference::same_bits;

namespace {

using Function = long double (*)(long double);

/// The largest error of value and derivative over 40001 points of [-range, range], in units of 1 for |value| < 1, else relative.
template <class Activation, class T>
double largest_error(Function f, Function derivative, double range, const Activation& activation) {
  constexpr Index count = 40001;
  Tensor<T, 1> x({count}), y({count}), dx({count}), dy({count});
  for (Index i = 0; i < count; ++i) x[i] = T(range * (2.0 * static_cast<double>(i) / (count - 1) - 1));
  dy.fill(T(1));
  kernels::activation_forward(count, x.data(), y.data(), activation);
  kernels::activation_backward(count, x.data(), dy.data(), dx.data(), activation);
  double worst = 0;
  for (Index i = 0; i < count; ++i) {
    const long double fy = f(x[i]), fd = derivative(x[i]);
    const double error = static_cast<double>(std::abs(y[i] - fy) / std::max(1.0L, std::abs(fy)));
    const double d_error = static_cast<double>(std::abs(dx[i] - fd) / std::max(1.0L, std::abs(fd)));
    worst = std::max({worst, std::isnan(error) ? HUGE_VAL : error, std::isnan(d_error) ? HUGE_VAL : d_error});
  }
  return worst;
}

/// float: some units in the last place of numbers near 1 (6e-8 each); double the same, of 1.1e-16.
template <class Activation>
void check_values(Function f, Function derivative, const Activation& activation = {}) {
  for (double range : {1e-3, 1.0, 6.0, 20.0, 300.0}) {
    const double in_float = largest_error<Activation, float>(f, derivative, range, activation);
    const double in_double = largest_error<Activation, double>(f, derivative, range, activation);
    INFO("range " << range << ": " << in_float << " in float, " << in_double << " in double");
    CHECK(in_float < 3e-7);
    CHECK(in_double < 1e-15);
  }
}

template <class Activation, class T>
void check_places() {
  // Each element alone gives the bits that it has among others, whatever its place in a vector, and in place.
  for (Index count : {1, 2, 7, 8, 15, 16, 17, 31, 33, 100, 16384 + 3}) {
    const auto x = reference::random_tensor<T, 1>({count}, 3, -5, 5), dy = reference::random_tensor<T, 1>({count}, 4);
    Tensor<T, 1> y({count}), dx({count});
    kernels::activation_forward(count, x.data(), y.data(), Activation());
    kernels::activation_backward(count, x.data(), dy.data(), dx.data(), Activation());
    for (Index i = 0; i < count; i += std::max<Index>(1, count / 50)) {
      T one, d_one;
      kernels::activation_forward(1, &x[i], &one, Activation());
      kernels::activation_backward(1, &x[i], &dy[i], &d_one, Activation());
      REQUIRE(one == y[i]);
      REQUIRE(d_one == dx[i]);
    }
    auto in_place = x, d_in_place = dy;
    kernels::activation_backward(count, in_place.data(), d_in_place.data(), d_in_place.data(), Activation());
    kernels::activation_forward(count, in_place.data(), in_place.data(), Activation());
    CHECK(same_bits(in_place, y));
    CHECK(same_bits(d_in_place, dx));
  }
}

}  // namespace

TEST_CASE("activations and their derivatives against the formulas in long double") {
  check_values<kernels::Relu>(reference::relu, reference::relu_derivative);
  check_values<kernels::Gelu>(reference::gelu, reference::gelu_derivative);
  check_values<kernels::GeluTanh>(reference::gelu_tanh, reference::gelu_tanh_derivative);
  using Number = long double;
  for (double alpha : {1.0, 1.7, -0.5, 0.0}) {
    INFO(alpha);
    static Number a;
    a = alpha;
    const Function silu = [](Number x) { return reference::silu(x, a); },
                   d_silu = [](Number x) { return reference::silu_derivative(x, a); };
    const Function elu = [](Number x) { return reference::elu(x, a); }, d_elu = [](Number x) { return reference::elu_derivative(x, a); };
    const auto leaky = [](Number x) { return reference::leaky_relu(x, a); };
    const auto d_leaky = [](Number x) { return reference::leaky_relu_derivative(x, a); };
    check_values<kernels::Silu>(silu, d_silu, {alpha});
    check_values<kernels::Elu>(elu, d_elu, {alpha});
    check_values<kernels::LeakyRelu>(leaky, d_leaky, {alpha});
  }
  check_values<kernels::Sigmoid>(reference::sigmoid, reference::sigmoid_derivative);
  check_values<kernels::Tanh>(reference::tanh, reference::tanh_derivative);
}

TEST_CASE("at its kink the rectifier of dual numbers has the derivative of the backward pass") {
  Tensor<Dual<1>, 1> x({1}), y({1});
  x[0].value = 0, x[0].tangent[0] = 3;
  kernels::activation_forward(1, x.data(), y.data(), kernels::Relu());
  CHECK(y[0].value == 0);
  CHECK(y[0].tangent[0] == 0);
  const double at = 0, dy = 1;
  double dx = 7;
  kernels::activation_backward(1, &at, &dy, &dx, kernels::Relu());
  CHECK(dx == 0);
}

TEST_CASE("an element's bits do not depend on its place") {
  check_places<kernels::Relu, float>();
  check_places<kernels::Gelu, float>();
  check_places<kernels::GeluTanh, float>();
  check_places<kernels::Silu, float>();
  check_places<kernels::Elu, float>();
  check_places<kernels::LeakyRelu, float>();
  check_places<kernels::Sigmoid, float>();
  check_places<kernels::Tanh, double>();
  check_places<kernels::Gelu, double>();
  check_places<kernels::Silu, double>();
}

TEST_CASE("the lower tail of GELU in float keeps its relative accuracy") {
  for (float x = -5; x < -1; x += 0.01f) {
    float y;
    kernels::activation_forward(1, &x, &y, kernels::Gelu());
    // The exponent x²/2 <= 12.5 is rounded to 6e-8 of itself.
    CHECK(std::abs(static_cast<double>(y / reference::gelu(x)) - 1) < 2e-6);
  }
}

TEST_CASE("kinks, NaN and infinity") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const float x[] = {0.0f, -0.0f, nan, infinity, -infinity, 1e30f, -1e30f}, dy[] = {1, 1, 1, 1, 1, 1, 1};
  float y[7], dx[7];
  kernels::activation_forward(7, x, y, kernels::Relu());
  kernels::activation_backward(7, x, dy, dx, kernels::Relu());
  CHECK(y[0] == 0);
  CHECK(y[1] == 0);
  CHECK(std::isnan(y[2]));
  CHECK(y[3] == infinity);
  CHECK(y[4] == 0);
  CHECK(dx[0] == 0);  // the rule: ReLU'(0) = 0
  CHECK(dx[1] == 0);
  CHECK(dx[3] == 1);
  kernels::activation_forward(7, x, y, kernels::Gelu());
  CHECK(y[0] == 0);
  CHECK(std::isnan(y[2]));
  CHECK(y[3] == infinity);
  CHECK(y[5] == 1e30f);
  CHECK(y[6] == 0);
  kernels::activation_forward(7, x, y, kernels::GeluTanh());
  CHECK(std::isnan(y[2]));
  CHECK(y[3] == infinity);
  kernels::activation_forward(7, x, y, kernels::Silu());
  CHECK(std::isnan(y[2]));
  CHECK(y[3] == infinity);
  CHECK(y[5] == 1e30f);
  CHECK(y[6] == 0);
  kernels::activation_forward(7, x, y, kernels::LeakyRelu{0.5});
  kernels::activation_backward(7, x, dy, dx, kernels::LeakyRelu{0.5});
  CHECK(y[0] == 0);
  CHECK(dx[0] == 0.5f);  // the rule: the piece below 0 counts
  CHECK(dx[1] == 0.5f);
  CHECK(std::isnan(y[2]));
  CHECK((y[3] == infinity && dx[3] == 1));
  CHECK((y[4] == -infinity && dx[4] == 0.5f));
  kernels::activation_forward(7, x, y, kernels::Elu{0.5});
  kernels::activation_backward(7, x, dy, dx, kernels::Elu{0.5});
  CHECK(y[0] == 0);
  CHECK(dx[0] == 0.5f);
  CHECK(dx[1] == 0.5f);
  CHECK((std::isnan(y[2]) && std::isnan(dx[2])));
  CHECK((y[3] == infinity && dx[3] == 1));
  CHECK((y[4] == -0.5f && dx[4] == 0));
  CHECK((y[6] == -0.5f && dx[6] == 0));
  kernels::activation_forward(7, x, y, kernels::Sigmoid{});
  kernels::activation_backward(7, x, dy, dx, kernels::Sigmoid{});
  CHECK((y[0] == 0.5f && dx[0] == 0.25f));
  for (int i : {3, 5}) CHECK((y[i] == 1 && dx[i] == 0));
  for (int i : {4, 6}) CHECK((y[i] == 0 && dx[i] == 0));
  kernels::activation_forward(7, x, y, kernels::Tanh{});
  kernels::activation_backward(7, x, dy, dx, kernels::Tanh{});
  CHECK((y[0] == 0 && dx[0] == 1));
  for (int i : {3, 5}) CHECK((y[i] == 1 && dx[i] == 0));
  for (int i : {4, 6}) CHECK((y[i] == -1 && dx[i] == 0));
  kernels::activation_forward(7, x, y, kernels::Silu{-2});  // falls to 0 on the other side
  kernels::activation_backward(7, x, dy, dx, kernels::Silu{-2});
  CHECK((y[3] == 0 && dx[3] == 0));
  CHECK((y[4] == -infinity && dx[4] == 1));
}

TEMPLATE_TEST_CASE("sigmoid, tanh and ELU keep their digits where they are small", "", float, double) {
  const double units = std::numeric_limits<TestType>::epsilon();
  for (double size : {1e-30, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 5.0, 30.0, 80.0}) {
    const auto x = static_cast<TestType>(-size);
    const long double exact = x;
    TestType y, dx;
    const TestType dy = 1;
    INFO(size);
    kernels::activation_forward(1, &x, &y, kernels::Sigmoid()), kernels::activation_backward(1, &x, &dy, &dx, kernels::Sigmoid());
    CHECK(std::abs(static_cast<double>(y / reference::sigmoid(exact)) - 1) < 4 * units);
    CHECK(std::abs(static_cast<double>(dx / reference::sigmoid_derivative(exact)) - 1) < 8 * units);
    kernels::activation_forward(1, &x, &y, kernels::Tanh());
    CHECK(std::abs(static_cast<double>(y / reference::tanh(exact)) - 1) < 4 * units);
    if (size <= 30) kernels::activation_backward(1, &x, &dy, &dx, kernels::Tanh());
    if (size <= 30) CHECK(std::abs(static_cast<double>(dx / reference::tanh_derivative(exact)) - 1) < 8 * units);
    kernels::activation_forward(1, &x, &y, kernels::Elu());
    CHECK(std::abs(static_cast<double>(y / reference::elu(exact, 1)) - 1) < 4 * units);
  }
}

namespace {

template <class Activation, class T>
void check_far_out() {
  const T largest = std::numeric_limits<T>::max(), infinity = std::numeric_limits<T>::infinity();
  for (const T far : {T(90), T(200), T(1e4), T(1e19), T(1e20), T(1e37), largest, infinity}) {
    INFO(far);
    // In every place of a vector, and on the way of the rest of a row.
    for (Index count : {1, 16, 19}) {
      Tensor<T, 1> x({count}), y({count}), dy({count}), dx({count});
      dy.fill(T(1));
      x.fill(far);
      kernels::activation_forward(count, x.data(), y.data(), Activation());
      kernels::activation_backward(count, x.data(), dy.data(), dx.data(), Activation());
      for (Index i = 0; i < count; ++i) REQUIRE((y[i] == far && dx[i] == 1));
      x.fill(-far);
      kernels::activation_forward(count, x.data(), y.data(), Activation());
      kernels::activation_backward(count, x.data(), dy.data(), dx.data(), Activation());
      const double rounding = far < T(700) ? 1e-35 : 0;  // 90 e^-90 = 7e-38
      for (Index i = 0; i < count; ++i) REQUIRE((std::abs(double(y[i])) <= rounding && std::abs(double(dx[i])) <= rounding));
    }
  }
}

}  // namespace

TEMPLATE_TEST_CASE("far from zero activations and derivatives are those of 0, x or 1", "", float, double) {
  check_far_out<kernels::Relu, TestType>();
  check_far_out<kernels::Gelu, TestType>();
  check_far_out<kernels::GeluTanh, TestType>();
  check_far_out<kernels::Silu, TestType>();
}

namespace {

template <class Activation, class T>
void check_nan(const Activation& activation, T) {
  const T x = std::numeric_limits<T>::quiet_NaN(), dy = 1;
  T y, dx;
  kernels::activation_forward(1, &x, &y, activation), kernels::activation_backward(1, &x, &dy, &dx, activation);
  CHECK((std::isnan(y) && std::isnan(dx)));
}

}  // namespace

TEMPLATE_TEST_CASE("NaN goes through the smooth activations and their derivatives", "", float, double) {
  const TestType type = 0;
  check_nan(kernels::Gelu{}, type), check_nan(kernels::GeluTanh{}, type), check_nan(kernels::Sigmoid{}, type);
  check_nan(kernels::Tanh{}, type), check_nan(kernels::Silu{}, type), check_nan(kernels::Silu{-2}, type);
  check_nan(kernels::Elu{}, type);
}
