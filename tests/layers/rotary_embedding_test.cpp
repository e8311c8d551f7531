// SPDX-License-Identifier: MIT
#include <vector>

#include <heed/layers/rotary_embedding.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"
#include "reference/layer_rules.hpp"
#include "reference/rotary_embedding_reference.hpp"

using namespace heed;
using reference::random_tensor;

namespace {

/// The layer on positions of its own, which certificates do not hand over.
template <class T>
class Placed : public LayerBase<Placed<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 4;
  using Cache = typename RotaryEmbedding<T>::Cache;

  Placed(const RotaryEmbeddingOptions& options, const RotaryPositions& positions) : layer_(options), positions_(positions) {}

  Shape output_shape(const Shape& in) const { return layer_.output_shape(in); }
  Tensor<T, 4> forward(const TensorView<const T, 4>& x) const { return layer_.forward(x, positions_); }
  Tensor<T, 4> forward(const TensorView<const T, 4>& x, Cache& cache) const { return layer_.forward(x, positions_, cache); }
  Tensor<T, 4> backward(const TensorView<const T, 4>& dy, Cache& cache) { return layer_.backward(dy, cache); }
  template <class U>
  Placed<U> rebind() const {
    return Placed<U>(layer_.options(), positions_);
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Placed");
    visitor.child("rotary", self.layer_);
  }

 private:
  RotaryEmbedding<T> layer_;
  RotaryPositions positions_;
};

/// sin(0), sin(1), ... in (1, 2, 2, 6).
Tensor<double, 4> waves() {
  Tensor<double, 4> x({1, 2, 2, 6});
  for (Index i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<double>(i));
  return x;
}

void expect(const RotaryEmbeddingOptions& options, const std::vector<double>& expected) {
  const Tensor<std::int64_t, 2> ids = [] {
    Tensor<std::int64_t, 2> t({1, 2});
    t[0] = 7, t[1] = 3;
    return t;
  }();
  const auto y = RotaryEmbedding<double>(options).forward(waves(), {.ids = ids});
  REQUIRE(y.size() == static_cast<Index>(expected.size()));
  for (Index i = 0; i < y.size(); ++i) CHECK(y[i] == Approx(expected[static_cast<std::size_t>(i)]).margin(1e-13));
}

}  // namespace

TEST_CASE("RotaryEmbedding: certificate", "[rotary_embedding]") {
  for (bool interleaved : {false, true}) {
    const auto check = [&](RotaryEmbeddingOptions options, const Shape& shape) {
      options.interleaved = interleaved;
      const auto report = check_gradients(RotaryEmbedding<double>(options), shape);
      INFO(report.to_string());
      CHECK(report.passed());
    };
    check({.head_dim = 2, .max_positions = 1}, {1, 1, 2});
    check({.head_dim = 6}, {2, 5, 18});
    check({.head_dim = 6}, {2, 3, 5, 6});
    check({.head_dim = 7, .rotary_dim = 4, .base = 10}, {2, 3, 14});
    check({.head_dim = 9, .rotary_dim = 2}, {1, 2, 3, 9});
    check({.head_dim = 34}, {1, 2, 34});

    Tensor<std::int64_t, 2> ids({2, 3}), shared({1, 3});
    for (Index i = 0; i < 6; ++i) ids[i] = (5 * i + 3) % 7;
    for (Index i = 0; i < 3; ++i) shared[i] = 2 * i + 1;
    for (const RotaryPositions& positions : {RotaryPositions{.offset = 4}, RotaryPositions{.ids = ids}, RotaryPositions{.ids = shared}}) {
      const auto report = check_gradients(
          Placed<double>({.head_dim = 4, .base = 20, .interleaved = interleaved, .max_positions = 7}, positions), Shape{2, 2, 3, 4});
      INFO(report.to_string());
      CHECK(report.passed());
    }
  }
}

