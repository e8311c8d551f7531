// SPDX-License-Identifier: MIT
#include <array>

#include <heed/layers/multi_head_attention.hpp>
#include <heed/layers/scaled_dot_product_attention.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"
#include "reference/layer_rules.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;
using reference::largest_difference;
using reference::random_tensor;
using reference::same_bits;
using reference::with_random_parameters;

namespace {

using Options = MultiHeadAttentionOptions;

/// Cross-attention as a layer of three inputs, with masks of its own.
template <class T>
class Cross : public LayerBase<Cross<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 3;
  using Cache = typename MultiHeadAttention<T>::Cache;

  explicit Cross(const Options& options) : layer_(options) {}
  Cross(MultiHeadAttention<T> layer, const Tensor<bool, 2>& keys) : layer_(std::move(layer)), keys_(keys) {}

  Tensor<T, 3> forward(const Tensor<T, 3>& q, const Tensor<T, 3>& k, const Tensor<T, 3>& v) const {
    return layer_.forward(q, k, v, mask());
  }
  Tensor<T, 3> forward(const Tensor<T, 3>& q, const Tensor<T, 3>& k, const Tensor<T, 3>& v, Cache& cache) const {
    return layer_.forward(q, k, v, mask(), cache);
  }
  auto backward(const TensorView<const T, 3>& dy, Cache& cache) { return layer_.backward_cross(dy, cache); }
  template <class U>
  Cross<U> rebind() const {
    return Cross<U>(layer_.template rebind<U>(), keys_);
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Cross");
    visitor.child("attention", self.layer_);
  }

 private:
  AttentionMask<T> mask() const {
    AttentionMask<T> m;
    if (!keys_.empty()) m.attend_keys = keys_;
    return m;
  }

  MultiHeadAttention<T> layer_;
  Tensor<bool, 2> keys_;
};

/// Self-attention with a mask, a bias and keys, whose output holds y and the weights (averaged or of each head) one after the other.
template <class T>
class SelfWithWeights : public LayerBase<SelfWithWeights<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 3;
  using Cache = typename MultiHeadAttention<T>::Cache;

  SelfWithWeights(
      MultiHeadAttention<T> layer, bool averaged, const Tensor<bool, 4>& attend, const Tensor<bool, 2>& keys, const Tensor<double, 2>& bias)
      : layer_(std::move(layer)), averaged_(averaged), attend_(attend), keys_(keys), bias_(bias), own_bias_(bias.shape()) {
    for (Index i = 0; i < bias.size(); ++i) own_bias_[i] = T(bias[i]);
  }

  Tensor<T, 1> forward(const Tensor<T, 3>& x) const {
    Tensor<T, 4> weights;
    const auto y = layer_.forward(x, mask(), &weights);
    return join(y, weights);
  }
  Tensor<T, 1> forward(const Tensor<T, 3>& x, Cache& cache) const {
    const auto y = layer_.forward(x, mask(), cache, true);
    return join(y, cache.weights);
  }
  Tensor<T, 3> backward(const TensorView<const T, 1>& dy, Cache& cache) {
    const Index split = cache.q.size();
    const TensorView<const T, 3> d_out(dy.data(), cache.q.shape());
    const Shape& s = cache.weights.shape();
    if (averaged_)
      return layer_.backward(d_out, cache, {.d_weights = TensorView<const T, 3>(dy.data() + split, {s[0], s[2], s[3]}), .averaged = true});
    return layer_.backward(d_out, cache, {.d_weights = TensorView<const T, 4>(dy.data() + split, s)});
  }
  template <class U>
  SelfWithWeights<U> rebind() const {
    return SelfWithWeights<U>(layer_.template rebind<U>(), averaged_, attend_, keys_, bias_);
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("SelfWithWeights");
    visitor.child("attention", self.layer_);
  }

 private:
  AttentionMask<T> mask() const {
    AttentionMask<T> m;
    if (!attend_.empty()) m.attend = attend_;
    if (!keys_.empty()) m.attend_keys = keys_;
    if (!own_bias_.empty()) m.bias = own_bias_;
    return m;
  }
  Tensor<T, 1> join(const Tensor<T, 3>& y, const Tensor<T, 4>& weights) const {
    const Tensor<T, 3> mean = MultiHeadAttention<T>::average_over_heads(weights);
    const auto part = averaged_ ? std::span<const T>(mean.data(), static_cast<std::size_t>(mean.size()))
                                : std::span<const T>(weights.data(), static_cast<std::size_t>(weights.size()));
    Tensor<T, 1> both({y.size() + static_cast<Index>(part.size())});
    std::copy_n(y.data(), y.size(), both.data());
    std::copy(part.begin(), part.end(), both.data() + y.size());
    return both;
  }

  MultiHeadAttention<T> layer_;
  bool averaged_;
  Tensor<bool, 4> attend_;
  Tensor<bool, 2> keys_;
  Tensor<double, 2> bias_;
  Tensor<T, 2> own_bias_;
};

