// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <optional>

#include <heed/compose/sequential.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/relu.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

namespace {
auto three_layers() { return Sequential(Linear<double>({3, 5}), named("middle", Linear<double>({5, 4})), Linear<double>({4, 2})); }
}  // namespace

TEST_CASE("Sequential runs its layers in order") {
  const auto model = three_layers();
  Tensor<double, 2> x({4, 3});
  for (Index i = 0; i < x.size(); ++i) x[i] = 0.1 * static_cast<double>(i);
  const auto a = model.get<0>().forward(x);
  const auto b = model.get<1>().forward(a);
  const auto expected = model.get<2>().forward(b);
  const auto y = model.forward(x);
  REQUIRE(y.shape() == Shape{4, 2});
  REQUIRE(model.output_shape(x.shape()) == Shape{4, 2});
  for (Index i = 0; i < y.size(); ++i) REQUIRE(y[i] == expected[i]);
}

TEST_CASE("Sequential names its children, and names reach parameters and errors") {
  auto model = three_layers();
  std::string names;
  model.parameters([&](const std::string& name, Parameter<double>&) { names += name + ' '; });
  REQUIRE(names == "0.weight 0.bias middle.weight middle.bias 2.weight 2.bias ");

  Sequential wrong(Linear<double>({3, 5}), named("outer", Sequential(Linear<double>({4, 1}))));
  Tensor<double, 2> x({1, 3});
  try {
    wrong.forward(x);
    FAIL("shapes that do not fit must be refused");
  } catch (const ShapeError& error) {
    REQUIRE(std::string(error.what()) == "outer.0: Linear: input has 5 features, weight expects 4 (input 1x5, weight 1x4)");
  }
  REQUIRE(layer_path().empty());  // the scopes are closed again
}

TEST_CASE("Sequential has the gradients of its parts") {
  for (const Shape& shape : {Shape{1, 3}, Shape{7, 3}, Shape{2, 3, 3}}) {
    const auto report = check_gradients(three_layers(), shape);
    INFO(report.to_string());
    REQUIRE(report.passed());
  }
}

TEST_CASE("One model serves several passes, each with its own cache") {
  auto model = three_layers();
  using Model = decltype(model);
  Tensor<double, 2> x1({2, 3}), x2({5, 3});
  x1.fill(0.5), x2.fill(-0.25);
  Model::Cache first, second;
  const auto y1 = model.forward(x1, first);
  const auto y2 = model.forward(x2, second);
  const auto d1 = model.backward(y1, first);
  const auto d2 = model.backward(y2, second);
  auto fresh = model;
  Model::Cache alone;
  const auto y = fresh.forward(x1, alone);
  const auto d = fresh.backward(y, alone);
  for (Index i = 0; i < d.size(); ++i) REQUIRE(d[i] == d1[i]);
  REQUIRE(d2.shape() == x2.shape());
}

TEST_CASE("Sequential's backward follows one forward") {
  auto model = three_layers();
  Tensor<double, 2> x({1, 3}), dy({1, 2});
  decltype(model)::Cache cache;
  REQUIRE_THROWS_WITH(model.backward(dy, cache), contains("Sequential: backward follows one forward(x, cache)"));
  model.forward(x, cache);
  REQUIRE_NOTHROW(model.backward(dy, cache));
  REQUIRE_THROWS_WITH(model.backward(dy, cache), contains("has been used already"));
  model.forward(x, cache);
  REQUIRE_THROWS(model.forward(dy, cache));  // does not fit
  REQUIRE_THROWS_WITH(model.backward(dy, cache), contains("Sequential: backward follows one forward(x, cache)"));
}

TEST_CASE("Sequential refuses names that files could not tell apart") {
  const auto pair = [](const char* first, const char* second) {
    return Sequential(named(first, Relu<float>()), named(second, Relu<float>()));
  };
  REQUIRE_NOTHROW(pair("a", "b"));
  REQUIRE_THROWS_WITH(pair("a", "b.c"), contains("Sequential: layer 1 is named \"b.c\"; a name must not be empty and holds no dot"));
  REQUIRE_THROWS_WITH(pair("", "b"), contains("layer 0 is named \"\""));
  REQUIRE_THROWS_WITH(pair("a", "a"), contains("layers 0 and 1 are both named \"a\""));
  REQUIRE_THROWS_WITH(Sequential(named("1", Relu<float>()), Relu<float>()), contains("are both named \"1\""));
}

TEST_CASE("Sequential gives the memory between its layers back as soon as it was read") {
  using L = Relu<float>;
  Sequential model(L{}, L{}, L{}, L{}, L{}, L{}, L{}, L{}, L{}, L{});
  Tensor<float, 2> x({1 << 9, 1 << 9});
  x.fill(1);
  BufferPool& pool = BufferPool::instance();
  const auto from_system = [&](const auto& body) {
    pool.trim();
    const auto before = pool.from_system();
    body();
    return pool.from_system() - before;
  };
  REQUIRE(from_system([&] { model.forward(x); }) <= 2);
  decltype(model)::Cache cache;
  std::optional<Tensor<float, 2>> y;
  REQUIRE(from_system([&] { y = model.forward(x, cache); }) == 10);  // nine inputs that backward reads, and y
  REQUIRE(from_system([&] { model.backward(*y, cache); }) <= 1);     // the gradients take the place of what was read
  y.reset();
  const auto settled = pool.from_system();
  for (int step = 0; step < 3; ++step) model.backward(model.forward(x, cache), cache);
  REQUIRE(pool.from_system() == settled);
}
