// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/core/parameter.hpp>

using namespace heed;

TEST_CASE("a parameter starts with zeros and without a gradient") {
  Parameter<float> p({2, 3});
  CHECK(p.shape() == Shape{2, 3});
  CHECK(p.size() == 6);
  CHECK_FALSE(p.empty());
  for (Index i = 0; i < 6; ++i) CHECK(p.value()[i] == 0);
  CHECK_FALSE(p.has_gradient());
  CHECK(std::as_const(p).gradient() == nullptr);
  p.zero_gradient();  // makes none either
  CHECK_FALSE(p.has_gradient());
  CHECK(Parameter<float>().empty());
}

TEST_CASE("the gradient comes at first use, adds up, and starts over") {
  Parameter<double> p({3});
  { Tensor<double, 1>({3}).fill(9); }  // memory of that size that is not zero
  p.gradient()[1] += 2;
  p.gradient()[1] += 3;
  CHECK(p.gradient()[0] == 0);
  CHECK(p.gradient()[1] == 5);
  CHECK(std::as_const(p).gradient() == p.gradient());
  p.zero_gradient();
  CHECK(p.has_gradient());
  CHECK(p.gradient()[1] == 0);
}

TEST_CASE("copies are deep, frozen or not") {
  Parameter<float> p({2});
  p.value()[0] = 4;
  p.gradient()[0] = 1;
  p.freeze();
  Parameter<float> q = p;
  CHECK(q.frozen());
  q.freeze(false);
  q.value()[0] = 5;
  q.gradient()[0] = 2;
  CHECK(p.frozen());
  CHECK(p.value()[0] == 4);
  CHECK(p.gradient()[0] == 1);
}

TEST_CASE("a frozen parameter hands out no gradient for kernels to add to, and makes none") {
  Parameter<float> p({2});
  p.freeze();
  CHECK(p.gradient_unless_frozen() == nullptr);
  CHECK_FALSE(p.has_gradient());
  p.freeze(false);
  CHECK(p.gradient_unless_frozen() == p.gradient());
  CHECK(Parameter<float>().gradient_unless_frozen() == nullptr);
}

TEST_CASE("a fixed parameter stays frozen, and so do its copies") {
  Parameter<float> p({2});
  CHECK_FALSE(p.fixed());
  p.fix();
  p.freeze(false);
  CHECK(p.fixed());
  CHECK(p.frozen());
  CHECK(p.gradient_unless_frozen() == nullptr);
  Parameter<float> q = p;
  q.freeze(false);
  CHECK(q.frozen());
}
