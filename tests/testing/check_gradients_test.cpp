// SPDX-License-Identifier: MIT
// A certificate that a planted bug passes is worth nothing: here are the bugs.
#include "catch.hpp"

#include <heed/core/layer.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

namespace {

enum class Bug {
  none,
  wrong_factor,
  small_factor,
  adds_to_frozen,
  transposed,
  forgets_to_add,
  adds_to_input_gradient,
  value_differs,
  nan,
  inference_differs,
  empty_dx,
  long_dx,
  turned_dx,
  shrinking_dx
};

/// y[i] = w[i] x[i] x[0] on (rows, 3): not linear, so that mistakes show.
template <class T>
class Planted : public LayerBase<Planted<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 2;
  struct Cache {
    TensorView<const T, 2> x;
  };

  explicit Planted(Bug bug) : bug_(bug), weight_({3}) {
    if (bug_ == Bug::adds_to_frozen) weight_.freeze();
    for (Index i = 0; i < 3; ++i) weight_.value()[i] = T(0.5 + static_cast<double>(i));
  }
  Shape output_shape(const Shape& in) const { return in; }
  Tensor<T, 2> forward(const TensorView<const T, 2>& x) const {
    Tensor<T, 2> y(x.shape());
    for (Index r = 0; r < x.rows(); ++r)
      for (Index i = 0; i < 3; ++i) y(r, i) = weight_.value()[i] * x(r, i) * x(r, 0);
    if (bug_ == Bug::inference_differs && std::is_same_v<T, double>) y[1] += T(1e-6);
    return y;
  }
  Tensor<T, 2> forward(const TensorView<const T, 2>& x, Cache& cache) const {
    cache.x = x;
    auto y = forward(x);
    if (bug_ == Bug::inference_differs && std::is_same_v<T, double>) y[1] -= T(1e-6);
    if (bug_ == Bug::value_differs && std::is_same_v<T, double>) y[1] += T(1e-9);
    return y;
  }
  Tensor<T, 2> backward(const TensorView<const T, 2>& dy, Cache& cache) {
    const auto& x = cache.x;
    Tensor<T, 2> dx(x.shape());
    if (bug_ == Bug::adds_to_input_gradient && last_dx_.shape() == dx.shape()) dx = last_dx_;
    const T factor = bug_ == Bug::wrong_factor ? T(1.001) : bug_ == Bug::small_factor ? T(1 + 1e-8) : T(1);
    for (Index i = 0; i < 3 && bug_ == Bug::forgets_to_add; ++i) weight_.gradient()[i] = T(0);
    for (Index r = 0; r < x.rows(); ++r)
      for (Index i = 0; i < 3; ++i) {
        const Index w = bug_ == Bug::transposed ? (i + 1) % 3 : i;
        weight_.gradient()[i] += dy(r, i) * x(r, i) * x(r, 0);
        dx(r, i) += factor * dy(r, i) * weight_.value()[w] * x(r, 0);
        dx(r, 0) += dy(r, i) * weight_.value()[i] * x(r, i);
      }
    if (bug_ == Bug::nan) dx(0, 2) = T(std::nan(""));
    const bool again = !last_dx_.empty();
    last_dx_ = dx;
    if (bug_ == Bug::empty_dx || (bug_ == Bug::shrinking_dx && again)) dx.resize({0, 3});
    if (bug_ == Bug::long_dx) dx.resize({x.rows() + 100, 3});
    if (bug_ == Bug::turned_dx) dx.resize({3, x.rows()});
    return dx;
  }
  template <class U>
  Planted<U> rebind() const {
    return this->template rebound<Planted<U>>(bug_);
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Planted");
    visitor.parameter("weight", self.weight_);
  }

 private:
  Bug bug_;
  Parameter<T> weight_;
  Tensor<T, 2> last_dx_;
};

/// y = a b, whose gradient of a is wrong where b is not zero.
template <class T>
class Product : public LayerBase<Product<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 2;
  struct Cache {
    TensorView<const T, 2> a, b;
  };

  Shape output_shape(const Shape& a, const Shape&) const { return a; }
  Tensor<T, 2> forward(const TensorView<const T, 2>& a, const TensorView<const T, 2>& b) const { return times(a, b, T(1)); }
  Tensor<T, 2> forward(const TensorView<const T, 2>& a, const TensorView<const T, 2>& b, Cache& cache) const {
    cache.a = a, cache.b = b;
    return forward(a, b);
  }
  std::pair<Tensor<T, 2>, Tensor<T, 2>> backward(const TensorView<const T, 2>& dy, Cache& cache) {
    return {times(dy, cache.b, T(1.001)), times(dy, cache.a, T(1))};
  }
  template <class U>
  Product<U> rebind() const {
    return {};
  }
  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("Product");
  }

 private:
  static Tensor<T, 2> times(const TensorView<const T, 2>& a, const TensorView<const T, 2>& b, const T& factor) {
    Tensor<T, 2> y(a.shape());
    for (Index i = 0; i < y.size(); ++i) y[i] = a.data()[i] * b.data()[i] * factor;
    return y;
  }
};

