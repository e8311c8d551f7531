// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <complex>
#include <numeric>
#include <vector>

#include <heed/core/tensor.hpp>
#include <heed/layers/linear.hpp>

#include "sanitized.hpp"

using namespace heed;

// A view that writes is one that reads, at no cost.
static_assert(std::is_trivially_copyable_v<TensorView<float, 3>> && std::is_trivially_copyable_v<TensorView<const float, 3>>);
static_assert(sizeof(TensorView<float, 3>) == sizeof(TensorView<const float, 3>));
static_assert(std::is_convertible_v<TensorView<float, 3>, TensorView<const float, 3>>);
static_assert(!std::is_convertible_v<TensorView<const float, 3>, TensorView<float, 3>>);
static_assert(std::is_same_v<TensorView<float, 3>::scalar, float> && std::is_same_v<TensorView<const float, 3>::scalar, float>);

namespace {

Tensor<float, 2> counted(const Shape& shape) {
  Tensor<float, 2> x(shape);
  std::iota(x.data(), x.data() + x.size(), 1.0f);
  return x;
}

float sum_of(TensorView<const float, 2> x) { return std::accumulate(x.data(), x.data() + x.size(), 0.0f); }

/// Counts its living objects.
struct Tracked {
  static inline int alive = 0;
  int value = 0;
  Tracked() { ++alive; }
  explicit Tracked(int v) : value(v) { ++alive; }
  Tracked(const Tracked& other) : value(other.value) { ++alive; }
  Tracked& operator=(const Tracked&) = default;
  ~Tracked() { --alive; }
};

/// The eighth object of its kind cannot be made.
struct Reluctant {
  static inline int alive = 0;
  explicit Reluctant(int = 0) {
    require<std::runtime_error>(alive < 7, "no more");
    ++alive;
  }
  Reluctant(const Reluctant&) : Reluctant() {}
  Reluctant& operator=(const Reluctant&) = default;
  ~Reluctant() { --alive; }
};

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class M>
concept Wrappable = requires(M&& matrix) {
  wrap(std::forward<M>(matrix));
};

}  // namespace

TEST_CASE("a tensor starts with zeros, aligned, also in memory that was used before") {
  for (int round = 0; round < 2; ++round) {
    Tensor<float, 3> x({3, 5, 7});
    CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 64 == 0);
    CHECK(std::all_of(x.data(), x.data() + x.size(), [](float v) { return v == 0; }));
    x.fill(3);
  }
}

TEST_CASE("elements are row-major, the last axis is next to itself") {
  Tensor<int, 3> x({2, 3, 4});
  std::iota(x.data(), x.data() + x.size(), 0);
  CHECK(x(0, 0, 1) == 1);
  CHECK(x(0, 1, 0) == 4);
  CHECK(x(1, 0, 0) == 12);
  CHECK(x(1, 2, 3) == 23);
  x(1, 2, 3) = 99;
  CHECK(x[23] == 99);
  CHECK(x.size(0) == 2);
  CHECK(x.rows() == 6);
  CHECK(x.features() == 4);
  CHECK(x.span().size() == 24);
}

TEST_CASE("copies are deep, moves take the memory along") {
  Tensor<float, 2> a = counted({2, 3});
  Tensor<float, 2> b = a;
  CHECK(b.data() != a.data());
  b(0, 0) = -1;
  CHECK(a(0, 0) == 1);
  CHECK(b(1, 2) == 6);

  const float* memory = a.data();
  Tensor<float, 2> c = std::move(a);
  CHECK(c.data() == memory);
  CHECK(c.shape() == Shape{2, 3});
  a = b;  // a moved-from tensor may be assigned to
  CHECK(a(1, 1) == 5);
  const Tensor<float, 2>& self = a;
  a = self;
  CHECK(a(1, 1) == 5);
  c = Tensor<float, 2>({4, 1});
  CHECK(c.shape() == Shape{4, 1});
}

TEST_CASE("assignment and resize keep memory that is large enough") {
  Tensor<float, 2> x({10, 10});
  const float* memory = x.data();
  x.resize({4, 5});
  CHECK(x.data() == memory);
  CHECK(x.shape() == Shape{4, 5});
  x = counted({3, 3});  // from a temporary: its memory
  memory = x.data();
  const Tensor<float, 2> source = counted({2, 2});
  x = source;
  CHECK(x.data() == memory);
  CHECK(sum_of(x) == 10);
}