/// Self-attention whose bias is an input, too: (heads, T, T), shared by all sequences, and of a mask with a whole row of nothing.
template <class T>
class SelfWithBias : public LayerBase<SelfWithBias<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 3;
  using Cache = typename MultiHeadAttention<T>::Cache;

  explicit SelfWithBias(MultiHeadAttention<T> layer, Index tokens) : layer_(std::move(layer)), attend_({tokens, tokens}) {
    for (Index i = 0; i < attend_.size(); ++i) attend_[i] = i >= tokens;
  }

  Tensor<T, 3> forward(const Tensor<T, 3>& x, const Tensor<T, 3>& bias) const {
    return layer_.forward(x, {.attend = attend_, .bias = bias});
  }
  Tensor<T, 3> forward(const Tensor<T, 3>& x, const Tensor<T, 3>& bias, Cache& cache) const {
    return layer_.forward(x, {.attend = attend_, .bias = bias}, cache);
  }
  std::tuple<Tensor<T, 3>, Tensor<T, 3>> backward(const TensorView<const T, 3>& dy, Cache& cache) {
    Tensor<T, 3> d_bias({layer_.options().num_heads, dy.size(1), dy.size(1)});
    auto dx = layer_.backward(dy, cache, {.d_bias = d_bias.data()});
    return {std::move(dx), std::move(d_bias)};
  }
  template <class U>
  SelfWithBias<U> rebind() const {
    return SelfWithBias<U>(layer_.template rebind<U>(), attend_.size(0));
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("SelfWithBias");
    visitor.child("attention", self.layer_);
  }

 private:
  MultiHeadAttention<T> layer_;
  Tensor<bool, 2> attend_;
};

/// What the definition says, with plain loops in double: y of self- or cross-attention without masks.
Tensor<double, 3> plain(
    MultiHeadAttention<double> layer, const Tensor<double, 3>& q, const Tensor<double, 3>& k, const Tensor<double, 3>& v) {
  const Index e = layer.options().embed_dim, heads = layer.options().num_heads, width = e / heads;
  const Index g = width * layer.options().num_kv_heads, group = heads / layer.options().num_kv_heads;
  const double *w[3] = {}, *b = nullptr, *w_out = nullptr, *b_out = nullptr;
  for (auto& [name, p] : named_parameters(layer)) {
    if (name == "in_proj_weight") w[0] = p->value(), w[1] = w[0] + e * e, w[2] = w[1] + g * e;
    if (name == "q_proj_weight") w[0] = p->value();
    if (name == "k_proj_weight") w[1] = p->value();
    if (name == "v_proj_weight") w[2] = p->value();
    if (name == "in_proj_bias") b = p->value();
    if (name == "out_proj.weight") w_out = p->value();
    if (name == "out_proj.bias") b_out = p->value();
  }
  const auto project = [&](const Tensor<double, 3>& x, Index part) {
    const Index first = part == 0 ? 0 : e + (part - 1) * g, rows = part == 0 ? e : g;
    Tensor<double, 3> r({x.size(0), x.size(1), rows});
    for (Index row = 0; row < x.rows(); ++row)
      for (Index o = 0; o < rows; ++o) {
        double sum = b ? b[first + o] : 0;
        for (Index i = 0; i < x.features(); ++i) sum += w[part][o * x.features() + i] * x[row * x.features() + i];
        r[row * rows + o] = sum;
      }
    return r;
  };
  const auto pq = project(q, 0), pk = project(k, 1), pv = project(v, 2);
  Tensor<double, 3> y(q.shape());
  for (Index n = 0; n < q.size(0); ++n)
    for (Index i = 0; i < q.size(1); ++i) {
      std::vector<double> context(static_cast<std::size_t>(e));
      for (Index h = 0; h < heads; ++h) {
        std::vector<double> p;
        double sum = 0;
        const Index shift = (h / group - h) * width;  // to the head of keys that h uses
        for (Index j = 0; j < k.size(1); ++j) {
          double score = 0;
          for (Index d = h * width; d < (h + 1) * width; ++d) score += pq(n, i, d) * pk(n, j, d + shift);
          p.push_back(std::exp(score / std::sqrt(static_cast<double>(width))));
          sum += p.back();
        }
        for (Index j = 0; j < k.size(1); ++j)
          for (Index d = h * width; d < (h + 1) * width; ++d)
            context[static_cast<std::size_t>(d)] += p[static_cast<std::size_t>(j)] / sum * pv(n, j, d + shift);
      }
      for (Index o = 0; o < e; ++o) {
        y(n, i, o) = b_out ? b_out[o] : 0;
        for (Index d = 0; d < e; ++d) y(n, i, o) += w_out[o * e + d] * context[static_cast<std::size_t>(d)];
      }
    }
  return y;
}

}  // namespace

