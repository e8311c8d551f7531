// SPDX-License-Identifier: MIT
#include <array>
#include <vector>

#include <heed/layers/relative_position_bias.hpp>
#include <heed/layers/scaled_dot_product_attention.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;
using reference::random_tensor;
using reference::with_random_parameters;

namespace {

using Options = RelativePositionBiasOptions;

/// Attention with a bias of its own, the way attention layers use one.
template <class T>
class BiasedAttention : public LayerBase<BiasedAttention<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 4;
  struct Cache {
    typename ScaledDotProductAttention<T>::Cache attention;
    typename RelativePositionBias<T>::Cache position;
  };

  explicit BiasedAttention(const Options& options, const ScaledDotProductAttentionOptions& attention = {}, Index past = 0)
      : bias_(options), attention_(attention), past_(past) {}

  Tensor<T, 4> forward(const TensorView<const T, 4>& q, const TensorView<const T, 4>& k, const TensorView<const T, 4>& v) const {
    typename RelativePositionBias<T>::Cache position;
    return attention_.forward(q, k, v, mask(q, k, position));
  }
  Tensor<T, 4> forward(
      const TensorView<const T, 4>& q, const TensorView<const T, 4>& k, const TensorView<const T, 4>& v, Cache& cache) const {
    return attention_.forward(q, k, v, mask(q, k, cache.position), cache.attention);
  }
  auto backward(const TensorView<const T, 4>& dy, Cache& cache) {
    auto d = attention_.backward(dy, cache.attention, {.d_bias = bias_.d_bias(cache.position)});
    bias_.backward(cache.position);
    return d;
  }
  template <class U>
  BiasedAttention<U> rebind() const {
    return this->template rebound<BiasedAttention<U>>(bias_.options(), attention_.options(), past_);
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("BiasedAttention");
    visitor.child("relative_attention_bias", self.bias_);
  }

 private:
  AttentionMask<T> mask(
      const TensorView<const T, 4>& q, const TensorView<const T, 4>& k, typename RelativePositionBias<T>::Cache& position) const {
    return {.bias = bias_.forward(q.size(2), k.size(2), position, past_), .past = past_};
  }

  RelativePositionBias<T> bias_;
  ScaledDotProductAttention<T> attention_;
  Index past_;
};

void certify(const Options& options, const Shape& q, Index keys, const ScaledDotProductAttentionOptions& attention = {}, Index past = 0) {
  Shape k = q;
  k[2] = keys;
  const auto layer = with_random_parameters(BiasedAttention<double>(options, attention, past), 3);
  const auto report = check_gradients(layer, std::array<Shape, 3>{q, k, k});
  INFO("q " << q.to_string() << ", keys " << keys << ", max_distance " << options.max_distance << ", buckets " << options.num_buckets);
  INFO(report.to_string());
  CHECK(report.passed());
}

/// The row of the table that each pair reads, (queries, keys).
std::vector<Index> rows_of(const Options& options, Index queries, Index keys, Index past = 0) {
  RelativePositionBias<double> bias(options);
  const Index heads = options.num_heads;
  for (Index i = 0; i < bias.weight().size(); ++i) bias.weight().value()[i] = static_cast<double>(i);  // row * heads + head
  RelativePositionBias<double>::Cache cache;
  const auto view = bias.forward(queries, keys, cache, past);
  CHECK(view.shape() == Shape{1, heads, queries, keys});
  const auto elements = view.broadcast("test", "the bias", {2, heads, queries, keys});
  std::vector<Index> rows;
  for (Index i = 0; i < queries; ++i)
    for (Index j = 0; j < keys; ++j) {
      const Index first = static_cast<Index>(elements.row(0, 0, i)[j * elements.key]);
      REQUIRE(first % heads == 0);
      for (Index h = 0; h < heads; ++h) REQUIRE(elements.row(1, h, i)[j * elements.key] == static_cast<double>(first + h));
      rows.push_back(first / heads);
    }
  return rows;
}

/// (distance, bucket) where the bucket changes, for distances key - query from `first` to `last`.
using Edges = std::vector<std::pair<Index, Index>>;
Edges edges(const Options& options, Index first, Index last) {
  const auto rows = rows_of(options, 1, last - first + 1, -first);
  Edges found;
  for (Index p = 0; p < static_cast<Index>(rows.size()); ++p) {
    const Index row = rows[static_cast<std::size_t>(p)];
    if (found.empty() || found.back().second != row) found.emplace_back(first + p, row);
  }
  return found;
}

}  // namespace

