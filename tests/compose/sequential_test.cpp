// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <optional>

#include <heed/compose/any_layer.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/elu.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/leaky_relu.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/max_pool2d.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/sigmoid.hpp>
#include <heed/layers/silu.hpp>
#include <heed/layers/tanh.hpp>
#include <heed/testing/check_gradients.hpp>

#include "reference/random_tensor.hpp"

using namespace heed;

namespace {

/// Buffers that `body` takes from the system when none lies idle.
template <class Body>
auto from_system(const Body& body) {
  BufferPool& pool = BufferPool::instance();
  pool.trim();
  const auto before = pool.from_system();
  body();
  return pool.from_system() - before;
}

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
  REQUIRE(from_system([&] { model.forward(x); }) <= 2);
  decltype(model)::Cache cache;
  std::optional<Tensor<float, 2>> y;
  REQUIRE(from_system([&] { y = model.forward(x, cache); }) == 10);  // nine inputs that backward reads, and y
  REQUIRE(from_system([&] { model.backward(*y, cache); }) <= 1);     // the gradients take the place of what was read
  y.reset();
  const BufferPool& pool = BufferPool::instance();
  const auto settled = pool.from_system();
  for (int step = 0; step < 3; ++step) model.backward(model.forward(x, cache), cache);
  REQUIRE(pool.from_system() == settled);
}

namespace {

/// A batch norm whose parameters and statistics are not the trivial ones.
template <class Norm>
Norm awkward(const BatchNormOptions& options) {
  using T = typename Norm::scalar;
  Norm layer(options);
  for (Index j = 0; j < options.num_features; ++j) {
    const double v = static_cast<double>(j % 7);
    if (options.affine) layer.weight().value()[j] = T(0.5 + 0.25 * v), layer.bias().value()[j] = T(1 - 0.5 * v);
    if (options.track_running_stats) layer.running_mean()[j] = T(0.1 * v), layer.running_var()[j] = T(0.5 + 0.1 * v);
  }
  return layer;
}

template <class T>
std::vector<T> gradients_and_buffers(auto& layer) {
  std::vector<T> all;
  for (auto& [name, parameter] : named_parameters(layer)) {
    if (!parameter->frozen()) all.insert(all.end(), parameter->gradient(), parameter->gradient() + parameter->size());
  }
  for (auto& [name, buffer] : named_buffers(layer)) all.insert(all.end(), buffer->data(), buffer->data() + buffer->size());
  return all;
}

/// Batch norm and activation in one pass against one after the other: every bit of both passes.
template <class Norm, class Activation, int Rank>
void check_pair(const Norm& norm, const Activation& activation, const Shape& shape) {
  using T = typename Norm::scalar;
  static_assert(detail::fuses<Norm, Activation>());
  INFO("input " << shape.to_string());
  Norm alone_norm = norm;
  Activation alone_activation = activation;
  Sequential<Norm, Activation> pair(named("norm", norm), named("activation", activation));
  const auto x = reference::random_tensor<T, Rank>(shape, 1, -2, 3), dy = reference::random_tensor<T, Rank>(shape, 2);
  REQUIRE(reference::same_bits(pair.forward(x), activation.forward(norm.forward(x))));
  for (int step = 0; step < 2; ++step) {
    typename Norm::Cache norm_cache;
    typename Activation::Cache activation_cache;
    typename Sequential<Norm, Activation>::Cache cache;
    const auto n = alone_norm.forward(x, norm_cache);
    const auto expected = alone_activation.forward(n, activation_cache);
    REQUIRE(reference::same_bits(pair.forward(x, cache), expected));
    REQUIRE(cache.between[0].size() == 0);
    const auto d = alone_activation.backward(dy, activation_cache);
    REQUIRE(reference::same_bits(pair.backward(dy, cache), alone_norm.backward(d, norm_cache)));
    REQUIRE(gradients_and_buffers<T>(pair) == gradients_and_buffers<T>(alone_norm));
  }
}

template <class T, class Activation>
void check_pairs(const Activation& activation = Activation()) {
  for (Index features : {1, 3, 24, 65}) {
    const BatchNormOptions cases[] = {{.num_features = features}, {.num_features = features, .affine = false},
        {.num_features = features, .track_running_stats = false}, {.num_features = features, .frozen_scale = true},
        {.num_features = features, .frozen_statistics = true}, {.num_features = features, .affine = false, .frozen_statistics = true},
        {.num_features = features, .shard_size = 2}, {.num_features = features, .shard_size = 5}};
    for (const BatchNormOptions& options : cases)
      check_pair<BatchNorm2d<T>, Activation, 4>(awkward<BatchNorm2d<T>>(options), activation, {5, 2, 3, features});
  }
  check_pair<BatchNorm2d<T>, Activation, 4>(awkward<BatchNorm2d<T>>({.num_features = 24}), activation, {9, 15, 15, 24});  // some chunks
  check_pair<BatchNorm2d<T>, Activation, 4>(
      awkward<BatchNorm2d<T>>({.num_features = 3000}), activation, {11, 1, 1, 3000});  // a row a block
}

/// Someone's own batch norm, or activation, that is more than what it derives from.
struct OwnNorm : BatchNorm1d<double> {
  using BatchNorm1d<double>::BatchNorm1d;
};
struct OwnRelu : Relu<double> {};

}  // namespace