TEST_CASE("MultiHeadAttention: certificate of self-attention", "[multi_head_attention]") {
  const auto certify = [](const Options& options, const Shape& shape) {
    const auto report = check_gradients(with_random_parameters(MultiHeadAttention<double>(options), 3), shape);
    INFO("input " << shape.to_string() << "\n" << report.to_string());
    REQUIRE(report.passed());
  };
  certify({.embed_dim = 6, .num_heads = 2}, {2, 5, 6});
  certify({.embed_dim = 1, .num_heads = 1}, {1, 1, 1});
  certify({.embed_dim = 4, .num_heads = 4, .bias = false}, {2, 3, 4});  // head width 1
  certify({.embed_dim = 6, .num_heads = 1}, {1, 15, 6});
  certify({.embed_dim = 6, .num_heads = 3, .dropout = 0.3, .causal = true}, {2, 4, 6});
  certify({.embed_dim = 4, .num_heads = 2, .add_bias_kv = true}, {2, 3, 4});
  certify({.embed_dim = 8, .num_heads = 4, .dropout = 0.2, .causal = true, .num_kv_heads = 2}, {2, 5, 8});
  certify({.embed_dim = 6, .num_heads = 3, .add_bias_kv = true, .add_zero_attn = true, .num_kv_heads = 1}, {2, 3, 6});
  certify({.embed_dim = 8, .num_heads = 2, .rotary = RotaryEmbeddingOptions{}}, {2, 5, 8});
  certify({.embed_dim = 6, .num_heads = 3, .causal = true, .alibi = true}, {2, 5, 6});
  certify({.embed_dim = 8, .num_heads = 4, .add_bias_kv = true, .num_kv_heads = 2, .alibi = true}, {1, 4, 8});
  certify(
      {.embed_dim = 12, .num_heads = 4, .causal = true, .num_kv_heads = 2, .rotary = RotaryEmbeddingOptions{.rotary_dim = 2}}, {2, 4, 12});
  certify({.embed_dim = 4, .num_heads = 2, .dropout = 0.2, .add_bias_kv = true, .add_zero_attn = true, .causal = true}, {2, 3, 4});
}

TEST_CASE("MultiHeadAttention: certificate of cross-attention", "[multi_head_attention]") {
  const auto certify = [](const Options& options, const std::array<Shape, 3>& shapes, const Tensor<bool, 2>& keys) {
    const auto report = check_gradients(Cross<double>(with_random_parameters(MultiHeadAttention<double>(options), 3), keys), shapes);
    INFO(report.to_string());
    REQUIRE(report.passed());
  };
  Tensor<bool, 2> keys({2, 5});
  keys.fill(true);
  certify({.embed_dim = 6, .num_heads = 3}, {Shape{2, 4, 6}, Shape{2, 5, 6}, Shape{2, 5, 6}}, keys);
  keys(0, 0) = keys(0, 4) = false;
  for (Index j = 0; j < 5; ++j) keys(1, j) = false;  // a whole sequence without keys
  certify({.embed_dim = 6, .num_heads = 3, .kdim = 5, .vdim = 7}, {Shape{2, 4, 6}, Shape{2, 5, 5}, Shape{2, 5, 7}}, keys);
  certify({.embed_dim = 6, .num_heads = 2, .add_bias_kv = true, .add_zero_attn = true, .causal = true},
      {Shape{2, 4, 6}, Shape{2, 5, 6}, Shape{2, 5, 6}}, keys);
  certify(
      {.embed_dim = 8, .num_heads = 4, .kdim = 3, .vdim = 5, .num_kv_heads = 2}, {Shape{2, 4, 8}, Shape{2, 5, 3}, Shape{2, 5, 5}}, keys);
  certify({.embed_dim = 8, .num_heads = 4, .num_kv_heads = 2, .rotary = RotaryEmbeddingOptions{.base = 20, .interleaved = true}},
      {Shape{2, 4, 8}, Shape{2, 5, 8}, Shape{2, 5, 8}}, keys);
}

