// SPDX-License-Identifier: MIT
#include <array>
#include <limits>

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

struct Relative {
  bool causal = false, lengths = false, bottom_right = false, shared_by_heads = false;
  Index past = 0;
};

/// The layer with a table of relative positions, (1, 1, heads, queries + keys - 1), and slopes, (1, 1, 1, heads), as inputs; grouped queries, a soft
/// cap and dropout besides.
template <class T>
class RelativePositions : public LayerBase<RelativePositions<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 4;
  struct Cache {
    typename ScaledDotProductAttention<T>::Cache attention;
    TensorView<const T, 4> table, slopes;
  };

  explicit RelativePositions(const Relative& relative)
      : relative_(relative),
        layer_({.softcap = 1.5,
            .causal = relative.causal,
            .alignment = relative.bottom_right ? CausalAlignment::bottom_right : CausalAlignment::top_left,
            .dropout = 0.2}) {}

  Tensor<T, 4> forward(
      const Tensor<T, 4>& q, const Tensor<T, 4>& k, const Tensor<T, 4>& v, const Tensor<T, 4>& table, const Tensor<T, 4>& slopes) const {
    return layer_.forward(q, k, v, mask(q.shape(), k.shape(), table, slopes));
  }
  Tensor<T, 4> forward(const Tensor<T, 4>& q, const Tensor<T, 4>& k, const Tensor<T, 4>& v, const Tensor<T, 4>& table,
      const Tensor<T, 4>& slopes, Cache& cache) const {
    cache.table = table, cache.slopes = slopes;
    return layer_.forward(q, k, v, mask(q.shape(), k.shape(), table, slopes), cache.attention);
  }
  auto backward(const TensorView<const T, 4>& dy, Cache& cache) {
    Tensor<T, 4> d_table(cache.table.shape()), d_slopes(cache.slopes.shape());
    auto d = layer_.backward(dy, cache.attention, {.d_bias = d_table.data() + cache.attention.q[2] - 1, .d_slopes = d_slopes.data()});
    return std::tuple_cat(std::move(d), std::make_tuple(std::move(d_table), std::move(d_slopes)));
  }
  template <class U>
  RelativePositions<U> rebind() const {
    return RelativePositions<U>(relative_);
  }
  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("RelativePositions");
  }

 private:
  AttentionMask<T> mask(const Shape& q, const Shape& k, const TensorView<const T, 4>& table, const TensorView<const T, 4>& slopes) const {
    const Index first = q[2] - 1;  // key - query = 0
    const kernels::MaskRef<const T> diagonals{table.data() + first, 0, relative_.shared_by_heads ? 0 : table.features(), -1, 1};
    AttentionMask<T> m{.bias = MaskView<T>(diagonals, {1, relative_.shared_by_heads ? 1 : q[1], q[2], k[2]}),
        .slopes = slopes.span(),
        .past = relative_.past};
    if (relative_.lengths) m.key_lengths = lengths_;
    return m;
  }

  Relative relative_;
  std::array<Index, 3> lengths_{7, 0, 3};
  ScaledDotProductAttention<T> layer_;
};

template <class T, int Rank>
double largest_error(const Tensor<T, Rank>& given, const std::vector<double>& exact) {
  double worst = given.size() == static_cast<Index>(exact.size()) ? 0 : HUGE_VAL;
  for (Index i = 0; i < given.size() && worst < HUGE_VAL; ++i) {
    const double error = std::abs(static_cast<double>(given[i]) - exact[static_cast<std::size_t>(i)]);
    worst = std::isnan(error) ? HUGE_VAL : std::max(worst, error);
  }
  return worst;
}

/// A call of the layer with random shapes, options and masks, drawn from a number.
template <class T>
class RandomCall {
 public:
  Tensor<T, 4> q, k, v, dy;
  AttentionMask<T> mask;