TEST_CASE("RelativePositionBias: certificate through attention", "[relative_position_bias]") {
  certify({.num_heads = 2, .max_distance = 5}, {2, 2, 4, 3}, 4);  // every distance has its own row
  certify({.num_heads = 2, .max_distance = 2}, {3, 2, 6, 2}, 6);  // clamped
  certify({.num_heads = 1, .max_distance = 3}, {2, 1, 1, 2}, 7);  // one query
  certify({.num_heads = 3, .max_distance = 3}, {1, 3, 5, 2}, 1);  // one key
  certify({.num_heads = 2, .max_distance = 9}, {2, 2, 3, 2}, 5, {.causal = true, .alignment = CausalAlignment::top_left}, 2);
  certify({.num_heads = 2, .max_distance = 6, .num_buckets = 4}, {2, 2, 7, 2}, 9, {.softcap = 0.9});
  certify({.num_heads = 2, .max_distance = 6, .num_buckets = 4, .bidirectional = false}, {1, 2, 7, 2}, 7, {.causal = true});
  certify({.num_heads = 2, .height = 2, .width = 3}, {2, 2, 6, 2}, 6);
  certify({.num_heads = 1, .height = 1, .width = 1}, {2, 1, 1, 2}, 1);
}

TEST_CASE("RelativePositionBias: rows of clamped distances", "[relative_position_bias]") {
  CHECK(rows_of({.num_heads = 3, .max_distance = 2}, 3, 4) == std::vector<Index>{2, 3, 4, 4, 1, 2, 3, 4, 0, 1, 2, 3});
  CHECK(rows_of({.num_heads = 2, .max_distance = 2}, 2, 4, 2) == std::vector<Index>{0, 1, 2, 3, 0, 0, 1, 2});
  for (Index past = 0; past < 5; ++past)  // queries one by one as with a cache of keys
    for (Index j = 0; j < 5; ++j)
      CHECK(rows_of({.num_heads = 1, .max_distance = 3}, 5, 5)[static_cast<std::size_t>(past * 5 + j)] ==
            rows_of({.num_heads = 1, .max_distance = 3}, 1, 5, past)[static_cast<std::size_t>(j)]);
}

// The edges are those of the function of T5 in PyTorch (relative position = key - query).
TEST_CASE("RelativePositionBias: T5's buckets", "[relative_position_bias]") {
  CHECK(edges({.num_heads = 2, .max_distance = 128, .num_buckets = 32}, -140, 140) ==
        Edges{{-140, 15}, {-90, 14}, {-63, 13}, {-45, 12}, {-31, 11}, {-22, 10}, {-15, 9}, {-11, 8}, {-7, 7}, {-6, 6}, {-5, 5}, {-4, 4},
            {-3, 3}, {-2, 2}, {-1, 1}, {0, 0}, {1, 17}, {2, 18}, {3, 19}, {4, 20}, {5, 21}, {6, 22}, {7, 23}, {8, 24}, {12, 25}, {16, 26},
            {23, 27}, {32, 28}, {46, 29}, {64, 30}, {91, 31}});
  CHECK(edges({.num_heads = 1, .max_distance = 128, .num_buckets = 32, .bidirectional = false}, -140, 140) ==
        Edges{{-140, 31}, {-112, 30}, {-98, 29}, {-86, 28}, {-76, 27}, {-66, 26}, {-58, 25}, {-51, 24}, {-45, 23}, {-39, 22}, {-34, 21},
            {-30, 20}, {-26, 19}, {-23, 18}, {-20, 17}, {-18, 16}, {-15, 15}, {-14, 14}, {-13, 13}, {-12, 12}, {-11, 11}, {-10, 10},
            {-9, 9}, {-8, 8}, {-7, 7}, {-6, 6}, {-5, 5}, {-4, 4}, {-3, 3}, {-2, 2}, {-1, 1}, {0, 0}});
  CHECK(edges({.num_heads = 1, .max_distance = 20, .num_buckets = 7}, -140, 140) == Edges{{-140, 2}, {-4, 1}, {0, 0}, {1, 4}, {5, 5}});
  CHECK(edges({.num_heads = 1, .max_distance = 11, .num_buckets = 5, .bidirectional = false}, -140, 140) ==
        Edges{{-140, 4}, {-6, 3}, {-3, 2}, {-1, 1}, {0, 0}});
}