GradientReport report_of(Bug bug) { return check_gradients(Planted<double>(bug), Shape{2, 3}); }

}  // namespace

TEST_CASE("A right layer passes") {
  const auto report = report_of(Bug::none);
  INFO(report.to_string());
  REQUIRE(report.passed());
  REQUIRE(report.checked == 6 + 6 + 6 + 3);  // y twice, x, weight
  REQUIRE(report.layer == "Planted");
  const auto exact =
      check_gradients(heed::Flatten<double, 3>(), Shape{2, 3, 2});  // nothing is off by anything, and the report still names an entry
  REQUIRE((exact.passed() && exact.worst.error == 0));
  REQUIRE_FALSE(exact.worst.name.empty());
  const auto more = check_gradients(Planted<double>(Bug::none), Shape{7, 3});  // more entries than one pass seeds
  INFO(more.to_string());
  REQUIRE(more.passed());
  REQUIRE(more.checked == 21 + 21 + 21 + 3);
}

TEST_CASE("A report names every rule that is broken") {
  GradientReport report;
  report.broken_rules = {"the first", "the second"};
  REQUIRE_THAT(report.to_string(), contains("the first") && contains("the second"));
}

TEST_CASE("Wrong gradients are found, and the entry is named") {
  const auto factor = report_of(Bug::wrong_factor);
  REQUIRE_FALSE(factor.passed());
  REQUIRE(factor.to_string().find("x(0,0): given") != std::string::npos);
  REQUIRE_FALSE(report_of(Bug::transposed).passed());
  const auto nan = report_of(Bug::nan);
  REQUIRE_FALSE(nan.passed());
  REQUIRE(nan.worst.name == "x(0,2)");
}

TEST_CASE("Each of two inputs is drawn") {
  const auto report = check_gradients(Product<double>(), std::array{Shape{2, 3}, Shape{2, 3}});
  INFO(report.to_string());
  REQUIRE(report.failed == 6);  // of a
}

TEST_CASE("The gradient rule is part of the certificate") {
  const auto forgets = report_of(Bug::forgets_to_add);
  REQUIRE_FALSE(forgets.passed());
  REQUIRE(forgets.to_string().find("after a second backward, weight(0)") != std::string::npos);
  const auto adds = report_of(Bug::adds_to_input_gradient);
  REQUIRE_FALSE(adds.passed());
  REQUIRE(adds.to_string().find("after a second backward, x(0,0)") != std::string::npos);
}

TEST_CASE("Values must agree in both passes") {
  REQUIRE_FALSE(report_of(Bug::value_differs).passed());
  REQUIRE(check_gradients(Planted<double>(Bug::value_differs), Shape{2, 3}, {.value_tolerance = 1e-7}).passed());  // of the largest value
  const auto inference = report_of(Bug::inference_differs);
  REQUIRE_FALSE(inference.passed());
  REQUIRE(inference.worst.name == "inference y(0,1)");
  REQUIRE(check_gradients(Planted<double>(Bug::inference_differs), Shape{2, 3}, {.value_tolerance = 1e-3}).passed());
}

TEST_CASE("The gradient of an input has the shape of the input") {
  for (Bug bug : {Bug::empty_dx, Bug::long_dx, Bug::turned_dx}) {
    const auto report = report_of(bug);
    INFO(report.to_string());
    REQUIRE_FALSE(report.passed());
    const std::string found = bug == Bug::empty_dx ? "0x3" : bug == Bug::long_dx ? "102x3" : "3x2";
    REQUIRE(report.to_string().find("the gradient of x is " + found + ", x is 2x3") != std::string::npos);
    REQUIRE(report.failed == 0);  // the others are right
  }
  REQUIRE_FALSE(report_of(Bug::shrinking_dx).passed());
}

TEST_CASE("A layer may leave out the gradient of its input where the caller says so") {
  const auto without = check_gradients(Planted<double>(Bug::empty_dx), Shape{2, 3}, {.input_gradient = false});
  INFO(without.to_string());
  REQUIRE(without.passed());
  REQUIRE(without.checked == 6 + 6 + 3);
  const auto with = check_gradients(Planted<double>(Bug::none), Shape{2, 3}, {.input_gradient = false});
  REQUIRE_FALSE(with.passed());
  REQUIRE(with.to_string().find("the gradient of x is 2x3, the option input_gradient = false says empty") != std::string::npos);
}

TEST_CASE("By default a gradient may be off by little more than rounding") {
  REQUIRE_FALSE(report_of(Bug::small_factor).passed());
  REQUIRE(check_gradients(Planted<double>(Bug::small_factor), Shape{2, 3}, {.gradient_tolerance = 1e-7}).passed());
}

TEST_CASE("A layer that adds to the gradient of a frozen parameter breaks the rule") {
  const auto report = report_of(Bug::adds_to_frozen);
  REQUIRE_FALSE(report.passed());
  REQUIRE(report.to_string().find("after a second backward, weight(0)") != std::string::npos);
}