// Expected values: PyTorch in double. Halves by x cos + rotate_half(x) sin, as most models write it; pairs by multiplication with
// torch.polar(1, angle) as complex numbers, as Llama's first code does.
TEST_CASE("RotaryEmbedding: values of PyTorch programs", "[rotary_embedding]") {
  expect({.head_dim = 6},
      {-0.09271395410642026, 1.039034453669064, 0.9236550543366524, 0.10639069220927921, -0.4485876048961982, -0.9451025952606351,
          0.21846108269187492, 0.7261365249048645, 0.9958007775940549, -0.4474253254575647, -0.4475668745433182, -0.9935748410170653,
          -0.8317539287931048, 0.4900893429803489, 1.0049930341842006, 0.13773225230476743, -0.13871227227435443, -0.9463493391926261,
          0.6254028888930449, 0.14965504797949936, 0.9183955236725079, -0.9342621307064265, 0.012037037291655525, -0.8403021274320447});
  expect({.head_dim = 6, .rotary_dim = 4, .base = 500},
      {-0.5973962236739516, 0.7571150260106918, 0.6855213799524474, 0.39340197297067225, -0.7568024953079282, -0.9589242746631385,
          0.13700100291322415, 0.5959568117299566, -1.0188883579648051, 0.49629478672126726, -0.5440211108893698, -0.9999902065507035,
          -1.0553392897838796, 0.19948290593643173, 0.39429990226570105, 0.7480783275373272, -0.2879033166650653, -0.9613974918795568,
          0.6146368982056861, 0.03661764846906565, -1.00978827434464, 0.8491848934661546, -0.008851309290403876, -0.8462204041751706});
  expect({.head_dim = 6, .interleaved = true},
      {-0.5528351602294898, 0.6343868724111538, 0.8166731558504218, 0.42400663157542196, -0.74225540429347, -0.9702281671028059,
          0.18390529254439164, -0.6898429204565332, 0.9225806873201704, 0.5454505123505654, -0.5375465521059261, -1.0034854690575512,
          -0.68056764491858, -0.03575634009737061, 0.7311899504388031, 0.9324904635385243, -0.27337225007024785, -0.9656298825277608,
          0.7223210663109602, -0.254356639295011, 0.7879823650864566, 0.9552724640818769, -0.003381782709760111, -0.8462599374094508});
  expect({.head_dim = 6, .rotary_dim = 4, .base = 500, .interleaved = true},
      {-0.5528351602294898, 0.6343868724111538, 0.8216450257423333, 0.4142898970280393, -0.7568024953079282, -0.9589242746631385,
          0.18390529254439164, -0.6898429204565332, 0.9253415991293095, 0.5407534659717537, -0.5440211108893698, -0.9999902065507035,
          -0.68056764491858, -0.03575634009737061, 0.7421991759986591, 0.9237519100710443, -0.2879033166650653, -0.9613974918795568,
          0.7223210663109602, -0.254356639295011, 0.7928283724038484, 0.9512543614784488, -0.008851309290403876, -0.8462204041751706});
}

TEST_CASE("RotaryEmbedding: scores see the distance of two tokens only", "[rotary_embedding]") {
  for (bool interleaved : {false, true}) {
    const RotaryEmbedding<double> layer({.head_dim = 8, .interleaved = interleaved});
    const auto q = random_tensor<double, 3>({1, 1, 8}, 1), k = random_tensor<double, 3>({1, 1, 8}, 2);
    const auto score = [&](Index query, Index key) {
      const auto a = layer.forward(q, {.offset = query}), b = layer.forward(k, {.offset = key});
      double sum = 0;
      for (Index i = 0; i < 8; ++i) sum += a[i] * b[i];
      return sum;
    };
    CHECK(score(5, 3) == Approx(score(2, 0)));
    CHECK(score(2000, 1003) == Approx(score(997, 0)));
    CHECK(std::abs(score(5, 3) - score(5, 2)) > 1e-3);
  }
}

TEST_CASE("RotaryEmbedding: both layouts, offsets and ids say the same", "[rotary_embedding]") {
  const RotaryEmbedding<float> layer({.head_dim = 5, .rotary_dim = 4, .max_positions = 20});
  const auto x = random_tensor<float, 4>({2, 3, 4, 5}, 3);  // (N, H, T, D)
  Tensor<float, 3> tokens({2, 4, 15});
  for (Index n = 0; n < 2; ++n)
    for (Index h = 0; h < 3; ++h)
      for (Index t = 0; t < 4; ++t)
        for (Index d = 0; d < 5; ++d) tokens(n, t, h * 5 + d) = x(n, h, t, d);
  const auto y = layer.forward(x, {.offset = 6});
  const auto y_tokens = layer.forward(tokens, {.offset = 6});
  for (Index n = 0; n < 2; ++n)
    for (Index h = 0; h < 3; ++h)
      for (Index t = 0; t < 4; ++t)
        for (Index d = 0; d < 5; ++d) CHECK(y_tokens(n, t, h * 5 + d) == y(n, h, t, d));

  Tensor<std::int64_t, 2> ids({2, 4});
  for (Index i = 0; i < 8; ++i) ids[i] = 6 + i % 4;
  CHECK(reference::same_bits(layer.forward(x, {.ids = ids}), y));
  CHECK(reference::same_bits(layer.forward(x, {.ids = ids.slice(0, 1)}), y));
  // The first tokens and then the others, as with a cache of keys.
  const RotaryEmbedding<float> one_head({.head_dim = 15, .rotary_dim = 8, .max_positions = 20});
  const auto whole = one_head.forward(tokens);
  const Tensor<float, 3> first(tokens.reshaped<3>({2, 4, 15}).slice(0, 1));
  const TensorView<const float, 3> later(first.data() + 3 * 15, {1, 1, 15});
  const auto last = one_head.forward(later, {.offset = 3});
  for (Index d = 0; d < 15; ++d) CHECK(last[d] == whole(0, 3, d));
}