  explicit RandomCall(std::uint64_t seed) : random_({seed, 7}) {
    const Index batches = 1 + draw(3), kv_heads = 1 + draw(2), heads = kv_heads * (1 + draw(2));
    constexpr Index kTokens[] = {1, 2, 3, 8, 13, 14, 15, 17, 33}, kWidths[] = {1, 2, 5, 8, 9, 16};
    const Index queries = kTokens[draw(9)], keys = kTokens[draw(9)], width = kWidths[draw(6)], value_width = kWidths[draw(6)];
    const auto tensor = [&](const Shape& shape) { return random_tensor<T, 4>(shape, seed * 10 + static_cast<std::uint64_t>(count_++)); };
    q = tensor({batches, heads, queries, width}), k = tensor({batches, kv_heads, keys, width});
    v = tensor({batches, kv_heads, keys, value_width}), dy = tensor({batches, heads, queries, value_width});
    options_ = {.softcap = draw(3) == 0 ? 1.3 : 0.0,
        .causal = draw(2) == 0,
        .alignment = draw(2) ? CausalAlignment::bottom_right : CausalAlignment::top_left,
        .dropout = draw(4) == 0 ? 0.3 : 0.0};
    if (options_.alignment == CausalAlignment::top_left) mask.past = draw(3) * draw(3);
    mask.short_masks = draw(4) == 0;
    const auto axis = [&](Index size) { return draw(3) == 0 ? 1 : size; };
    const Index mask_keys = mask.short_masks ? 1 + draw(static_cast<std::uint64_t>(keys)) : keys;
    if (draw(2)) {
      attend_ = Tensor<bool, 4>({axis(batches), axis(heads), axis(queries), mask_keys});
      for (Index i = 0; i < attend_.size(); ++i) attend_[i] = draw(5) > 1;
      if (draw(3) == 0) std::fill_n(attend_.data(), mask_keys, false);
      mask.attend = attend_;
    }
    if (draw(2)) {
      attend_keys_ = Tensor<bool, 2>({batches, mask_keys});
      for (Index i = 0; i < attend_keys_.size(); ++i) attend_keys_[i] = draw(5) > 0;
      mask.attend_keys = attend_keys_;
    }
    if (draw(3) == 0) {
      for (Index b = 0; b < batches; ++b) lengths_.push_back(draw(static_cast<std::uint64_t>(keys + 1)));
      mask.key_lengths = lengths_;
    }
    if (draw(3) == 0) {
      slopes_ = random_tensor<T, 1>({heads}, seed);
      mask.slopes = slopes_.span();
    }
    if (draw(4) == 0) {  // by key - query, one table for all
      bias_ = random_tensor<T, 4>({1, 1, 1, queries + keys - 1}, seed);
      bias_first_ = queries - 1;
      mask.bias = MaskView<T>({bias_.data() + bias_first_, 0, 0, -1, 1}, {1, 1, queries, keys});
    } else if (draw(2)) {
      bias_ = random_tensor<T, 4>({axis(batches), axis(heads), axis(queries), mask_keys}, seed);
      for (Index i = 0; i < bias_.size(); ++i)
        if (draw(6) == 0) bias_[i] = draw(2) ? T(-HUGE_VAL) : T(-2e30);
      mask.bias = bias_;
    }
  }
  RandomCall(const RandomCall&) = delete;
  RandomCall& operator=(const RandomCall&) = delete;

  /// Everything that the call gives.
  struct Results {
    Tensor<T, 4> y, weights, masked, dq, dk, dv, d_bias;
    Tensor<T, 1> d_slopes;
    typename ScaledDotProductAttention<T>::Cache cache;

    Results(const RandomCall& call, const Tensor<T, 4>& k, const Tensor<T, 4>& v) {
      if (!call.bias_.empty()) d_bias = Tensor<T, 4>(call.bias_.shape());
      if (!call.slopes_.empty()) d_slopes = Tensor<T, 1>(call.slopes_.shape());
      ScaledDotProductAttention<T> layer(call.options_);
      StepScope same_dropout(1, 2);
      const bool whole = call.options_.dropout == 0;
      y = std::as_const(layer).forward(call.q, k, v, call.mask, cache, true);
      weights = cache.weights;
      if (whole) REQUIRE(same_bits(std::as_const(layer).forward(call.q, k, v, call.mask), y));
      if (whole) REQUIRE(same_bits(layer.stage(AttentionStage::weights, call.q, k, call.mask), weights));
      masked = layer.stage(AttentionStage::masked, call.q, k, call.mask);
      std::tie(dq, dk, dv) = layer.backward(call.dy, cache,
          {.d_bias = call.mask.bias ? d_bias.data() + call.bias_first_ : nullptr,
              .d_slopes = call.slopes_.empty() ? nullptr : d_slopes.data()});
    }
  };