// The rows are Swin's relative_position_index of a window of 2 x 3, made with PyTorch.
TEST_CASE("RelativePositionBias: rows of a map", "[relative_position_bias]") {
  CHECK(rows_of({.num_heads = 4, .height = 2, .width = 3}, 6, 6) == std::vector<Index>{7, 6, 5, 2, 1, 0, 8, 7, 6, 3, 2, 1, 9, 8, 7, 4, 3, 2,
                                                                        12, 11, 10, 7, 6, 5, 13, 12, 11, 8, 7, 6, 14, 13, 12, 9, 8, 7});
  CHECK(RelativePositionBias<float>({.num_heads = 4, .height = 2, .width = 3}).weight().shape() == Shape{15, 4});
}

TEST_CASE("RelativePositionBias: attention along diagonals is attention with the matrix", "[relative_position_bias]") {
  for (const Index past : {0, 3})
    for (bool causal : {false, true}) {
      const Index queries = 37, keys = queries + past, heads = 3;
      const auto bias = with_random_parameters(RelativePositionBias<float>({.num_heads = heads, .max_distance = 20}), 8, -3, 3);
      ScaledDotProductAttention<float> attention({.causal = causal});
      const auto q = random_tensor<float, 4>({2, heads, queries, 8}, 1), k = random_tensor<float, 4>({2, heads, keys, 8}, 2),
                 v = random_tensor<float, 4>({2, heads, keys, 8}, 3);
      RelativePositionBias<float>::Cache position;
      const auto view = bias.forward(queries, keys, position, past);
      const auto elements = view.broadcast("test", "the bias", {1, heads, queries, keys});
      Tensor<float, 4> matrix({1, heads, queries, keys});
      for (Index h = 0; h < heads; ++h)
        for (Index i = 0; i < queries; ++i)
          for (Index j = 0; j < keys; ++j) matrix(0, h, i, j) = elements.row(0, h, i)[j * elements.key];
      ScaledDotProductAttention<float>::Cache by_diagonal, by_matrix;
      const auto y = attention.forward(q, k, v, {.bias = view, .past = past}, by_diagonal);
      CHECK(reference::same_bits(y, attention.forward(q, k, v, {.bias = matrix, .past = past}, by_matrix)));

      const auto dy = random_tensor<float, 4>(y.shape(), 4);
      Tensor<float, 4> d_matrix(matrix.shape());
      attention.backward(dy, by_diagonal, {.d_bias = bias.d_bias(position)});
      attention.backward(dy, by_matrix, {.d_bias = d_matrix.data()});
      std::vector<double> sums(static_cast<std::size_t>(heads * (queries + keys - 1)));
      for (Index h = 0; h < heads; ++h)
        for (Index i = 0; i < queries; ++i)
          for (Index j = 0; j < keys; ++j)
            sums[static_cast<std::size_t>(h * (queries + keys - 1) + j - i + queries - 1)] += static_cast<double>(d_matrix(0, h, i, j));
      CHECK(reference::largest_difference(
                position.d_bias, Tensor<double, 1>(wrap<1>(std::as_const(sums).data(), {position.d_bias.size()}))) < 1e-6);
    }
}

TEST_CASE("RelativePositionBias: one bias for several attentions, gradients add", "[relative_position_bias]") {
  auto bias = with_random_parameters(RelativePositionBias<double>({.num_heads = 2, .max_distance = 3}), 5);
  ScaledDotProductAttention<double> attention;
  const auto x = random_tensor<double, 4>({1, 2, 5, 3}, 1), dy = random_tensor<double, 4>({1, 2, 5, 3}, 2);
  const auto gradient = [&](int times) {
    bias.zero_gradients();
    RelativePositionBias<double>::Cache position;
    const AttentionMask<double> mask{.bias = bias.forward(5, 5, position)};
    for (int i = 0; i < times; ++i) {
      ScaledDotProductAttention<double>::Cache cache;
      attention.forward(x, x, x, mask, cache);
      attention.backward(dy, cache, {.d_bias = bias.d_bias(position)});
    }
    bias.backward(position);
    return std::vector<double>(bias.weight().gradient(), bias.weight().gradient() + bias.weight().size());
  };
  const auto once = gradient(1), twice = gradient(2);
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(twice[i] == Approx(2 * once[i]).margin(1e-15));
}

