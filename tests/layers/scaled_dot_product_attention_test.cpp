// SPDX-License-Identifier: MIT
#include <array>

#include <heed/layers/scaled_dot_product_attention.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"
#include "reference/attention_reference.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;
using reference::random_tensor;
using reference::same_bits;

namespace {

using Options = ScaledDotProductAttentionOptions;

/// The layer with masks and a bias of its own, which is a fourth input here: what certificates need to see their gradients.
template <class T>
class Masked : public LayerBase<Masked<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 4;
  struct Cache {
    typename ScaledDotProductAttention<T>::Cache attention;
    TensorView<const T, 4> bias;
  };

  Masked(const Options& options, const Tensor<bool, 4>& attend, const Tensor<bool, 2>& keys)
      : options_(options), layer_(options), attend_(attend), keys_(keys) {}

  Tensor<T, 4> forward(const Tensor<T, 4>& q, const Tensor<T, 4>& k, const Tensor<T, 4>& v, const Tensor<T, 4>& bias) const {
    return layer_.forward(q, k, v, mask(bias));
  }
  Tensor<T, 4> forward(const Tensor<T, 4>& q, const Tensor<T, 4>& k, const Tensor<T, 4>& v, const Tensor<T, 4>& bias, Cache& cache) const {
    cache.bias = bias;
    return layer_.forward(q, k, v, mask(bias), cache.attention);
  }
  auto backward(const TensorView<const T, 4>& dy, Cache& cache) {
    Tensor<T, 4> d_bias(cache.bias.shape());
    auto d = layer_.backward(dy, cache.attention, {.d_bias = d_bias.data()});
    return std::tuple_cat(std::move(d), std::make_tuple(std::move(d_bias)));
  }
  template <class U>
  Masked<U> rebind() const {
    return Masked<U>(options_, attend_, keys_);
  }
  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("Masked");
  }

 private:
  AttentionMask<T> mask(const TensorView<const T, 4>& bias) const {
    AttentionMask<T> m{.bias = bias};
    if (!attend_.empty()) m.attend = attend_;
    if (!keys_.empty()) m.attend_keys = keys_;
    return m;
  }

  Options options_;
  ScaledDotProductAttention<T> layer_;
  Tensor<bool, 4> attend_;
  Tensor<bool, 2> keys_;
};

/// The layer whose output is y and the weights together: certifies the gradient that flows back through the returned weights.
template <class T>
class WithWeights : public LayerBase<WithWeights<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 4;
  using Cache = typename ScaledDotProductAttention<T>::Cache;

  explicit WithWeights(const Options& options) : layer_(options) {}

  Tensor<T, 4> forward(const Tensor<T, 4>& q, const Tensor<T, 4>& k, const Tensor<T, 4>& v) const {
    Tensor<T, 4> weights;
    const auto y = layer_.forward(q, k, v, {}, &weights);
    return join(y, weights);
  }
  Tensor<T, 4> forward(const Tensor<T, 4>& q, const Tensor<T, 4>& k, const Tensor<T, 4>& v, Cache& cache) const {
    const auto y = layer_.forward(q, k, v, {}, cache, true);
    return join(y, cache.weights);
  }
  auto backward(const TensorView<const T, 4>& dy, Cache& cache) {
    const Index width = cache.v[3];
    Tensor<T, 4> d_out({dy.size(0), dy.size(1), dy.size(2), width}), d_weights(cache.weights.shape());
    for (Index row = 0; row < dy.rows(); ++row) {
      std::copy_n(dy.data() + row * dy.features(), width, d_out.data() + row * width);
      std::copy_n(dy.data() + row * dy.features() + width, d_weights.features(), d_weights.data() + row * d_weights.features());
    }
    return layer_.backward(d_out, cache, {.d_weights = d_weights});
  }
  template <class U>
  WithWeights<U> rebind() const {
    return WithWeights<U>(layer_.options());
  }
  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("WithWeights");
  }

 private:
  static Tensor<T, 4> join(const Tensor<T, 4>& y, const Tensor<T, 4>& weights) {
    Tensor<T, 4> both({y.size(0), y.size(1), y.size(2), y.features() + weights.features()});
    for (Index row = 0; row < y.rows(); ++row) {
      std::copy_n(y.data() + row * y.features(), y.features(), both.data() + row * both.features());
      std::copy_n(weights.data() + row * weights.features(), weights.features(), both.data() + row * both.features() + y.features());
    }
    return both;
  }

  ScaledDotProductAttention<T> layer_;
};

void certify(const Options& options, const Shape& q, const Shape& k, const Shape& v) {
  const auto report = check_gradients(ScaledDotProductAttention<double>(options), std::array<Shape, 3>{q, k, v});
  INFO("q " << q.to_string() << ", k " << k.to_string() << ", v " << v.to_string());
  INFO(report.to_string());
  REQUIRE(report.passed());
}

}  // namespace