  AttentionReference reference(const kernels::Attention<T>& problem) const {
    const kernels::HeadRows<const T> rows{dy.data(), dy.size(1) * dy.size(2) * dy.size(3), dy.size(2) * dy.size(3), dy.size(3)};
    return attention_reference(problem, &rows);
  }
  /// NaN and infinities in every key and value that no query attends; how many there were.
  Index plant(const std::vector<double>& masked, Tensor<T, 4>& keys, Tensor<T, 4>& values) const {
    const Index heads = q.size(1), kv_heads = keys.size(1), tokens = keys.size(2);
    Index planted = 0;
    for (Index b = 0; b < keys.size(0); ++b)
      for (Index kv = 0; kv < kv_heads; ++kv)
        for (Index j = 0; j < tokens; ++j) {
          bool attended = false;
          for (Index h = kv * (heads / kv_heads); h < (kv + 1) * (heads / kv_heads); ++h)
            for (Index i = 0; i < q.size(2); ++i)
              attended |= masked[static_cast<std::size_t>(((b * heads + h) * q.size(2) + i) * tokens + j)] > -HUGE_VAL;
          if (attended) continue;
          const T poison[] = {T(NAN), T(HUGE_VAL), T(-HUGE_VAL)};
          std::fill_n(&keys(b, kv, j, 0), keys.features(), poison[planted % 3]);
          std::fill_n(&values(b, kv, j, 0), values.features(), poison[(planted + 1) % 3]);
          ++planted;
        }
    return planted;
  }

 private:
  Index draw(std::uint64_t count) { return static_cast<Index>(random_.below(count_++, count)); }

  Options options_;
  Tensor<bool, 4> attend_;
  Tensor<bool, 2> attend_keys_;
  Tensor<T, 4> bias_;
  Index bias_first_ = 0;
  Tensor<T, 1> slopes_;
  std::vector<Index> lengths_;
  CounterRandom random_;
  std::uint64_t count_ = 0;
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

TEST_CASE("ScaledDotProductAttention: certificate of a table of relative positions, slopes, lengths and a past",
    "[scaled_dot_product_attention]") {
  const Index tokens = 5, heads = 4, batches = 3;
  const Shape q{batches, heads, tokens, 3}, k{batches, 2, tokens + 2, 3}, v{batches, 2, tokens + 2, 2}, slopes{1, 1, 1, heads};
  const Shape table{1, 1, heads, 2 * tokens + 1};  // one number for each head and key - query
  for (const Relative& relative : {Relative{}, Relative{.lengths = true}, Relative{.causal = true, .past = 2},
           Relative{.causal = true, .lengths = true, .bottom_right = true}, Relative{.shared_by_heads = true, .past = 1}}) {
    const auto report = check_gradients(RelativePositions<double>(relative), std::array<Shape, 5>{q, k, v, table, slopes});
    INFO("causal " << relative.causal << ", lengths " << relative.lengths << ", bottom right " << relative.bottom_right << ", past "
                   << relative.past << "\n"
                   << report.to_string());
    REQUIRE(report.passed());
  }
}

TEMPLATE_TEST_CASE("ScaledDotProductAttention: what padding holds changes no bit of any option's outputs and gradients",
    "[scaled_dot_product_attention]", float, double) {
  using T = TestType;
  Index planted = 0, empty_rows = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const RandomCall<T> call(seed);
    const typename RandomCall<T>::Results clean(call, call.k, call.v);
    INFO("seed " << seed << ": q " << call.q.shape().to_string() << ", k " << call.k.shape().to_string());
    const AttentionReference exact = call.reference(clean.cache.problem);
    const double tolerance = (sizeof(T) == 4 ? 4e-5 : 2e-13) * clean.cache.problem.dropout.scale();
    REQUIRE(largest_error(clean.y, exact.y) < tolerance);
    REQUIRE(largest_error(clean.weights, exact.weights) < tolerance);
    REQUIRE(largest_error(clean.dq, exact.dq) < tolerance);
    REQUIRE(largest_error(clean.dk, exact.dk) < tolerance);
    REQUIRE(largest_error(clean.dv, exact.dv) < tolerance);
    if (call.mask.slopes.size() > 0) REQUIRE(largest_error(clean.d_slopes, exact.d_slopes) < tolerance * 20);
    const Index keys = clean.weights.features();
    for (Index row = 0; row < clean.weights.rows(); ++row) {  // a query without keys: exact zeros
      bool attends = false;
      for (Index j = 0; j < keys; ++j) attends |= exact.masked[static_cast<std::size_t>(row * keys + j)] > -HUGE_VAL;
      if (attends) continue;
      ++empty_rows;
      for (Index d = 0; d < clean.y.features(); ++d) REQUIRE(clean.y[row * clean.y.features() + d] == 0);
      for (Index d = 0; d < clean.dq.features(); ++d) REQUIRE(clean.dq[row * clean.dq.features() + d] == 0);
    }

    auto k = call.k, v = call.v;
    planted += call.plant(exact.masked, k, v);
    const typename RandomCall<T>::Results poisoned(call, k, v);
    REQUIRE(same_bits(clean.y, poisoned.y));
    REQUIRE(same_bits(clean.weights, poisoned.weights));
    REQUIRE(same_bits(clean.masked, poisoned.masked));
    REQUIRE(same_bits(clean.dq, poisoned.dq));
    REQUIRE(same_bits(clean.dk, poisoned.dk));
    REQUIRE(same_bits(clean.dv, poisoned.dv));
    REQUIRE(same_bits(clean.d_bias, poisoned.d_bias));
    REQUIRE(same_bits(clean.d_slopes, poisoned.d_slopes));
  }
  CHECK((planted > 1000 && empty_rows > 200));
}