TEST_CASE("RelativePositionBias: a frozen table gets no gradient", "[relative_position_bias]") {
  RelativePositionBias<float> bias({.num_heads = 2, .max_distance = 3});
  bias.freeze();
  RelativePositionBias<float>::Cache cache;
  bias.forward(4, 4, cache);
  CHECK(bias.d_bias(cache) == nullptr);
  bias.backward(cache);
  CHECK_FALSE(bias.weight().has_gradient());
}

TEST_CASE("RelativePositionBias says what does not fit", "[relative_position_bias]") {
  using R = RelativePositionBias<float>;
  CHECK_THROWS_WITH(R({.num_heads = 0, .max_distance = 2}), contains("num_heads (0) must be positive"));
  CHECK_THROWS_WITH(R({.num_heads = 1}), contains("either max_distance (0) must be positive"));
  CHECK_THROWS(R({.max_distance = 4, .num_buckets = -1}));
  CHECK_THROWS_WITH(R({.max_distance = 4, .height = 2, .width = 2}), contains("or only height and width (2x2) be given, both"));
  CHECK_THROWS(R({.height = 2}));
  CHECK_THROWS(R({.num_buckets = 8, .height = 2, .width = 2}));
  CHECK_THROWS_WITH(R({.max_distance = 9, .num_buckets = 3}), contains("num_buckets (3) must be at least 4"));
  CHECK_THROWS(R({.max_distance = 9, .num_buckets = 1, .bidirectional = false}));
  CHECK_NOTHROW(R({.max_distance = 9, .num_buckets = 2, .bidirectional = false}));
  CHECK_THROWS_WITH(R({.max_distance = 8, .num_buckets = 32}), contains("max_distance (8) larger than the 8 distances"));

  R line({.num_heads = 2, .max_distance = 3}), map({.num_heads = 2, .height = 2, .width = 2});
  R::Cache cache;
  CHECK_THROWS_AS(line.forward(0, 4, cache), ShapeError);
  CHECK_THROWS_AS(line.forward(4, 4, cache, -1), ShapeError);
  CHECK_THROWS_WITH(map.forward(3, 4, cache), contains("3 queries after 0 others and 4 keys, but a map of 2x2 has 4 of both"));
  CHECK_THROWS_AS(map.forward(4, 4, cache, 1), ShapeError);
  R::Cache never;
  CHECK_THROWS_WITH(line.d_bias(never), contains("RelativePositionBias: backward follows one forward"));
  CHECK_THROWS_WITH(line.backward(never), contains("RelativePositionBias: backward follows forward and attention's backward"));
}

TEST_CASE("a table of relative positions is looked up, on a map, too: it costs no products") {
  for (const Options& options : {Options{.num_heads = 2, .max_distance = 3}, Options{.num_heads = 2, .height = 2, .width = 2}}) {
    struct Tables final : Visitor<float> {
      std::string found;
      using Visitor<float>::table;
      using Visitor<float>::parameter;
      void table(std::string_view name, const Parameter<float>&) override { found += name; }
      void parameter(std::string_view name, const Parameter<float>&) override { found += "no table: " + std::string(name); }
    } tables;
    const RelativePositionBias<float> layer(options);
    layer.describe(tables);
    CHECK(tables.found == (options.height > 0 ? "relative_position_bias_table" : "weight"));
  }
}

TEST_CASE("a table of relative positions starts as N(0, 0.02^2), cut at two deviations") {
  const SeedScope seed(1);
  const RelativePositionBias<double> layer({.num_heads = 40, .height = 8, .width = 8});
  const Parameter<double>& table = layer.weight();
  double squares = 0, largest = 0;
  for (Index i = 0; i < table.size(); ++i)
    squares += table.value()[i] * table.value()[i] / static_cast<double>(table.size()),
        largest = std::max(largest, std::abs(table.value()[i]));
  CHECK(std::sqrt(squares) == Approx(0.02 * 0.88).epsilon(0.03));
  CHECK(largest <= 0.04);
  CHECK(largest > 0.035);
}