TEST_CASE("MultiHeadAttention: certificate of the gradient of the bias", "[multi_head_attention]") {
  for (const Options& options : {Options{.embed_dim = 6, .num_heads = 2}, Options{.embed_dim = 8, .num_heads = 4, .num_kv_heads = 2},
           Options{.embed_dim = 4, .num_heads = 2, .add_bias_kv = true, .add_zero_attn = true, .causal = true}}) {
    const auto layer = with_random_parameters(MultiHeadAttention<double>(options), 3);
    const std::array<Shape, 2> shapes{Shape{3, 4, options.embed_dim}, Shape{options.num_heads, 4, 4}};
    const auto report = check_gradients(SelfWithBias<double>(layer, 4), shapes);
    INFO(report.to_string());
    REQUIRE(report.passed());
  }
}

TEST_CASE("MultiHeadAttention: certificate of the gradient through the weights, with every mask", "[multi_head_attention]") {
  Tensor<bool, 4> attend({2, 2, 4, 4});
  for (Index i = 0; i < attend.size(); ++i) attend[i] = i % 5 != 2;
  for (Index j = 0; j < 4; ++j) attend(1, 0, 2, j) = false;
  Tensor<bool, 2> keys({2, 4});
  keys.fill(true), keys(1, 3) = false;
  const auto bias = random_tensor<double, 2>({4, 4}, 12);
  for (bool averaged : {false, true})
    for (bool zero : {false, true}) {
      const auto layer = with_random_parameters(
          MultiHeadAttention<double>({.embed_dim = 4, .num_heads = 2, .dropout = 0.2, .add_bias_kv = zero, .add_zero_attn = zero}), 3);
      const SelfWithWeights<double> wrapped(layer, averaged, attend, keys, bias);
      const std::array<Tensor<double, 3>, 1> x{random_tensor<double, 3>({2, 4, 4}, 4)};
      const auto report = check_gradients(wrapped, wrapped.rebind<CertificateDual>(), x);
      INFO("averaged " << averaged << ", appended keys " << zero << "\n" << report.to_string());
      REQUIRE(report.passed());
    }
}

TEMPLATE_TEST_CASE("MultiHeadAttention: the definition in plain loops", "[multi_head_attention]", float, double) {
  for (const Options& options : {Options{.embed_dim = 12, .num_heads = 3}, Options{.embed_dim = 8, .num_heads = 1, .bias = false},
           Options{.embed_dim = 12, .num_heads = 4, .kdim = 5, .vdim = 9}, Options{.embed_dim = 24, .num_heads = 6, .num_kv_heads = 2},
           Options{.embed_dim = 12, .num_heads = 4, .kdim = 7, .num_kv_heads = 1}}) {
    const auto exact_layer = with_random_parameters(MultiHeadAttention<double>(options), 3);
    const auto layer = exact_layer.template rebind<TestType>();
    const Index kdim = exact_layer.options().kdim, vdim = exact_layer.options().vdim;
    const auto q = random_tensor<double, 3>({2, 5, options.embed_dim}, 1), k = random_tensor<double, 3>({2, 7, kdim}, 2),
               v = random_tensor<double, 3>({2, 7, vdim}, 3);
    const auto as = [](const Tensor<double, 3>& x) {
      Tensor<TestType, 3> r(x.shape());
      for (Index i = 0; i < x.size(); ++i) r[i] = static_cast<TestType>(x[i]);
      return r;
    };
    const double tolerance = sizeof(TestType) == 4 ? 5e-6 : 1e-13;
    CHECK(largest_difference(layer.forward(as(q), as(k), as(v)), plain(exact_layer, q, k, v)) < tolerance);
    if (kdim == options.embed_dim && vdim == kdim) {
      CHECK(largest_difference(layer.forward(as(q)), plain(exact_layer, q, q, q)) < tolerance);
      typename MultiHeadAttention<TestType>::Cache cache;
      const auto x = as(q);
      CHECK(same_bits(layer.forward(x, cache), layer.forward(x)));
    }
  }
}

