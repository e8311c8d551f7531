// SPDX-License-Identifier: MIT
#include <vector>

#include <heed/core/buffer_pool.hpp>
#include <heed/losses/loss_base.hpp>

#include "catch.hpp"

using namespace heed;

namespace {

/// sum over rows of (target_r + 1) times the sum of the row: terms of several elements, in the words of LossBase.
template <class T>
class RowSums : public LossBase<T, RowSums<T>> {
  using Base = LossBase<T, RowSums<T>>;

 public:
  using typename Base::Value;
  struct Options {
    Reduction reduction = Reduction::mean;
    double divisor = 4;
  };
  explicit RowSums(const Options& options = {}) : options_(options) {}
  const Options& options() const { return options_; }

  void rows(const TensorView<const T, 2>& x, const std::vector<int>& targets, Tensor<T, 1>& losses, Tensor<T, 2>& dx) const {
    Base::unreduced(x, targets, {x.rows()}, losses, dx);
  }

 private:
  friend Base;
  struct Terms {
    const T* x;
    const int* targets;
    Index count, width;
    double divisor;
    Value operator()(Index r, double scale, T* dx) const {
      Value sum(0);
      for (Index c = 0; c < width; ++c) {
        sum += Value(x[r * width + c]);
        if (dx) dx[r * width + c] = static_cast<T>(scale * (targets[r] + 1));
      }
      return (targets[r] + 1) * sum;
    }
  };
  Terms terms(const TensorView<const T, 2>& x, const std::vector<int>& targets) const {
    return {x.data(), targets.data(), x.rows(), x.features(), options_.divisor};
  }
  Options options_;
};

}  // namespace

TEST_CASE("a loss is its terms, added or averaged by its divisor") {
  Tensor<float, 2> x({3, 2}), dx;
  for (Index i = 0; i < 6; ++i) x[i] = static_cast<float>(i);  // rows add up to 1, 5, 9
  const std::vector<int> targets = {0, 1, 2};                  // 1 + 10 + 27
  static_assert(std::is_same_v<RowSums<float>::Value, double>);
  CHECK(RowSums<float>()(x, targets, dx) == 38.0 / 4);
  CHECK(dx.shape() == x.shape());
  for (Index i = 0; i < 6; ++i) CHECK(dx[i] == static_cast<float>(i / 2 + 1) / 4);
  CHECK(RowSums<float>().value(x, targets) == 38.0 / 4);
  CHECK(RowSums<float>({.reduction = Reduction::sum})(x, targets, dx) == 38.0);
  CHECK(dx[5] == 3.0f);
  Tensor<float, 1> losses;
  RowSums<float>().rows(x, targets, losses, dx);
  CHECK(losses.shape() == Shape{3});
  CHECK(losses[0] == 1.0f);
  CHECK(losses[1] == 10.0f);
  CHECK(losses[2] == 27.0f);
  CHECK(dx[2] == 2.0f);
}

TEST_CASE("the mean of nothing is 0, with zero gradients") {
  Tensor<double, 2> x({2, 2}), dx;
  x.fill(3.0);
  CHECK(RowSums<double>({.divisor = 0})(x, std::vector<int>{0, 1}, dx) == 0.0);
  for (Index i = 0; i < 4; ++i) CHECK(dx[i] == 0.0);
  CHECK(RowSums<double>()(Tensor<double, 2>({0, 3}), std::vector<int>{}, dx) == 0.0);
  CHECK(dx.shape() == Shape{0, 3});
  CHECK(RowSums<double>()(Tensor<double, 2>({2, 0}), std::vector<int>{0, 0}, dx) == 0.0);
  Tensor<double, 1> losses({2});
  losses.fill(7);
  RowSums<double>().rows(Tensor<double, 2>({2, 0}), {0, 0}, losses, dx);
  CHECK(losses[1] == 0.0);
}

TEST_CASE("many terms: the same bits with one thread and two, and no memory after the first call") {
  Tensor<float, 2> x({5000, 3}), one, two;
  std::vector<int> targets(5000);
  for (Index i = 0; i < x.size(); ++i) x[i] = 0.1f * static_cast<float>(i % 17) - 0.7f;
  for (std::size_t i = 0; i < targets.size(); ++i) targets[i] = static_cast<int>(i % 5);
  const RowSums<float> loss;
  double value[2];
  {
    const ThreadScope threads(1);
    value[0] = loss(x, targets, one);
  }
  const ThreadScope threads(2);
  value[1] = loss(x, targets, two);
  CHECK(value[0] == value[1]);
  CHECK(std::equal(one.span().begin(), one.span().end(), two.span().begin()));
  const auto from_system = BufferPool::instance().from_system();
  loss(x, targets, two);
  CHECK(BufferPool::instance().from_system() == from_system);
}

TEST_CASE("targets of another shape get a sentence") {
  CHECK_NOTHROW(detail::require_target_shape("Loss", Shape{2, 3}, Shape{2, 3}));
  CHECK_THROWS_WITH(detail::require_target_shape("Loss", Shape{2, 3}, Shape{3, 2}), "Loss: the input is 2x3, the targets 3x2");
  CHECK_THROWS_AS(detail::require_target_shape("Loss", Shape{2, 3}, Shape{6}), ShapeError);
}
