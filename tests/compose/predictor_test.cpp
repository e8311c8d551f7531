// SPDX-License-Identifier: MIT
#include <algorithm>
#include <optional>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "count_allocations.hpp"

#include <heed/compose/predictor.hpp>
#include <heed/layers/embedding.hpp>
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
/// Every kernel that prepares a weight: direct convolutions, whole, grouped and 1x1, both of Winograd's and that of few channels, linear layers, packed projections, a weight of
/// which two layers' products take columns each. Takes (N, 8, 8, 3).
auto all_kinds(float shift = 0) {
  using enum Conv2dAlgorithm;
  auto model = Sequential(Conv2d<float>({.in_channels = 3, .out_channels = 20, .kernel_size = 3, .padding = 1, .algorithm = winograd_4x4}),
      Conv2d<float>({.in_channels = 20, .out_channels = 20, .kernel_size = 3, .padding = 1, .algorithm = direct}),
      Conv2d<float>({.in_channels = 20, .out_channels = 36, .kernel_size = 3, .padding = 1, .algorithm = winograd_2x2}), Gelu<float>(),
      Conv2d<float>({.in_channels = 36, .out_channels = 18, .kernel_size = 3, .padding = 1, .algorithm = winograd_4x4}),
      Conv2d<float>({.in_channels = 18, .out_channels = 24, .kernel_size = {3, 2}, .stride = 2, .padding = 1, .groups = 3}),
      Conv2d<float>({.in_channels = 24, .out_channels = 16}),
      AttentionFusion<float>({.features = 16, .num_heads = 2, .height = 4, .width = 5, .out_weight = Initializer::normal}),
      Conv2d<float>({.in_channels = 16, .out_channels = 16, .kernel_size = 3, .padding = 1, .groups = 16}), GlobalMaxPool2d<float>(),
      Linear<float>({.in_features = 16, .out_features = 300}), Linear<float>({.in_features = 300, .out_features = 4}));
  model.parameters([&](const std::string&, Parameter<float>& p) {
    for (Index i = 0; i < p.size(); ++i) p.value()[i] += shift;
  });
  return model;
}
}  // namespace

TEST_CASE("predict of what the model refuses is false, and the next one is as if it had not been") {
  const Sequential model(Embedding<float>({.num_embeddings = 4, .embedding_dim = 2}), Linear<float>({2, 3}));
  Predictor predictor(model, {1, 2});
  Tensor<std::int64_t, 2> x({1, 2});
  Tensor<float, 3> y(predictor.output_shape());
  y.fill(7);
  x[1] = 4;
  REQUIRE_FALSE(predictor.predict(x, y.view()));
  REQUIRE(std::count(y.data(), y.data() + y.size(), 7.0f) == y.size());
  x[1] = 3;
  REQUIRE(predictor.predict(x, y.view()));
  const auto expected = model.forward(x);
  REQUIRE(std::equal(y.data(), y.data() + y.size(), expected.data()));
}

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

TEST_CASE("prepared weights give the bits of forward, for every kind of layer, and follow each change of one number") {
  auto model = all_kinds();
  const auto x = images(3, -0.4f);
  for (const int threads : {1, 2}) {
    Predictor predictor(model, x.shape(), threads);
    Tensor<float, 2> y(predictor.output_shape());
    const auto agrees = [&] { return predictor.predict(x, y.view()) && equal(y, model.forward(x)); };
    REQUIRE(agrees());
    REQUIRE(agrees());
    model.parameters([&](const std::string& name, Parameter<float>& p) {
      INFO(name);
      for (const Index at : {Index(0), p.size() / 3, p.size() - 1}) {
        p.value()[at] += 0.25f;
        CHECK(agrees());
      }
    });
  }
}

TEST_CASE("a frozen predictor takes the weights as they were when it was told") {
  auto model = all_kinds();
  const auto x = images(3, -0.4f);
  Predictor predictor(model, x.shape());
  const auto change = [&] { model.parameters([](const std::string&, Parameter<float>& p) { p.value()[p.size() / 2] += 0.25f; }); };
  Tensor<float, 2> y(predictor.output_shape());
  change();  // after the first pass
  predictor.freeze();
  const auto expected = model.forward(x);
  for (int i = 0; i < 2; ++i) {
    REQUIRE(predictor.predict(x, y.view()));
    CHECK(equal(y, expected));
  }
  float* prepared = nullptr;
  model.parameters([&](const std::string& name, Parameter<float>& p) { prepared = name == "1.weight" ? p.value() : prepared; });
  REQUIRE(prepared != nullptr);
  prepared[0] += 0.25f;
  REQUIRE(predictor.predict(x, y.view()));
  CHECK(equal(y, expected));  // what the caller promised not to do goes unnoticed
  predictor.freeze(false);
  REQUIRE(predictor.predict(x, y.view()));
  CHECK(equal(y, model.forward(x)));
  CHECK_FALSE(equal(y, expected));
  change();
  REQUIRE(predictor.predict(x, y.view()));
  CHECK(equal(y, model.forward(x)));
}