TEST_CASE("RotaryEmbedding: backward is the way back", "[rotary_embedding]") {
  RotaryEmbedding<double> layer({.head_dim = 16});
  const auto x = random_tensor<double, 3>({2, 9, 32}, 4);
  RotaryEmbedding<double>::Cache cache;
  CHECK(reference::largest_difference(layer.backward(layer.forward(x, {.offset = 11}, cache), cache), x) < 1e-15);
  CHECK(layer.parameter_count() == 0);
}

TEST_CASE("RotaryEmbedding keeps the rules of layers", "[rotary_embedding]") {
  reference::check_layer_rules<3>(RotaryEmbedding<float>({.head_dim = 33, .rotary_dim = 22}), {5, 70, 132});
  reference::check_layer_rules<4>(RotaryEmbedding<float>({.head_dim = 33, .rotary_dim = 22, .interleaved = true}), {5, 4, 70, 33});
}

TEST_CASE("RotaryEmbedding says what does not fit", "[rotary_embedding]") {
  CHECK_THROWS_WITH(RotaryEmbedding<float>({}), contains("head_dim (0) and max_positions (2048) must be positive"));
  CHECK_THROWS_WITH(RotaryEmbedding<float>({.head_dim = 5}), contains("rotary_dim (5) must be even"));
  CHECK_THROWS_WITH(RotaryEmbedding<float>({.head_dim = 4, .rotary_dim = 6}), contains("at most head_dim (4)"));
  CHECK_THROWS(RotaryEmbedding<float>({.head_dim = 4, .rotary_dim = -2}));
  CHECK_THROWS_WITH(RotaryEmbedding<float>({.head_dim = 4, .base = 0.5}), contains("base must be at least 1 and finite, is 0.5"));
  CHECK_THROWS(RotaryEmbedding<float>({.head_dim = 4, .max_positions = 0}));

  RotaryEmbedding<float> layer({.head_dim = 4, .max_positions = 6});
  CHECK_THROWS_WITH(layer.output_shape({2, 3, 6}),
      contains("input is 2x3x6, it must be (N, T, heads * head_dim) or (N, heads, T, head_dim) with head_dim = 4"));
  CHECK_THROWS_AS(layer.output_shape({2, 3, 5, 8}), ShapeError);
  CHECK_THROWS_AS(layer.output_shape({3, 4}), ShapeError);
  const Tensor<float, 3> x({2, 4, 8});
  CHECK_NOTHROW(layer.forward(x, {.offset = 2}));
  CHECK_THROWS_WITH(layer.forward(x, {.offset = 3}), contains("4 tokens from position 3 on, or their ids, leave the positions 0 ... 5"));
  CHECK_THROWS_AS(layer.forward(x, {.offset = -1}), ShapeError);
  Tensor<std::int64_t, 2> ids({2, 4}), wrong({2, 3}), also_wrong({3, 4});
  CHECK_NOTHROW(layer.forward(x, {.ids = ids}));
  CHECK_THROWS_WITH(layer.forward(x, {.offset = 1, .ids = ids}), contains("ids stand alone, the offset (1) must be 0"));
  CHECK_THROWS_WITH(layer.forward(x, {.ids = wrong}), contains("ids are 2x3, the input has 2 sequences of 4 tokens"));
  CHECK_THROWS_AS(layer.forward(x, {.ids = also_wrong}), ShapeError);
  ids[5] = 6;
  CHECK_THROWS_AS(layer.forward(x, {.ids = ids}), ShapeError);

  RotaryEmbedding<float>::Cache cache;
  CHECK_THROWS_WITH(layer.backward(x, cache), contains("RotaryEmbedding: backward follows one forward"));
  layer.forward(x, cache);
  CHECK_THROWS_AS(layer.backward(Tensor<float, 3>({1, 4, 8}), cache), ShapeError);
}

TEST_CASE("RotaryEmbedding: the tables have a row a position and a column a pair") {
  const heed::RotaryEmbedding<double> layer({.head_dim = 8, .rotary_dim = 6, .max_positions = 5});
  CHECK(layer.cos().shape() == heed::Shape{5, 3});
  CHECK(layer.sin().shape() == heed::Shape{5, 3});
  CHECK(layer.cos()(0, 2) == 1);
  CHECK(layer.sin()(1, 0) == Approx(std::sin(1.0)));
}

TEST_CASE("RotaryEmbedding: output_shape refuses what forward refuses", "[rotary_embedding]") {
  const RotaryEmbedding<float> rotary({.head_dim = 4, .max_positions = 3});
  CHECK(rotary.output_shape({1, 3, 4}) == Shape{1, 3, 4});
  CHECK_THROWS_WITH(rotary.output_shape({1, 4, 4}), contains("raise max_positions"));
  const Tensor<Index, 2> ids({1, 4});  // the same place four times
  const auto x = random_tensor<float, 3>({1, 4, 4}, 1);
  CHECK_NOTHROW(rotary.forward(x, RotaryPositions{.ids = ids}));
}