TEST_CASE("empty tensors") {
  Tensor<float, 2> none;
  CHECK(none.empty());
  CHECK(none.size() == 0);
  Tensor<float, 2> no_rows({0, 5});
  CHECK(no_rows.empty());
  CHECK(no_rows.shape() == Shape{0, 5});
  Tensor<float, 2> x = counted({2, 2});
  x = no_rows;
  CHECK(x.empty());
  CHECK(x.shape() == Shape{0, 5});
  Tensor<float, 2> copied(no_rows);
  CHECK(copied.shape() == Shape{0, 5});
  CHECK(no_rows.slice(0, 0).empty());
  x = none;
  CHECK(x.empty());
}

TEST_CASE("tensors are views to whoever reads; writing through a view is asked for") {
  Tensor<float, 2> x = counted({2, 3});
  CHECK(sum_of(x) == 21);
  TensorView<float, 2> view = x.view();
  view(1, 0) = 40;
  CHECK(x(1, 0) == 40);
  const Tensor<float, 2>& fixed = x;
  static_assert(std::is_same_v<decltype(fixed(0, 0)), const float&>);
  static_assert(std::is_same_v<decltype(fixed.data()), const float*>);
  const Tensor<float, 2> deep{TensorView<const float, 2>(fixed)};
  CHECK(deep.data() != fixed.data());
  CHECK(deep(1, 0) == 40);
}

TEST_CASE("slices and other shapes look at the same elements") {
  Tensor<float, 2> x = counted({6, 4});
  const auto middle = x.view().slice(2, 4);
  CHECK(middle.shape() == Shape{2, 4});
  CHECK(middle.data() == x.data() + 8);
  const auto cube = x.view().reshaped<3>({2, 3, 4});
  CHECK(cube(1, 0, 0) == 13);
  CHECK(cube.as_rows().shape() == Shape{6, 4});
  CHECK(cube.matrix().rows() == 6);
  CHECK(cube.matrix()(5, 3) == 24);
  CHECK_THROWS_WITH(x.reshaped<1>({23}), contains("6x4 has 24 elements, 23 has 23"));
  CHECK_THROWS_AS(x.reshaped<2>({24}), ShapeError);
}

TEST_CASE("slices that do not lie in the tensor get a sentence") {
  Tensor<float, 2> x = counted({6, 4});
  CHECK(x.slice(6, 6).empty());
  CHECK(x.slice(0, 6).size() == 24);
  CHECK_THROWS_WITH(x.slice(2, 7), contains("there are no elements 2 to 7 on the first axis of 6x4"));
  CHECK_THROWS_AS(x.slice(-1, 2), ShapeError);
  CHECK_THROWS_AS(x.view().slice(4, 3), ShapeError);
}

TEST_CASE("the matrix of a tensor is an Eigen map") {
  Tensor<double, 3> x({2, 2, 3});
  x.matrix().setConstant(2);
  x.matrix().row(3) *= 5;
  CHECK(x(1, 1, 2) == 10);
  CHECK(x.matrix().sum() == 3 * 3 * 2 + 30);
}

TEST_CASE("ranks must agree") {
  CHECK_THROWS_WITH((Tensor<float, 2>({1, 2, 3})), contains("shape 1x2x3 has rank 3, the type says 2"));
  float element = 0;
  CHECK_THROWS_AS((TensorView<float, 1>(&element, Shape{1, 1})), ShapeError);
}

TEST_CASE("sizes that overflow are refused") {
  const Index large = Index{1} << 32;
  CHECK_THROWS_AS((Tensor<float, 2>({large, large})), ShapeError);
  CHECK_THROWS_WITH((Tensor<double, 1>({Index{1} << 61})), contains("elements of 8 bytes are more than can be addressed"));
  Shape changed{1, large};
  changed[0] = large;  // behind the back of the shape's own check
  Tensor<float, 2> x = counted({2, 2});
  CHECK_THROWS_AS(x.resize(changed), ShapeError);
  CHECK(sum_of(x) == 10);  // untouched
}

TEST_CASE("a tensor that could not be made larger is empty and usable") {
  const auto used = BufferPool::instance().used_bytes();
  {
    Tensor<Reluctant, 2> x({2, 3});
    CHECK_THROWS_AS(x.resize({2, 4}), std::runtime_error);
    CHECK(x.empty());
    CHECK(x.data() == nullptr);
    CHECK(x.size() == 0);
    CHECK(Reluctant::alive == 0);
    CHECK(BufferPool::instance().used_bytes() == used);
    x.resize({1, 5});
    CHECK(Reluctant::alive == 5);
  }
  CHECK(Reluctant::alive == 0);
  { Tensor<Reluctant, 2> one({1, 1}); }
  CHECK(Reluctant::alive == 0);
  CHECK(BufferPool::instance().used_bytes() == used);
#if !HEED_TEST_SANITIZED  // a sanitizer's stops the program instead
  Tensor<float, 2> x = counted({2, 3});
  CHECK_THROWS_AS(x.resize({1, Index{1} << 60}), std::bad_alloc);
  CHECK(x.empty());
  x = counted({2, 3});
  CHECK(sum_of(x) == 21);
#endif
}

