// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/compose/any_layer.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/layers/linear.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

namespace {
auto three_layers() { return Sequential(Linear<double>({3, 5}), Linear<double>({5, 4}), Linear<double>({4, 2})); }
}  // namespace

TEST_CASE("AnyLayer holds any layer as a value") {
  const AnyLayer<double, 2> any(three_layers());
  AnyLayer<double, 2> copy = any;
  named_parameters(copy)[0].parameter->value()[0] += 1;  // the copy is deep
  Tensor<double, 2> x({2, 3});
  x.fill(1);
  REQUIRE(any.forward(x)[0] != copy.forward(x)[0]);
  REQUIRE(any.get<decltype(three_layers())>() != nullptr);
  REQUIRE(any.get<Linear<double>>() == nullptr);

  AnyLayer<double, 2>::Cache empty;
  REQUIRE_THROWS_WITH(copy.backward(x, empty), contains("backward needs a cache"));
  REQUIRE_THROWS_AS(any.output_shape({1, 2, 3}), ShapeError);

  const auto base = three_layers();
  const auto report =
      check_gradients(AnyLayer<double, 2>(base), AnyLayer<CertificateDual, 2>(base.rebind<CertificateDual>()), std::array{x});
  INFO(report.to_string());
  REQUIRE(report.passed());
}