TEST_CASE("batch norm and activation in one pass give the bits of both, one after the other") {
  check_pairs<float, Relu<float>>();
  check_pairs<float, Gelu<float>>();
  check_pairs<float>(Gelu<float>({.approximate = GeluApproximation::tanh}));
  check_pairs<float, Silu<float>>();
  check_pairs<float>(LeakyRelu<float>({.negative_slope = 0.3}));
  check_pairs<double, Gelu<double>>();
  check_pairs<double, Tanh<double>>();
  check_pairs<double, Sigmoid<double>>();
  check_pairs<double>(Elu<double>({.alpha = 1.5}));
}

TEST_CASE("pairs are found in a longer chain, and frozen parameters change nothing") {
  const auto block = [] {
    return Sequential(Linear<double>({3, 4}), named("norm", awkward<BatchNorm1d<double>>({.num_features = 4})),
        named("gelu", Gelu<double>()), Relu<double>(), awkward<BatchNorm1d<double>>({.num_features = 4, .shard_size = 3}), Tanh<double>(),
        Linear<double>({4, 2}), awkward<BatchNorm1d<double>>({.num_features = 2}));
  };
  auto model = block();
  for (const Shape& shape : {Shape{7, 3}, Shape{4, 3, 3}}) {
    const auto report = check_gradients(block(), shape);
    INFO(report.to_string());
    CHECK(report.passed());
  }
  decltype(model)::Cache cache;
  const auto x = reference::random_tensor<double, 2>({7, 3}, 1), dy = reference::random_tensor<double, 2>({7, 2}, 2);
  model.forward(x, cache);
  const bool kept[] = {true, false, true, true, false, true, true};
  for (std::size_t i = 0; i < 7; ++i) CHECK((cache.between[i].size() > 0) == kept[i]);
  const auto dx = model.backward(dy, cache);
  for (const auto& tensor : cache.between) CHECK(tensor.size() == 0);
  auto frozen = block();
  copy_parameters(block(), frozen);
  const auto sync = [](auto& from, auto& to) { copy_parameters(from, to); };
  sync(model, frozen);
  for (auto* layer : {&frozen.get<1>(), &frozen.get<4>(), &frozen.get<7>()}) layer->freeze();
  const auto again = model.forward(x);
  REQUIRE(reference::same_bits(frozen.forward(x), again));
  model.forward(x, cache);
  const auto d_model = model.backward(dy, cache);
  frozen.forward(x, cache);
  REQUIRE(reference::same_bits(frozen.backward(dy, cache), d_model));
  REQUIRE(reference::same_bits(d_model, dx));

  std::string names;
  model.parameters([&](const std::string& name, Parameter<double>&) { names += name + ' '; });
  CHECK(names == "0.weight 0.bias norm.weight norm.bias 4.weight 4.bias 6.weight 6.bias 7.weight 7.bias ");
}