TEST_CASE("MultiHeadAttention: rotary attention is its parts", "[multi_head_attention]") {
  const RotaryEmbeddingOptions rotary{.head_dim = 4, .base = 50};
  auto layer =
      with_random_parameters(MultiHeadAttention<double>({.embed_dim = 16, .num_heads = 4, .num_kv_heads = 2, .rotary = rotary}), 3);
  const auto x = random_tensor<double, 3>({2, 7, 16}, 1);
  const RotaryEmbedding<double> turn(rotary);
  const double *weight = nullptr, *bias = nullptr;
  for (auto& [name, p] : named_parameters(layer)) {
    if (name == "in_proj_weight") weight = p->value();
    if (name == "in_proj_bias") bias = p->value();
  }
  const auto project = [&](Index first, Index rows) {
    Linear<double> linear({.in_features = 16, .out_features = rows});
    std::copy_n(weight + first * 16, rows * 16, linear.weight().value());
    std::copy_n(bias + first, rows, linear.bias().value());
    return linear.forward(x);
  };
  const ScaledDotProductAttention<double> attention({.num_heads = 4, .num_kv_heads = 2});
  const auto context = attention.forward(turn.forward(project(0, 16)), turn.forward(project(16, 8)), project(24, 8));
  CHECK(largest_difference(layer.forward(x), layer.out_proj().forward(context)) < 1e-13);
  CHECK(largest_difference(layer.forward(x, x, x), layer.out_proj().forward(context)) < 1e-13);
  CHECK_THROWS_WITH(MultiHeadAttention<double>({.embed_dim = 16, .num_heads = 2, .rotary = rotary}), contains("rotary.head_dim is 4"));
}

