// SPDX-License-Identifier: MIT
#include <algorithm>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "count_allocations.hpp"

#include <heed/compose/predictor.hpp>
#include <heed/layers/relu.hpp>

#include "train/small_net.hpp"

using namespace heed;

namespace {
Tensor<float, 4> images(Index n, float first) {
  Tensor<float, 4> x({n, 8, 8, 3});
  for (Index i = 0; i < x.size(); ++i) x[i] = first + static_cast<float>(i % 13) * 0.1f;
  return x;
}
bool equal(const TensorView<const float, 2>& a, const TensorView<const float, 2>& b) {
  return a.shape() == b.shape() && std::equal(a.span().begin(), a.span().end(), b.span().begin());
}
}  // namespace

TEST_CASE("predict gives the bits of forward") {
  const auto model = small_net();
  const AnyLayer<float, 4, 2> erased{small_net()};
  const auto x = images(5, -0.6f);
  for (const int threads : {0, 1, 2, 3}) {
    Predictor predictor(model, x.shape(), threads);
    Predictor other(erased, x.shape(), threads);
    REQUIRE(predictor.input_shape() == x.shape());
    REQUIRE(predictor.output_shape() == Shape{5, 4});
    Tensor<float, 2> y(predictor.output_shape());
    REQUIRE(predictor.predict(x, y.view()));
    REQUIRE(equal(y, model.forward(x)));
    REQUIRE(other.predict(x, y.view()));
    REQUIRE(equal(y, erased.forward(x)));
  }
}

TEST_CASE("predict sees weights that change") {
  auto model = small_net();
  const auto x = images(2, 0);
  Predictor predictor(model, x.shape());
  Tensor<float, 2> y(predictor.output_shape());
  model.parameters([](const std::string&, Parameter<float>& p) { std::fill_n(p.value(), p.size(), 0.01f); });
  REQUIRE(predictor.predict(x, y.view()));
  REQUIRE(equal(y, model.forward(x)));
}

TEST_CASE("predict refuses other shapes and leaves y alone") {
  const auto model = small_net();
  Predictor predictor(model, {2, 8, 8, 3});
  Tensor<float, 2> y({2, 4}), other({3, 4});
  y.fill(7), other.fill(7);
  REQUIRE_FALSE(predictor.predict(images(3, 0), other.view()));
  REQUIRE_FALSE(predictor.predict(images(2, 0), other.view()));
  REQUIRE_FALSE(predictor.predict(images(1, 0), y.view()));
  REQUIRE(std::all_of(y.span().begin(), y.span().end(), [](float v) { return v == 7; }));
  REQUIRE(std::all_of(other.span().begin(), other.span().end(), [](float v) { return v == 7; }));
  REQUIRE_THROWS_AS(Predictor(model, {2, 8, 8, 4}), ShapeError);
}

TEST_CASE("a layer of any rank is given one") {
  const Relu<float> relu;
  Predictor<Relu<float>, 2> predictor(relu, {2, 3});
  Tensor<float, 2> x({2, 3}), y({2, 3});
  x.fill(-1), y.fill(7);
  const TensorView<float, 2> to = y.view();
  static_assert(noexcept(predictor.predict(to, to)));
  REQUIRE(predictor.predict(x, y.view()));
  REQUIRE(y[0] == 0);
}

TEST_CASE("many threads predict with one model, in a caller's parallel region, too") {
  const auto model = small_net();
  const auto x = images(4, 0.2f);
  const auto expected = model.forward(x);
  std::vector<int> right(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < right.size(); ++t)
    threads.emplace_back([&, t] {
      Predictor predictor(model, x.shape(), 2);
      Tensor<float, 2> y(predictor.output_shape());
      for (int i = 0; i < 20; ++i) {
        y.fill(7);
        right[t] += predictor.predict(x, y.view()) && equal(y, expected);
      }
    });
  for (std::thread& thread : threads) thread.join();
  REQUIRE(right == std::vector<int>(4, 20));

  Predictor first(model, x.shape(), 2), second(model, x.shape(), 2);
  Predictor<decltype(small_net())>* predictors[] = {&first, &second};
  Tensor<float, 2> y[] = {Tensor<float, 2>({4, 4}), Tensor<float, 2>({4, 4})};
  bool done[2] = {};
  parallel_for(2, 1, [&](Index begin, Index) { done[begin] = predictors[begin]->predict(x, y[begin].view()); });
  REQUIRE((done[0] && done[1] && equal(y[0], expected) && equal(y[1], expected)));
}

#if HEED_TEST_INTERPOSES
TEST_CASE("predict asks the system for no memory, from the first call, whatever the process does") {
  const auto model = small_net();
  const auto x = images(5, 0);
  const int threads = quiet_threads();
  Predictor predictor(model, x.shape(), threads);
  Tensor<float, 2> y(predictor.output_shape());
  REQUIRE(predictor.predict(x, y.view()));  // OpenMP's threads have started
  BufferPool::instance().trim();            // nothing of it comes from the pool of the process
  bool done = true;
  REQUIRE(allocations_of([&] {
    for (int i = 0; i < 3; ++i) done = predictor.predict(x, y.view()) && done;
  }) == 0);
  // The calling thread inside a parallel region, where loops have one thread and other scratch.
  REQUIRE(allocations_of([&] {
    parallel_for(threads > 1 ? 2 : 1, 1, [&](Index begin, Index) {
      if (begin == 0) done = predictor.predict(x, y.view()) && done;
    });
  }) == 0);
  REQUIRE(done);
}

TEST_CASE("a thread's first predict of one thread asks the system for no memory") {
  const auto model = small_net();
  const auto x = images(3, 0);
  long asked = -1;
  std::thread([&] {
    Predictor predictor(model, x.shape(), 1);
    Tensor<float, 2> y(predictor.output_shape());
    BufferPool::instance().trim();
    asked = allocations_of([&] { static_cast<void>(predictor.predict(x, y.view())); });
  }).join();
  REQUIRE(asked == 0);
}
#endif