TEST_CASE("a pair with frozen parameters and statistics still has its input gradient") {
  check_pair<BatchNorm1d<double>, Gelu<double>, 2>(awkward<BatchNorm1d<double>>({.num_features = 5}), Gelu<double>(), {6, 5});
  auto norm = awkward<BatchNorm1d<double>>({.num_features = 5, .frozen_statistics = true});
  norm.freeze();
  check_pair<BatchNorm1d<double>, Gelu<double>, 2>(norm, Gelu<double>(), {6, 5});
  const auto report = check_gradients(Sequential(norm, Gelu<double>()), Shape{6, 5});
  INFO(report.to_string());
  CHECK(report.passed());
}

TEST_CASE("errors of a pair name the layer that is at fault") {
  Sequential model(named("norm", BatchNorm1d<double>({.num_features = 3})), named("gelu", Gelu<double>()));
  decltype(model)::Cache cache;
  const Tensor<double, 2> x({4, 3}), wrong({4, 4}), single({1, 3});
  CHECK_THROWS_WITH(model.forward(wrong), contains("norm: BatchNorm1d: input has 4 features"));
  CHECK_THROWS_WITH(model.forward(single, cache), contains("norm: BatchNorm1d: one value a feature has no variance"));
  model.forward(x, cache);
  CHECK_THROWS_WITH(model.backward(wrong, cache), contains("gelu: Gelu: dy is 4x4, the forward pass of this cache gave 4 rows of 3"));
  model.forward(x, cache);
  CHECK_THROWS_WITH(model.backward(Tensor<double, 2>(), cache), contains("gelu: Gelu: dy is empty"));
  CHECK(layer_path().empty());
  const Tensor<double, 2> none({0, 3});
  CHECK(model.forward(none).shape() == none.shape());
  model.forward(none, cache);
  CHECK(model.backward(none, cache).shape() == none.shape());
}

TEST_CASE("only what is known to be the same runs as one") {
  static_assert(detail::fuses<BatchNorm1d<double>, Relu<double>>());
  static_assert(!detail::fuses<OwnNorm, Relu<double>>());
  static_assert(!detail::fuses<BatchNorm1d<double>, OwnRelu>());
  static_assert(!detail::fuses<Relu<double>, BatchNorm1d<double>>());
  static_assert(!detail::fuses<BatchNorm1d<double>, Linear<double>>());
  static_assert(!detail::fuses<BatchNorm1d<double>, AnyLayer<double, 2>>());
  // In AnyLayer, as the nets of the examples are.
  AnyLayer<double, 2> held(Sequential(Linear<double>({3, 3}), BatchNorm1d<double>({.num_features = 3}), Relu<double>()));
  const auto x = reference::random_tensor<double, 2>({5, 3}, 1);
  CHECK(held.forward(x).shape() == x.shape());
}

TEST_CASE("a pair takes less memory than its two layers") {
  Sequential pair(BatchNorm2d<float>({.num_features = 64}), Gelu<float>());
  auto x = reference::random_tensor<float, 4>({4, 32, 32, 64}, 1);
  decltype(pair)::Cache cache;
  pair.backward(pair.forward(x, cache), cache);  // gradients have their memory
  const auto small = from_system([&] { pair.get<0>().forward(x.slice(0, 1)); });
  CHECK(from_system([&] { pair.forward(x); }) <= small);  // y, and what a batch norm needs anyway
  std::optional<Tensor<float, 4>> y;
  const auto training = from_system([&] { y = pair.forward(x, cache); });
  Sequential alone(BatchNorm2d<float>({.num_features = 64}));
  decltype(alone)::Cache alone_cache;
  CHECK(training <= from_system([&] { alone.forward(x, alone_cache); }));
}