TEST_CASE("many predictors hold one model, or one after the other models at one place") {
  std::optional<decltype(all_kinds())> model;
  const auto x = images(2, 0.1f);
  for (int round = 0; round < 3; ++round) {
    model.emplace(all_kinds(0.01f * static_cast<float>(round)));
    Predictor first(*model, x.shape(), 1), second(*model, x.shape(), 2);
    Tensor<float, 2> y(first.output_shape()), z(y);
    REQUIRE(first.predict(x, y.view()));
    const auto before = Tensor<float, 2>(y);
    REQUIRE(equal(y, model->forward(x)));
    *model = all_kinds(0.5f);  // its weights lie elsewhere
    for (int i = 0; i < 2; ++i) {
      REQUIRE((first.predict(x, y.view()) && second.predict(x, z.view())));
      REQUIRE((equal(y, model->forward(x)) && equal(z, y)));
    }
    REQUIRE_FALSE(equal(y, before));
    const auto other = all_kinds(0.25f);
    *model = other;  // copied to where they lay
    REQUIRE((second.predict(x, z.view()) && equal(z, other.forward(x))));
  }
}

TEST_CASE("a predictor gives all its memory back") {
  const auto model = all_kinds();
  const std::size_t used = BufferPool::instance().used_bytes(), idle = BufferPool::instance().idle_bytes();
  { Predictor predictor(model, {2, 8, 8, 3}); }
  REQUIRE(BufferPool::instance().used_bytes() == used);
  REQUIRE(BufferPool::instance().idle_bytes() < idle + 100000);  // the zeros of the first pass and what tells the shapes, not its weights
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

TEST_CASE("eight threads predict with one model, batches of any size, in a caller's parallel region, too") {
  const auto model = small_net();
  const auto all = images(17, 0.2f);
  std::vector<Tensor<float, 2>> alone;
  for (Index n = 1; n <= 17; ++n) alone.push_back(model.forward(all.slice(0, n)));
  std::vector<int> right(8, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < right.size(); ++t)
    threads.emplace_back([&, t] {
      for (std::size_t round = 0; round < 17; ++round) {
        const std::size_t n = (round + 5 * t) % 17;
        const auto x = all.slice(0, static_cast<Index>(n) + 1);
        Predictor predictor(model, x.shape(), 1 + static_cast<int>(t % 2));
        Tensor<float, 2> y(predictor.output_shape());
        for (int again = 0; again < 3; ++again) {
          y.fill(7);
          right[t] += predictor.predict(x, y.view()) && equal(y, alone[n]);
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  REQUIRE(right == std::vector<int>(8, 3 * 17));

  const auto x = images(4, 0.2f);
  const auto expected = model.forward(x);
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
  predictor.freeze();
  REQUIRE(allocations_of([&] { done = predictor.predict(x, y.view()) && done; }) == 0);
  // The calling thread inside a parallel region, where loops have one thread and other scratch.
  REQUIRE(allocations_of([&] {
    parallel_for(threads > 1 ? 2 : 1, 1, [&](Index begin, Index) {
      if (begin == 0) done = predictor.predict(x, y.view()) && done;
    });
  }) == 0);
  REQUIRE(done);
}

TEST_CASE("preparing weights anew asks the system for no memory") {
  auto model = all_kinds();
  const auto x = images(5, 0);
  Predictor predictor(model, x.shape(), quiet_threads());
  Tensor<float, 2> y(predictor.output_shape());
  REQUIRE(predictor.predict(x, y.view()));
  BufferPool::instance().trim();
  for (int i = 0; i < 3; ++i) {
    model.parameters([](const std::string&, Parameter<float>& p) { p.value()[p.size() / 2] += 1; });
    bool done = false;
    REQUIRE(allocations_of([&] { done = predictor.predict(x, y.view()); }) == 0);
    REQUIRE((done && equal(y, model.forward(x))));
  }
}

TEST_CASE("weights that move again and again take no more memory") {
  auto model = all_kinds();
  const auto x = images(2, 0);
  Predictor predictor(model, x.shape(), quiet_threads());
  Tensor<float, 2> y(predictor.output_shape());
  std::vector<decltype(model)> others;
  for (float shift : {0.1f, 0.2f, 0.3f}) others.push_back(all_kinds(shift));
  long asked = -1;
  for (auto& other : others) {
    model = std::move(other);
    bool done = false;
    asked = allocations_of([&] { done = predictor.predict(x, y.view()); });
    REQUIRE((done && equal(y, model.forward(x))));
  }
  REQUIRE(asked == 0);  // the first move may
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