TEMPLATE_TEST_CASE("ScaledDotProductAttention: the stages from scores to weights", "[scaled_dot_product_attention]", float, double) {
  using T = TestType;
  const auto q = random_tensor<T, 3>({2, 4, 6}, 1), k = random_tensor<T, 3>({2, 7, 6}, 2);
  const auto bias = random_tensor<T, 2>({4, 5}, 3);
  const std::array<T, 2> slopes{T(0.5), T(0.25)};
  const std::array<Index, 2> lengths{4, 7};
  const ScaledDotProductAttention<T> layer({.num_heads = 2, .softcap = 0.7, .causal = true, .alignment = CausalAlignment::bottom_right});
  const AttentionMask<T> mask{.bias = bias, .key_lengths = lengths, .slopes = slopes, .short_masks = true};
  Tensor<T, 4> weights;
  layer.forward(q, k, k, mask, &weights);
  CHECK(same_bits(layer.stage(AttentionStage::weights, q, k, mask), weights));
  const auto scaled = layer.stage(AttentionStage::scaled, q, k, mask), capped = layer.stage(AttentionStage::capped, q, k, mask),
             masked = layer.stage(AttentionStage::masked, q, k, mask);
  const auto near = [](double x) { return Approx(x).margin(1e-6); };
  for (Index b = 0; b < 2; ++b)
    for (Index h = 0; h < 2; ++h)
      for (Index i = 0; i < 4; ++i) {
        double sum = 0;
        for (Index j = 0; j < 7; ++j) {
          double score = 0;
          for (Index d = 0; d < 3; ++d) score += static_cast<double>(q(b, i, 3 * h + d)) * static_cast<double>(k(b, j, 3 * h + d));
          score /= std::sqrt(3.0);
          CHECK(static_cast<double>(scaled(b, h, i, j)) == near(score));
          CHECK(static_cast<double>(capped(b, h, i, j)) == near(0.7 * std::tanh(score / 0.7)));
          const Index position = i + (b == 0 ? 0 : 3);  // the last query stands at the last key
          if (j > position || j >= 5) {
            CHECK(masked(b, h, i, j) == T(-HUGE_VAL));
            CHECK(weights(b, h, i, j) == 0);
            continue;
          }
          const double expected =
              0.7 * std::tanh(score / 0.7) + static_cast<double>(bias(i, j)) - (h == 0 ? 0.5 : 0.25) * static_cast<double>(position - j);
          CHECK(static_cast<double>(masked(b, h, i, j)) == near(expected));
          sum += std::exp(expected);
        }
        for (Index j = 0; j < 7; ++j)
          CHECK(static_cast<double>(weights(b, h, i, j)) == near(std::exp(static_cast<double>(masked(b, h, i, j))) / sum));
      }
}