namespace {

/// Convolution and max-pooling as a pair against one after the other: every bit of both passes, winners included.
template <class T>
void check_pooled(const Conv2dOptions& conv_options, const MaxPool2dOptions& pool_options, const Tensor<T, 4>& x) {
  INFO("input " << x.shape().to_string() << ", " << conv_options.in_channels << " to " << conv_options.out_channels
                << " channels, algorithm " << static_cast<int>(conv_options.algorithm));
  const SeedScope seed(1);
  Conv2d<T> conv(conv_options);
  MaxPool2d<T> pool(pool_options);
  Sequential<Conv2d<T>, MaxPool2d<T>> pair(named("conv", conv), named("pool", pool));
  typename Conv2d<T>::Cache conv_cache;
  typename MaxPool2d<T>::Cache pool_cache;
  typename decltype(pair)::Cache cache;
  const auto between = conv.forward(x, conv_cache);
  const auto expected = pool.forward(between, pool_cache);
  const auto dy = reference::random_tensor<T, 4>(expected.shape(), 3);
  for (const int threads : {1, 3}) {
    const ThreadScope scope(threads);
    CHECK(reference::same_numbers(pair.forward(x), expected));
    CHECK(reference::same_numbers(pair.forward(x, cache), expected));
    CHECK(cache.between[0].size() == 0);
    CHECK(reference::same_numbers(pool.indices(std::get<1>(cache.layers)), pool.indices(pool_cache)));
  }
  const auto d = pool.backward(dy, pool_cache);
  CHECK(reference::same_numbers(pair.backward(dy, cache), conv.backward(d, conv_cache)));
  CHECK(reference::same_numbers(gradients_and_buffers<T>(pair), gradients_and_buffers<T>(conv)));
}

}  // namespace

TEST_CASE("convolution and max-pooling in one pass give the bits of both, one after the other") {
  struct Size {
    Index images, height, width, in, out;
  };
  const MaxPool2dOptions half{.kernel_size = 2};
  for (const Size& s : {Size{2, 31, 31, 24, 24}, Size{3, 15, 15, 16, 70}, Size{1, 8, 9, 33, 16}, Size{2, 2, 2, 20, 24},
           Size{2, 7, 3, 17, 40}, Size{60, 9, 13, 48, 24}, Size{2, 3, 11, 16, 24}, Size{2, 7, 8, 160, 24}, Size{2, 5, 4, 3, 8},
           Size{0, 8, 8, 16, 16}}) {  // the last three: in two parts, direct, nothing
    for (const bool bias : {true, false}) {
      auto x = reference::random_tensor<float, 4>({s.images, s.height, s.width, s.in}, 1);
      const Conv2dOptions conv{.in_channels = s.in, .out_channels = s.out, .kernel_size = 3, .padding = 1, .bias = bias};
      check_pooled(conv, half, x);
      if (x.size() > 0) x[x.size() / 2] = std::numeric_limits<float>::quiet_NaN(), x[0] = std::numeric_limits<float>::infinity();
      check_pooled(conv, half, x);
    }
  }
  for (const Padding2d padding :
      {Padding2d(0), Padding2d(0, 3, 0, 1)})  // the last row that windows reach is not the last that reads the image
    for (const Index channels : {24, 160})
      check_pooled({.in_channels = channels, .out_channels = 24, .kernel_size = 3, .padding = padding, .bias = false}, half,
          reference::random_tensor<float, 4>({2, 17, 13, channels}, 1));
  // Forward F(4x4), its gradient direct.
  check_pooled({.in_channels = 128, .out_channels = 128, .kernel_size = 3, .padding = 2, .bias = false}, half,
      reference::random_tensor<float, 4>({2, 1, 1, 128}, 1));
  for (const auto algorithm : {Conv2dAlgorithm::direct, Conv2dAlgorithm::winograd_2x2, Conv2dAlgorithm::winograd_4x4}) {
    const Conv2dOptions conv{
        .in_channels = 5, .out_channels = 19, .kernel_size = 3, .padding = {1, 0}, .bias = false, .algorithm = algorithm};
    check_pooled<float>(conv, half, reference::random_tensor<float, 4>({2, 9, 10, 5}, 1));
    check_pooled<double>(conv, half, reference::random_tensor<double, 4>({2, 9, 10, 5}, 1));
    check_pooled<double>(conv, half, Tensor<double, 4>({2, 9, 10, 5}));  // all alike: the first tap wins
  }
}