TEST_CASE("MultiHeadAttention: alibi is a bias of distances", "[multi_head_attention]") {
  const Options options{.embed_dim = 12, .num_heads = 6, .causal = true, .num_kv_heads = 3};
  Options distances = options;
  distances.alibi = true;
  const auto layer = with_random_parameters(MultiHeadAttention<double>(distances), 3);
  const auto without = with_random_parameters(MultiHeadAttention<double>(options), 3);
  const auto x = random_tensor<double, 3>({2, 7, 12}, 1);
  const auto bias = alibi_bias<double>(alibi_slopes<double>(6), 7, 7);
  CHECK(largest_difference(layer.forward(x), without.forward(x, {.bias = bias})) < 1e-13);
  CHECK(largest_difference(layer.forward(x), without.forward(x)) > 1e-3);

  // The gradient of slopes that are learned, against differences.
  const auto dy = random_tensor<double, 3>(x.shape(), 2);
  auto slopes = random_tensor<double, 1>({6}, 3, 0, 1);
  MultiHeadAttention<double> trained = without;
  MultiHeadAttention<double>::Cache cache;
  trained.forward(x, {.slopes = slopes.span()}, cache);
  Tensor<double, 1> d_slopes({6});
  trained.backward(dy, cache, {.d_slopes = d_slopes.data()});
  const auto value = [&] {
    const auto y = trained.forward(x, {.slopes = slopes.span()});
    double sum = 0;
    for (Index i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  for (Index h = 0; h < 6; ++h) {
    const double step = 1e-5;
    slopes[h] += step;
    const double above = value();
    slopes[h] -= 2 * step;
    CHECK(d_slopes[h] == Approx((above - value()) / (2 * step)).epsilon(1e-6).margin(1e-8));
    slopes[h] += step;
  }
}

TEST_CASE("MultiHeadAttention: one item is the same alone, and threads change nothing", "[multi_head_attention]") {
  const auto layer = with_random_parameters(MultiHeadAttention<float>({.embed_dim = 24, .num_heads = 3, .dropout = 0.1}), 3);
  reference::check_layer_rules<3>(layer, {3, 17, 24});
  reference::check_layer_rules<3>(layer, {2, 1, 24});
}

TEST_CASE("MultiHeadAttention: weights, padding and rows without keys", "[multi_head_attention]") {
  const auto layer = with_random_parameters(MultiHeadAttention<double>({.embed_dim = 6, .num_heads = 2}), 3);
  auto x = random_tensor<double, 3>({2, 4, 6}, 1);
  Tensor<bool, 2> padding({2, 4});  // torch's: true = ignore
  padding(0, 3) = true;
  for (Index j = 0; j < 4; ++j) padding(1, j) = true;
  const TorchAttentionMask<double> torch(padding);
  Tensor<double, 4> weights;
  const auto y = layer.forward(x, torch.mask(), &weights);
  CHECK(weights.shape() == Shape{2, 2, 4, 4});
  for (Index h = 0; h < 2; ++h)
    for (Index i = 0; i < 4; ++i) {
      double sum = 0;
      for (Index j = 0; j < 4; ++j) {
        sum += weights(0, h, i, j);
        CHECK(weights(1, h, i, j) == 0);
      }
      CHECK(sum == Approx(1));
      CHECK(weights(0, h, i, 3) == 0);
    }
  const auto mean = MultiHeadAttention<double>::average_over_heads(weights);
  CHECK(mean(0, 1, 2) == Approx((weights(0, 0, 1, 2) + weights(0, 1, 1, 2)) / 2));
  for (Index i = 0; i < 4; ++i)
    for (Index d = 0; d < 6; ++d) CHECK(y(1, i, d) == layer.out_proj().bias().value()[d]);  // torch: NaN
  // What is padded away may be NaN, as far as its own row is not looked at.
  for (Index d = 0; d < 6; ++d) x(0, 3, d) = NAN;
  const auto with_nan = layer.forward(x, torch.mask());
  for (Index i = 0; i < 3; ++i)
    for (Index d = 0; d < 6; ++d) CHECK(with_nan(0, i, d) == y(0, i, d));
}

TEST_CASE("MultiHeadAttention: appended keys are attended beside short masks that are as long as the keys", "[multi_head_attention]") {
  const MultiHeadAttention<double> layer(
      {.embed_dim = 2, .add_zero_attn = true});  // without a learned difference all scores with a zero key are 0
  const Tensor<double, 3> x({1, 2, 2});
  const Tensor<double, 2> bias({2, 2}), short_bias({2, 1});
  Tensor<double, 4> weights;
  layer.forward(x, {.bias = bias, .short_masks = true}, &weights);
  for (Index j = 0; j < 3; ++j) CHECK(weights(0, 0, 0, j) == Approx(1 / 3.0));
  layer.forward(x, {.bias = short_bias, .short_masks = true}, &weights);
  CHECK(weights(0, 0, 1, 0) == Approx(0.5));
  CHECK(weights(0, 0, 1, 1) == 0);
  CHECK(weights(0, 0, 1, 2) == Approx(0.5));
}

TEST_CASE("MultiHeadAttention: nothing has gradients of nothing", "[multi_head_attention]") {
  MultiHeadAttention<double> layer({.embed_dim = 2});
  MultiHeadAttention<double>::Cache cache;
  const Tensor<double, 3> x({0, 3, 2});
  const Tensor<double, 2> bias({3, 3});
  Tensor<double, 2> d_bias({3, 3});
  const auto y = layer.forward(x, {.bias = bias}, cache, true);
  CHECK_NOTHROW(layer.backward(y, cache, {.d_weights = cache.weights, .d_bias = d_bias.data()}));
}

TEST_CASE("MultiHeadAttention: names, shapes and start of the parameters are torch's", "[multi_head_attention]") {
  MultiHeadAttention<float> layer({.embed_dim = 8, .num_heads = 2, .add_bias_kv = true});
  std::string names;
  for (auto& [name, p] : named_parameters(layer)) names += name + " " + p->shape().to_string() + "; ";
  CHECK(names == "in_proj_weight 24x8; in_proj_bias 24; bias_k 1x1x8; bias_v 1x1x8; out_proj.weight 8x8; out_proj.bias 8; ");
  for (Index i = 0; i < 8; ++i) CHECK(layer.out_proj().bias().value()[i] == 0);
  MultiHeadAttention<float> separate({.embed_dim = 8, .num_heads = 2, .bias = false, .kdim = 3});
  names.clear();
  for (auto& [name, p] : named_parameters(separate)) names += name + " " + p->shape().to_string() + "; ";
  CHECK(names == "q_proj_weight 8x8; k_proj_weight 8x3; v_proj_weight 8x8; out_proj.weight 8x8; ");
  MultiHeadAttention<float> grouped({.embed_dim = 12, .num_heads = 6, .num_kv_heads = 2});  // heads of 2 features
  names.clear();
  for (auto& [name, p] : named_parameters(grouped)) names += name + " " + p->shape().to_string() + "; ";
  CHECK(names == "in_proj_weight 20x12; in_proj_bias 20; out_proj.weight 12x12; out_proj.bias 12; ");
}

TEST_CASE("MultiHeadAttention: an observer sees the weights of inference", "[multi_head_attention]") {
  struct Count : AttentionObserver {
    Shape shape;
    void seen(const TensorView<const float, 4>& weights) override { shape = weights.shape(); }
  } count;
  MultiHeadAttention<float>({.embed_dim = 4, .num_heads = 2}).forward(random_tensor<float, 3>({1, 3, 4}, 1));
  CHECK(count.shape == Shape{1, 2, 3, 3});
}

TEST_CASE("MultiHeadAttention: errors are sentences", "[multi_head_attention]") {
  CHECK_THROWS_WITH(
      MultiHeadAttention<float>({.embed_dim = 7, .num_heads = 2}), contains("embed_dim (7) must be a positive multiple of num_heads (2)"));
  CHECK_THROWS_AS(MultiHeadAttention<float>({.embed_dim = 4, .dropout = -0.1}), std::invalid_argument);
  CHECK_THROWS_WITH(MultiHeadAttention<float>({.embed_dim = 12, .num_heads = 6, .num_kv_heads = 4}),
      contains("num_heads (6) must be a multiple of num_kv_heads (4)"));
  CHECK_THROWS_AS(MultiHeadAttention<float>({.embed_dim = 12, .num_heads = 6, .num_kv_heads = -2}), std::invalid_argument);
  MultiHeadAttention<float> layer({.embed_dim = 4, .num_heads = 2});
  CHECK_THROWS_WITH(layer.output_shape({2, 3, 5}), contains("must have embed_dim = 4"));
  CHECK_THROWS_WITH(layer.output_shape({2, 3, 4}, {2, 5, 4}, {2, 6, 4}), contains("as many tokens in k as in v"));
  const auto x = random_tensor<float, 3>({2, 3, 4}, 1);
  MultiHeadAttention<float>::Cache cache;
  layer.forward(x, cache);
  float d_bias = 0;
  CHECK_THROWS_WITH(layer.backward(x, cache, {.d_bias = &d_bias}), contains("forward had none"));
  CHECK_THROWS_WITH(layer.backward(x, cache, {.d_slopes = &d_bias}), contains("gradient of slopes"));
  CHECK_THROWS_WITH(layer.backward_cross(x, cache), contains("after forward(x, cache) it is backward"));
  CHECK_THROWS_AS(layer.backward(random_tensor<float, 3>({2, 4, 4}, 1), cache), ShapeError);
  Tensor<bool, 2> mask({4, 3});
  CHECK_THROWS_AS(layer.forward(x, {.attend = mask}), ShapeError);
}

TEST_CASE("MultiHeadAttention refuses a cache that no forward has filled") {
  MultiHeadAttention<float> layer({.embed_dim = 2});
  MultiHeadAttention<float>::Cache cache;
  const Tensor<float, 3> dy({1, 1, 2});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("MultiHeadAttention: backward follows one forward"));
  CHECK_THROWS_WITH(layer.backward_cross(dy, cache), contains("MultiHeadAttention: backward follows one forward"));
  CHECK_THROWS_WITH(MultiHeadAttention<float>({.embed_dim = 4, .kdim = -3}), contains("MultiHeadAttention: kdim (-3)"));
  CHECK_THROWS_WITH(MultiHeadAttention<float>({.embed_dim = 4, .vdim = -3}), contains("vdim (-3)"));

  layer.forward(dy, cache);
  layer.backward(dy, cache);
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("has been used already"));
  layer.forward(dy, dy, dy, {}, cache);
  float nothing = 0;
  const auto before = std::as_const(layer.out_proj()).bias().gradient()[0];
  CHECK_THROWS_WITH(layer.backward_cross(dy, cache, {.d_bias = &nothing}), contains("forward had none"));
  CHECK(std::as_const(layer.out_proj()).bias().gradient()[0] == before);  // what is refused adds nothing
  layer.backward_cross(dy, cache);
  CHECK_THROWS_WITH(layer.backward_cross(dy, cache), contains("has been used already"));
  MultiHeadAttention<float> eight({.embed_dim = 16, .num_heads = 8}), two({.embed_dim = 16, .num_heads = 2});
  const Tensor<float, 3> x({1, 3, 16});
  eight.forward(x, cache);
  CHECK_THROWS_WITH(two.backward(x, cache), contains("the cache is of a layer of 8 heads (8 of keys), this one has 2 (2)"));
  CHECK_THROWS_WITH(
      layer.backward(x, cache), contains("MultiHeadAttention: the cache has seen an input of 16 features, this layer takes 2"));
}