TEST_CASE("memory of the caller is wrapped without a copy") {
  std::vector<float> mine(12, 1.0f);
  auto by_pointer = wrap<2>(mine.data(), {3, 4});
  by_pointer(2, 3) = 7;
  CHECK(mine[11] == 7);
  auto by_span = wrap<1>(std::span<float>(mine), {12});
  CHECK(by_span.data() == mine.data());
  const std::array<float, 4> fixed{1, 2, 3, 4};
  CHECK(wrap<2>(std::span(fixed), {2, 2})(1, 0) == 3);
  CHECK_THROWS_WITH(wrap<2>(std::span<float>(mine), {3, 5}), contains("the span holds 12 elements, shape 3x5 needs 15"));
}

TEST_CASE("row-major Eigen memory is wrapped, the rest copied by name") {
  RowMajor rows(2, 3);
  rows << 1, 2, 3, 4, 5, 6;
  const auto view = wrap(rows);
  static_assert(std::is_same_v<decltype(view), const TensorView<float, 2>>);
  CHECK(view.data() == rows.data());
  CHECK(view(1, 0) == 4);
  view(1, 0) = 40;
  CHECK(rows(1, 0) == 40);
  static_assert(std::is_same_v<decltype(wrap(std::as_const(rows))), TensorView<const float, 2>>);

  Eigen::MatrixXf columns = rows;  // column-major
  const Tensor<float, 2> copied = copy(columns);
  CHECK(copied(0, 1) == 2);
  CHECK(copied(1, 0) == 40);
  columns(0, 1) = 100;
  CHECK(copied(0, 1) == 2);
  CHECK(copy(columns.transpose())(1, 0) == 100);
  CHECK(copy(columns * 2)(1, 2) == 12);
}

TEST_CASE("maps, references, blocks, vectors and transposes are wrapped where they lie row by row") {
  std::vector<float> mine(12);
  std::iota(mine.begin(), mine.end(), 0.0f);
  const auto map = wrap(Eigen::Map<RowMajor>(mine.data(), 3, 4));
  static_assert(std::is_same_v<decltype(map), const TensorView<float, 2>>);
  CHECK(map.shape() == Shape{3, 4});
  CHECK(map(2, 1) == 9);
  map(2, 1) = -9;
  CHECK(mine[9] == -9);
  const Eigen::Map<const RowMajor> fixed(mine.data(), 3, 4);
  static_assert(std::is_same_v<decltype(wrap(fixed)), TensorView<const float, 2>>);
  CHECK(wrap(fixed).data() == mine.data());

  RowMajor matrix = fixed;
  Eigen::Ref<RowMajor> reference(matrix);
  CHECK(wrap(reference).data() == matrix.data());
  CHECK(wrap(matrix.middleRows(1, 2)).shape() == Shape{2, 4});
  CHECK(wrap(matrix.middleRows(1, 2)).data() == matrix.data() + 4);
  CHECK(wrap(matrix.row(2))(0, 3) == 11);
  CHECK_THROWS_WITH(wrap(matrix.leftCols(3)), contains("the rows of the 3x3 Eigen matrix begin 4 elements apart"));
  CHECK_THROWS_AS(wrap(matrix.leftCols(3)), ShapeError);
  CHECK_THROWS_AS(wrap(matrix.leftCols(1)), ShapeError);           // a column of a row-major matrix
  CHECK(wrap(matrix.topLeftCorner(1, 3)).shape() == Shape{1, 3});  // one row has no gaps
  CHECK(copy(matrix.leftCols(3))(2, 2) == 10);

  Eigen::VectorXf column = Eigen::VectorXf::LinSpaced(5, 0, 4);
  Eigen::RowVectorXf row = column.transpose();
  CHECK(wrap(column).shape() == Shape{5, 1});
  CHECK(wrap(column)(3, 0) == 3);
  CHECK(wrap(row).shape() == Shape{1, 5});
  CHECK(wrap(row)(0, 3) == 3);
  Eigen::ArrayXXf columns(2, 3);
  columns << 1, 2, 3, 4, 5, 6;
  CHECK(wrap(columns.transpose()).shape() == Shape{3, 2});
  CHECK(wrap(columns.transpose())(1, 1) == 5);

  static_assert(Wrappable<RowMajor&> && Wrappable<const RowMajor&> && Wrappable<Eigen::Map<RowMajor>>);
  static_assert(!Wrappable<std::vector<float>&>);  // temporaries: compile_fail/wrap_temporary*
}