TEST_CASE("ScaledDotProductAttention: a past of a cache's keys is what the queries behind it see", "[scaled_dot_product_attention]") {
  const auto q = random_tensor<double, 4>({1, 2, 7, 3}, 1), k = random_tensor<double, 4>({1, 2, 7, 3}, 2),
             v = random_tensor<double, 4>({1, 2, 7, 3}, 3);
  const std::array<double, 2> slopes{0.5, 0.25};
  const ScaledDotProductAttention<double> layer({.causal = true});
  const auto whole = layer.forward(q, k, v, {.slopes = slopes});
  Tensor<double, 4> last({1, 2, 3, 3});  // queries 4, 5 and 6
  for (Index h = 0; h < 2; ++h) std::copy_n(&q(0, h, 4, 0), 9, &last(0, h, 0, 0));
  const auto y = layer.forward(last, k, v, {.slopes = slopes, .past = 4});
  for (Index h = 0; h < 2; ++h)
    for (Index i = 0; i < 3; ++i)
      for (Index d = 0; d < 3; ++d) CHECK(y(0, h, i, d) == whole(0, h, i + 4, d));
  const ScaledDotProductAttention<double> aligned({.causal = true, .alignment = CausalAlignment::bottom_right});
  CHECK(same_bits(aligned.forward(last, k, v, {.slopes = slopes}), y));
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
  float slope = 0;
  CHECK_THROWS_WITH(own.backward(x, cache, {.d_slopes = &slope}), contains("gradient of slopes"));
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

TEST_CASE("ScaledDotProductAttention: nothing has gradients of nothing") {
  ScaledDotProductAttention<float> layer;
  ScaledDotProductAttention<float>::Cache cache;
  const Tensor<float, 4> q({0, 1, 2, 2});
  const Tensor<float, 2> bias({2, 2});
  Tensor<float, 2> d_bias({2, 2});
  const auto y = layer.forward(q, q, q, {.bias = bias}, cache, true);
  CHECK_NOTHROW(layer.backward(y, cache, {.d_weights = cache.weights, .d_bias = d_bias.data()}));
}

TEMPLATE_TEST_CASE("ScaledDotProductAttention: very low scores are scores, as far as docs/notation.md says", "", float, double) {
  const ScaledDotProductAttention<TestType> layer({.scale = 1});
  Tensor<TestType, 4> q({1, 1, 1, 1}), k({1, 1, 3, 1}), v({1, 1, 3, 1});
  k.fill(TestType(-1));
  for (Index j = 0; j < 3; ++j) v[j] = TestType(j + 1);
  for (const auto& [score, mean] : {std::pair(2e29, 2.0), std::pair(4e29, 0.0)}) {  // below -3.5e29 a row has nothing to attend
    q[0] = static_cast<TestType>(score);
    CHECK(layer.forward(q, k, v)[0] == Approx(mean));
    typename ScaledDotProductAttention<TestType>::Cache cache;
    CHECK(layer.forward(q, k, v, cache)[0] == Approx(mean));
  }
}

TEST_CASE("ScaledDotProductAttention: a cache serves one backward pass, and no cap is 0") {
  ScaledDotProductAttention<float> layer;
  ScaledDotProductAttention<float>::Cache cache;
  const auto q = random_tensor<float, 4>({1, 1, 3, 2}, 1);
  layer.forward(q, q, q, cache);
  layer.backward(q, cache);
  CHECK_THROWS_WITH(layer.backward(q, cache), contains("has been used already"));
  CHECK_THROWS_WITH(ScaledDotProductAttention<float>({.softcap = std::numeric_limits<double>::infinity()}),
      "ScaledDotProductAttention: softcap is inf, it must be finite and not negative; 0 is none");
}

TEMPLATE_TEST_CASE("ScaledDotProductAttention: a query without a key gives no gradient, whatever it and its dy hold", "", float, double) {
  using T = TestType;
  const T nan = std::numeric_limits<T>::quiet_NaN(), infinity = std::numeric_limits<T>::infinity();
  for (Index keys : {3, 600}) {  // one chunk of keys, and two
    ScaledDotProductAttention<T> layer;
    auto q = random_tensor<T, 4>({1, 2, 4, 8}, 1), dy = random_tensor<T, 4>({1, 2, 4, 5}, 2);
    const auto k = random_tensor<T, 4>({1, 2, keys, 8}, 3), v = random_tensor<T, 4>({1, 2, keys, 5}, 4);
    Tensor<bool, 2> attend({4, keys});
    Tensor<T, 2> bias({4, keys});
    for (Index j = 0; j < attend.size(); ++j) attend[j] = j / keys != 1, bias[j] = j / keys != 1 ? T(0) : -infinity;
    for (const AttentionMask<T>& mask : {AttentionMask<T>{.attend = attend}, AttentionMask<T>{.bias = bias}}) {
      typename ScaledDotProductAttention<T>::Cache cache;
      const auto run = [&] {
        layer.forward(q, k, v, mask, cache);
        return layer.backward(dy, cache);
      };
      const auto [dq, dk, dv] = run();
      const auto clean_q = q, clean_dy = dy;
      for (Index h = 0; h < 2; ++h) q[h * 32 + 8] = nan, q[h * 32 + 9] = infinity, dy[h * 20 + 5] = nan;
      CHECK(layer.forward(q, k, v, mask)[5] == 0);
      const auto [dq_too, dk_too, dv_too] = run();
      CHECK(same_bits(dq_too, dq));
      CHECK(same_bits(dk_too, dk));
      CHECK(same_bits(dv_too, dv));
      for (Index d = 8; d < 16; ++d) CHECK(dq_too[d] == 0);
      q = clean_q, dy = clean_dy;
    }
  }
}

TEST_CASE("ScaledDotProductAttention: a bias of -inf hides a key that holds NaN from one query, as a mask does") {
  const ScaledDotProductAttention<float> layer;
  const auto q = random_tensor<float, 4>({1, 1, 2, 4}, 1), v = random_tensor<float, 4>({1, 1, 3, 4}, 3);
  auto k = random_tensor<float, 4>({1, 1, 3, 4}, 2);
  k[0] = std::numeric_limits<float>::quiet_NaN();
  Tensor<bool, 2> attend({2, 3});
  Tensor<float, 2> bias({2, 3});
  attend.fill(true), attend[0] = false, bias[0] = -std::numeric_limits<float>::infinity();
  const auto masked = layer.forward(q, k, v, {.attend = attend}), biased = layer.forward(q, k, v, {.bias = bias});
  CHECK(std::isfinite(masked[0]));
  CHECK(std::equal(biased.data(), biased.data() + 4, masked.data()));
  CHECK(std::isnan(biased[4]));                       // the other query attends it
  bias[0] = std::numeric_limits<float>::quiet_NaN();  // a bias that is no number is no mask
  CHECK(std::isnan(layer.forward(q, k, v, {.bias = bias})[0]));
}

TEST_CASE("ScaledDotProductAttention: zeros keep their sign on one thread and on two") {
  ScaledDotProductAttention<float> layer({.scale = 1});
  Tensor<float, 4> q({1, 1, 1, 1}), dy({1, 1, 1, 1}), k({1, 1, 1024, 1}), v({1, 1, 1024, 1});
  q[0] = 1, dy[0] = -1e-25f;
  for (Index j = 0; j < 1024; ++j) k[j] = j % 2 == 0 ? 1e-20f : -1e-20f, v[j] = j == 0 ? 3 : 1;
  const auto run = [&](int threads) {
    const ThreadScope scope(threads);
    ScaledDotProductAttention<float>::Cache cache;
    layer.forward(q, k, v, cache);
    return std::get<0>(layer.backward(dy, cache));
  };
  CHECK(std::signbit(run(1)[0]) == std::signbit(run(2)[0]));
}