TEST_CASE("other windows behind a convolution are pooled as they are alone") {
  const Conv2dOptions conv{.in_channels = 16, .out_channels = 16, .kernel_size = 3, .padding = 1};
  const auto x = reference::random_tensor<float, 4>({2, 19, 21, 16}, 1);
  for (const MaxPool2dOptions& pool : {MaxPool2dOptions{.kernel_size = 3, .stride = 2}, MaxPool2dOptions{.kernel_size = 2, .stride = 1},
           MaxPool2dOptions{.kernel_size = 2, .padding = 1}, MaxPool2dOptions{.kernel_size = 2, .stride = 2, .dilation = 2},
           MaxPool2dOptions{.kernel_size = 2, .ceil_mode = true}, MaxPool2dOptions{.kernel_size = {2, 1}},
           MaxPool2dOptions{.kernel_size = 17}})
    check_pooled(conv, pool, x);
  check_pooled({.in_channels = 16, .out_channels = 16, .kernel_size = 3, .groups = 16}, {.kernel_size = 2}, x);
  check_pooled({.in_channels = 16, .out_channels = 24}, {.kernel_size = 2}, x);
}

TEST_CASE("convolution and max-pooling as a pair have the gradients and the errors of two layers") {
  static_assert(detail::fuses<Conv2d<float>, MaxPool2d<float>>());
  static_assert(!detail::fuses<MaxPool2d<float>, Conv2d<float>>());
  for (const auto algorithm : {Conv2dAlgorithm::direct, Conv2dAlgorithm::winograd_2x2, Conv2dAlgorithm::winograd_4x4}) {
    const auto report = check_gradients(
        Sequential(Conv2d<double>({.in_channels = 2, .out_channels = 3, .kernel_size = 3, .padding = 1, .algorithm = algorithm}),
            MaxPool2d<double>({.kernel_size = 2}), Relu<double>()),
        Shape{2, 5, 6, 2});
    INFO(report.to_string());
    CHECK(report.passed());
  }
  Sequential model(named("conv", Conv2d<float>({.in_channels = 16, .out_channels = 16, .kernel_size = 3})),
      named("pool", MaxPool2d<float>({.kernel_size = 2})));
  decltype(model)::Cache cache;
  const Tensor<float, 4> x({1, 6, 6, 16}), narrow({1, 3, 6, 16}), wrong({1, 6, 6, 3});
  CHECK_THROWS_WITH(model.forward(wrong), contains("conv: Conv2d: input has 3 channels"));
  CHECK_THROWS_WITH(model.forward(narrow), contains("pool: MaxPool2d: the kernel does not fit into the input"));
  CHECK_THROWS_WITH(model.forward(narrow, cache), contains("pool: MaxPool2d: the kernel does not fit into the input"));
  model.forward(x, cache);
  CHECK_THROWS_WITH(model.backward(x, cache), contains("pool: MaxPool2d: dy is 1x6x6x16"));
  CHECK(layer_path().empty());
}

TEST_CASE("a cache that looks into itself moves, and is not copied") {
  using Model = Sequential<Linear<float>, Gelu<float>, Linear<float>>;
  static_assert(!std::is_copy_constructible_v<Model::Cache> && std::is_move_constructible_v<Model::Cache>);
  static_assert(!std::is_copy_assignable_v<Model::Cache> && std::is_move_assignable_v<Model::Cache>);
  Model model(Linear<float>({.in_features = 2, .out_features = 3}), Gelu<float>(), Linear<float>({.in_features = 3, .out_features = 2}));
  const auto x = reference::random_tensor<float, 2>({4, 2}, 1), dy = reference::random_tensor<float, 2>({4, 2}, 2);
  Model::Cache cache, first;
  model.forward(x, cache);
  const auto dx = model.backward(dy, cache);
  model.forward(x, first);
  Model::Cache moved = std::move(first);
  CHECK(reference::largest_difference(model.backward(dy, moved), dx) == 0);
}