TEST_CASE("a layer runs on whatever memory is wrapped, forward and backward") {
  const LinearOptions options{.in_features = 3, .out_features = 2};
  Linear<float> layer(options), other = layer;
  const Tensor<float, 2> x = counted({4, 3}), dy = counted({4, 2});
  Linear<float>::Cache cache;
  const Tensor<float, 2> y = layer.forward(x, cache), dx = layer.backward(dy, cache);

  const auto same = [&](auto input, auto gradient) {
    other.zero_gradients();
    CHECK(std::ranges::equal(other.forward(input).span(), y.span()));
    CHECK(std::ranges::equal(other.forward(input, cache).span(), y.span()));
    CHECK(cache.x.data() == input.data());  // without a copy
    CHECK(std::ranges::equal(other.backward(gradient, cache).span(), dx.span()));
    const auto gradient_of = [](Linear<float>& l) { return std::vector<float>(l.weight().gradient(), l.weight().gradient() + 6); };
    CHECK(gradient_of(other) == gradient_of(layer));
  };
  std::vector<float> input(x.data(), x.data() + 12), gradient(dy.data(), dy.data() + 8);
  same(wrap<2>(input.data(), {4, 3}), wrap<2>(gradient.data(), {4, 2}));
  same(wrap<2>(std::span<float>(input), {4, 3}), wrap<2>(std::span<float>(gradient), {4, 2}));
  same(wrap<2>(std::span(std::as_const(input)), {4, 3}), wrap<2>(std::span(gradient), {4, 2}));
  Eigen::Map<RowMajor> input_map(input.data(), 4, 3), gradient_map(gradient.data(), 4, 2);
  same(wrap(input_map), wrap(gradient_map));
  RowMajor input_matrix = input_map, gradient_matrix = gradient_map;
  same(wrap(input_matrix), wrap(std::as_const(gradient_matrix)));
  Tensor<float, 2> own = x;
  same(own.view(), wrap(gradient_matrix));
  same(own.view().reshaped<1>({12}).reshaped<2>({4, 3}).slice(0, 4).as_rows(), wrap(gradient_map));
}

TEST_CASE("a tensor of the size of a freed one asks the system for nothing") {
  { Tensor<float, 2> warm({100, 33}); }
  const auto before = BufferPool::instance().from_system();
  for (int i = 0; i < 10; ++i) Tensor<float, 2> again({100, 33});
  CHECK(BufferPool::instance().from_system() == before);
}

TEST_CASE("what is here to stay leaves nothing idle behind, however often it is made") {
  BufferPool pool;
  PoolScope own(pool);
  for (int round = 0; round < 3; ++round) {
    auto a = Tensor<float, 2>::lasting({30, 10});
    Tensor<float, 2> b, passing({30, 10});
    b.swap(a);
    auto flat = std::move(b).flattened();
    const Tensor<float, 1> copy(flat);  // passes by
  }
  REQUIRE(pool.from_system() == 2 + 3);
  REQUIRE(pool.used_bytes() == 0);
  REQUIRE(pool.idle_bytes() == 2 * 1280);
}

TEST_CASE("flattened moves the memory along") {
  Tensor<float, 2> x = counted({2, 3});
  const float* memory = x.data();
  const Tensor<float, 1> flat = std::move(x).flattened();
  CHECK(flat.data() == memory);
  CHECK(flat.shape() == Shape{6});
  CHECK(x.data() == nullptr);
}

TEST_CASE("a tensor without a shape has no rows, however it is looked at") {
  Tensor<float, 3> x;
  CHECK(x.rows() == 0);
  CHECK(x.as_rows().size() == 0);
  CHECK(x.matrix().size() == 0);
  CHECK(std::as_const(x).matrix().size() == 0);
  CHECK(std::move(x).flattened().shape() == Shape{0});
}

TEST_CASE("elements of any type are made and destroyed once each") {
  REQUIRE(Tracked::alive == 0);
  {
    Tensor<Tracked, 1> x({5});
    CHECK(Tracked::alive == 5);
    x[4] = Tracked(8);
    Tensor<Tracked, 1> y = x;
    CHECK(y[4].value == 8);
    CHECK(Tracked::alive == 10);
    y.resize({3});
    y.resize({5});
    y = std::move(x);
    x = Tensor<Tracked, 1>({2});
    CHECK(y[4].value == 8);
  }
  CHECK(Tracked::alive == 0);
  Tensor<std::complex<double>, 1> z({2});
  z[1] = {0, 1};
  CHECK((z[1] * z[1]).real() == -1);
}