TEST_CASE("ScaledDotProductAttention: certificate", "[scaled_dot_product_attention]") {
  const Index tile = kernels::tile_rows<double>();
  certify({}, {1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1});
  certify({}, {2, 1, 1, 3}, {2, 1, 1, 3}, {2, 1, 1, 2});
  certify({}, {1, 1, 3, 1}, {1, 1, 5, 1}, {1, 1, 5, 1});
  for (Index queries : {tile - 1, tile, tile + 1}) certify({}, {1, 1, queries, 2}, {1, 1, 17, 2}, {1, 1, 17, 3});
  certify({.scale = 0.7, .softcap = 0.8}, {2, 2, 5, 3}, {2, 2, 4, 3}, {2, 2, 4, 3});
  certify({.dropout = 0.4}, {2, 2, 5, 3}, {2, 2, 9, 3}, {2, 2, 9, 3});
  certify({}, {1, 6, 3, 2}, {1, 2, 4, 2}, {1, 2, 4, 3});  // grouped queries
  for (CausalAlignment alignment : {CausalAlignment::top_left, CausalAlignment::bottom_right}) {
    certify({.causal = true, .alignment = alignment}, {1, 2, 4, 2}, {1, 2, 7, 2}, {1, 2, 7, 2});
    certify({.causal = true, .alignment = alignment}, {1, 2, 7, 2}, {1, 2, 4, 2}, {1, 2, 4, 2});  // bottom right: rows without keys
  }
  certify({.num_heads = 4, .num_kv_heads = 2, .causal = true, .dropout = 0.3}, {2, 5, 12}, {2, 7, 6},
      {2, 7, 10});  // tokens with heads side by side
}

TEST_CASE("ScaledDotProductAttention: certificate with masks and a bias of every broadcast", "[scaled_dot_product_attention]") {
  const Shape q{2, 2, 4, 2}, k{2, 2, 5, 2};
  Tensor<bool, 4> attend({2, 1, 4, 5});
  attend.fill(true);
  for (Index j = 0; j < 5; ++j) attend(0, 0, 1, j) = attend(1, 0, 3, j) = false;  // fully masked rows
  attend(0, 0, 0, 2) = attend(1, 0, 2, 4) = false;
  Tensor<bool, 2> keys({2, 5});
  keys.fill(true);
  keys(1, 3) = keys(1, 4) = false;
  for (const Shape& bias : {Shape{2, 2, 4, 5}, Shape{1, 1, 4, 5}, Shape{1, 2, 1, 5}, Shape{2, 1, 4, 1}, Shape{1, 1, 1, 1}}) {
    const auto report =
        check_gradients(Masked<double>({.softcap = 1.5, .dropout = 0.2}, attend, keys), std::array<Shape, 4>{q, k, k, bias});
    INFO("bias " << bias.to_string() << "\n" << report.to_string());
    REQUIRE(report.passed());
  }
}

TEST_CASE("ScaledDotProductAttention: certificate of the gradient through the weights", "[scaled_dot_product_attention]") {
  for (const Options& options : {Options{}, Options{.softcap = 1.2, .causal = true, .dropout = 0.3}}) {
    const auto report =
        check_gradients(WithWeights<double>(options), std::array<Shape, 3>{Shape{2, 2, 4, 3}, Shape{2, 2, 5, 3}, Shape{2, 2, 5, 2}});
    INFO(report.to_string());
    REQUIRE(report.passed());
  }
}

TEMPLATE_TEST_CASE("ScaledDotProductAttention: both forms give the same numbers, those of the reference", "[scaled_dot_product_attention]",
    float, double) {
  using T = TestType;
  const Index n = 2, heads = 3, tokens = 11, width = 5;
  const auto q = random_tensor<T, 4>({n, heads, tokens, width}, 1), k = random_tensor<T, 4>(q.shape(), 2),
             v = random_tensor<T, 4>(q.shape(), 3);
  const auto side_by_side = [&](const Tensor<T, 4>& x) {
    Tensor<T, 3> r({n, tokens, heads * width});
    for (Index b = 0; b < n; ++b)
      for (Index h = 0; h < heads; ++h)
        for (Index t = 0; t < tokens; ++t)
          for (Index d = 0; d < width; ++d) r(b, t, h * width + d) = x(b, h, t, d);
    return r;
  };
  const ScaledDotProductAttention<T> layer({.num_heads = heads});
  Tensor<T, 4> weights;
  const auto y = layer.forward(q, k, v, {}, &weights);
  const auto q3 = side_by_side(q), k3 = side_by_side(k), v3 = side_by_side(v);
  CHECK(same_bits(layer.forward(q3, k3, v3), side_by_side(y)));

  kernels::Attention<T> a;
  a.batches = n, a.heads = a.kv_heads = heads, a.queries = a.keys = tokens, a.width = a.value_width = width;
  a.scale = 1 / std::sqrt(5.0);
  a.q = {q.data(), heads * tokens * width, tokens * width, width}, a.k = a.v = a.q;
  a.k.data = k.data(), a.v.data = v.data();
  const AttentionReference exact = attention_reference(a);
  const double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-14;
  for (Index i = 0; i < y.size(); ++i) CHECK(std::abs(static_cast<double>(y[i]) - exact.y[static_cast<std::size_t>(i)]) < tolerance);
  for (Index i = 0; i < weights.size(); ++i)
    CHECK(std::abs(static_cast<double>(weights[i]) - exact.weights[static_cast<std::size_t>(i)]) < tolerance);

  typename ScaledDotProductAttention<T>::Cache cache;
  CHECK(same_bits(layer.forward(q, k, v, cache), y));
}