TEST_CASE("MultiHeadAttention: projections start Xavier-uniform, appended keys Xavier-normal, biases at zero", "[multi_head_attention]") {
  const SeedScope seed(1);
  const auto largest = [](const Parameter<double>& p) {
    double most = 0;
    for (Index i = 0; i < p.size(); ++i) most = std::max(most, std::abs(p.value()[i]));
    return most;
  };
  MultiHeadAttention<double> packed({.embed_dim = 64, .num_heads = 4, .num_kv_heads = 2}),
      separate({.embed_dim = 64, .num_heads = 4, .kdim = 30, .vdim = 50}),
      appended({.embed_dim = 1000, .num_heads = 4, .add_bias_kv = true});
  for (auto& [name, p] : named_parameters(packed)) {
    if (name == "in_proj_weight") CHECK(largest(*p) == Approx(std::sqrt(6.0 / (128 + 64))).epsilon(0.01));
    if (name == "out_proj.weight") CHECK(largest(*p) == Approx(1 / 8.0).epsilon(0.01));
    if (name.ends_with("bias")) CHECK(largest(*p) == 0);
  }
  for (auto& [name, p] : named_parameters(separate)) {
    if (name == "q_proj_weight") CHECK(largest(*p) == Approx(std::sqrt(6.0 / (64 + 64))).epsilon(0.01));
    if (name == "k_proj_weight") CHECK(largest(*p) == Approx(std::sqrt(6.0 / (64 + 30))).epsilon(0.01));
    if (name == "v_proj_weight") CHECK(largest(*p) == Approx(std::sqrt(6.0 / (64 + 50))).epsilon(0.01));
  }
  for (auto& [name, p] : named_parameters(appended)) {
    if (name != "bias_k" && name != "bias_v") continue;
    double squares = 0;
    for (Index i = 0; i < 1000; ++i) squares += p->value()[i] * p->value()[i] / 1000;
    CHECK(std::sqrt(squares) == Approx(1 / std::sqrt(1000.0)).epsilon(0.1));  // (1, 1, 1000): both fans are 1000
  }
}