TEST_CASE("ScaledDotProductAttention: dropout is repeatable, and the same in backward", "[scaled_dot_product_attention]") {
  const auto q = random_tensor<float, 4>({1, 2, 30, 8}, 1), k = random_tensor<float, 4>({1, 2, 40, 8}, 2),
             v = random_tensor<float, 4>({1, 2, 40, 8}, 3);
  const ScaledDotProductAttention<float> layer({.dropout = 0.5});
  ScaledDotProductAttention<float>::Cache cache, other;
  const auto run = [&](std::uint64_t step, ScaledDotProductAttention<float>::Cache& c) {
    StepScope scope(1, step);
    return layer.forward(q, k, v, {}, c, true);
  };
  const auto first = run(3, cache), again = run(3, other);
  CHECK(same_bits(first, again));
  CHECK(!same_bits(first, run(4, other)));
  Index dropped = 0;
  for (Index i = 0; i < cache.weights.size(); ++i) dropped += cache.weights[i] == 0;
  CHECK(std::abs(static_cast<double>(dropped) / static_cast<double>(cache.weights.size()) - 0.5) < 0.05);
  const auto without_scope = layer.forward(q, k, v, cache);
  CHECK(!same_bits(without_scope, layer.forward(q, k, v, cache)));  // the cache counts its passes
}

TEST_CASE("ScaledDotProductAttention: errors are sentences", "[scaled_dot_product_attention]") {
  const ScaledDotProductAttention<float> layer({.num_heads = 2});
  CHECK_THROWS_WITH(layer.output_shape({1, 2, 3, 4}, {1, 2, 3, 5}, {1, 2, 3, 4}), contains("must have equal head widths"));
  CHECK_THROWS_WITH(layer.output_shape({1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 4, 4}), contains("equal heads and tokens"));
  CHECK_THROWS_WITH(layer.output_shape({1, 3, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}), contains("multiple of the heads of k"));
  CHECK_THROWS_WITH(layer.output_shape({3, 4}, {3, 4}, {3, 4}), contains("must all be"));
  CHECK_THROWS_WITH(layer.output_shape({1, 3, 5}, {1, 3, 5}, {1, 3, 5}), contains("head widths"));
  CHECK_THROWS_AS(ScaledDotProductAttention<float>({.num_heads = 3, .num_kv_heads = 2}), std::invalid_argument);
  CHECK_THROWS_AS(ScaledDotProductAttention<float>({.dropout = 1.5}), std::invalid_argument);
  const auto x = random_tensor<float, 4>({1, 1, 3, 4}, 1);
  ScaledDotProductAttention<float>::Cache cache;
  auto own = layer;
  layer.forward(x, x, x, cache);
  const auto d_weights = random_tensor<float, 4>({1, 1, 3, 3}, 2);
  CHECK_THROWS_WITH(own.backward(x, cache, {.d_weights = d_weights}), contains("not asked to keep"));
  CHECK_THROWS_AS(own.backward(random_tensor<float, 4>({1, 1, 4, 4}, 2), cache), ShapeError);
}

TEST_CASE("ScaledDotProductAttention refuses a cache that no forward has filled") {
  ScaledDotProductAttention<float> layer;
  ScaledDotProductAttention<float>::Cache cache;
  const Tensor<float, 3> dy({1, 1, 2});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("ScaledDotProductAttention: backward follows one forward"));
  CHECK_THROWS_WITH(ScaledDotProductAttention<float>({.num_heads = 2, .num_kv_heads = -2}), contains("num_kv_heads (-2)"));
  CHECK_THROWS_WITH(ScaledDotProductAttention<float>({.scale = std::nan("")}), contains("scale is nan"));
}

TEST_CASE("ScaledDotProductAttention: an observer sees the weights of inference", "[scaled_dot_product_attention]") {
  const ScaledDotProductAttention<float> layer({.num_heads = 2});
  const auto x = random_tensor<float, 3>({3, 5, 4}, 1);
  Tensor<float, 4> weights;
  const auto unseen = layer.forward(x, x, x, {}, &weights);
  struct Keep final : AttentionObserver {
    using AttentionObserver::seen;
    int calls = 0;
    Tensor<float, 4> weights;
    void seen(const TensorView<const float, 4>& w) override { ++calls, weights = Tensor<float, 4>(w); }
  } keep;
  CHECK(same_bits(layer.forward(x, x, x), unseen));
  CHECK(keep.calls == 1);
  CHECK(keep.weights.shape() == Shape{3, 2, 5, 5});
  CHECK(same_bits(keep.weights, weights));
  Tensor<bool, 2> nothing({1, 5});  // false: no query attends any key
  layer.forward(x, x, x, {.attend = nothing}, &weights);
  CHECK(keep.calls == 2);
  CHECK(std::all_of(keep.weights.data(), keep.weights.data() + keep.weights.size(), [](float w) { return w == 0; }));
}