TEST_CASE("MultiHeadAttention: frozen parameters get no gradient, the input does", "[multi_head_attention]") {
  auto layer = with_random_parameters(MultiHeadAttention<double>({.embed_dim = 6, .num_heads = 2, .add_bias_kv = true}), 3);
  layer.freeze();
  const auto report = check_gradients(layer, Shape{2, 4, 6});
  INFO(report.to_string());
  CHECK(report.passed());
}

TEST_CASE("MultiHeadAttention: the past of a mask where the layer knows better", "[multi_head_attention]") {
  const auto x = random_tensor<double, 3>({1, 5, 8}, 1);
  const auto layer = with_random_parameters(MultiHeadAttention<double>({.embed_dim = 8, .num_heads = 2, .causal = true}), 3);
  auto past = layer.decode_state(1, 8);
  layer.decode(x, past);
  CHECK_THROWS_WITH(
      layer.decode(x.slice(0, 1), past, {.past = 5}), contains("finds the past in its cache, 5 tokens; the mask's past is 5"));
  CHECK(past.length() == 5);
  const auto turned = with_random_parameters(
      MultiHeadAttention<double>(
          {.embed_dim = 8, .num_heads = 2, .causal = true, .rotary = RotaryEmbeddingOptions{.head_dim = 4, .max_positions = 5}}),
      3);
  CHECK_THROWS_WITH(turned.forward(x, x, x, {.past = 2}), contains("turns queries as tokens 0, 1, ...; the mask's past is 2"));
  CHECK(turned.output_shape({1, 5, 8}) == Shape{1, 5, 8});
  CHECK_THROWS_WITH(turned.output_shape({1, 6, 8}), contains("raise max_positions"));
  CHECK_THROWS_AS(turned.output_shape({1, 2, 8}, {1, 6, 8}, {1, 6, 8}), ShapeError);
}

TEST_CASE("MultiHeadAttention: a cache whose last forward refused its mask has nothing for backward", "[multi_head_attention]") {
  const auto x = random_tensor<double, 3>({1, 3, 8}, 1), other = random_tensor<double, 3>({1, 3, 8}, 2);
  auto layer = with_random_parameters(MultiHeadAttention<double>({.embed_dim = 8, .num_heads = 2}), 3);
  MultiHeadAttention<double>::Cache cache;
  const auto y = layer.forward(x, cache);
  const Tensor<bool, 2> wrong({4, 4});
  CHECK_THROWS_AS(layer.forward(other, {.attend = wrong}, cache), ShapeError);
  CHECK_THROWS_WITH(layer.backward(y, cache), contains("never filled"));
}
