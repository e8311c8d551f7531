// SPDX-License-Identifier: MIT
#include <algorithm>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "catch.hpp"

#include <heed/core/dual.hpp>
#include <heed/core/prepared_weights.hpp>

using namespace heed;

namespace {

/// What a kernel might make: the elements without gaps, doubled.
template <class T>
struct Doubled {
  Tensor<T, 1> data;
};
template <class T>
struct Copied {
  Tensor<T, 1> data;
};

template <template <class> class Made, class T>
const Made<T>& make(const WeightRows<T>& weight, T factor, Made<T>& own, const std::array<std::int64_t, 3>& layout = {}) {
  return prepared(weight, layout, own, [&](Made<T>& made) {
    made.data.resize({weight.rows * weight.cols});
    for (Index i = 0; i < made.data.size(); ++i) made.data[i] = weight.data[i / weight.cols * weight.row + i % weight.cols] * factor;
  });
}
const Doubled<float>& doubled(const WeightRows<float>& weight, Doubled<float>& own, const std::array<std::int64_t, 3>& layout = {}) {
  return make<Doubled>(weight, 2.0f, own, layout);
}
bool right(const WeightRows<float>& weight) {
  Doubled<float> own;
  const auto& made = doubled(weight, own);
  for (Index i = 0; i < made.data.size(); ++i)
    if (made.data[i] != 2 * weight.data[i / weight.cols * weight.row + i % weight.cols]) return false;
  return made.data.size() == weight.rows * weight.cols;
}

}  // namespace

TEST_CASE("without a store a weight is prepared for the call") {
  const float weight[6] = {1, 2, 3, 4, 5, 6};
  Doubled<float> own;
  CHECK(&doubled({weight, 2, 3, 3}, own) == &own);
  CHECK(own.data[5] == 12);
}

TEST_CASE("a store keeps what is prepared, by weight, shape, layout and kind") {
  std::vector<float> weight(64, 1.5f), other(64, 2.5f);
  PreparedWeights store;
  PreparedScope scope(store);
  Doubled<float> own;
  std::vector<const Doubled<float>*> made;
  const WeightRows<float> rows[] = {{weight.data(), 4, 4, 4}, {other.data(), 4, 4, 4}, {weight.data(), 2, 8, 8}, {weight.data(), 4, 4, 8},
      {weight.data(), 3, 4, 4}, {weight.data() + 4, 4, 4, 4}};
  for (const auto& weight_rows : rows) made.push_back(&doubled(weight_rows, own));
  for (const auto& layout : {std::array<Index, 3>{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}) made.push_back(&doubled(rows[0], own, layout));
  CHECK(store.made() == 9);
  CHECK(own.data.empty());
  Copied<float> copy;
  CHECK(make<Copied>(rows[0], 1.0f, copy).data[0] == 1.5f);  // another kind for the same weight
  CHECK(doubled(rows[0], own).data[0] == 3);
  CHECK(doubled(rows[1], own).data[0] == 5);
  CHECK(store.size() == 10);

  std::sort(made.begin(), made.end());
  CHECK(std::adjacent_find(made.begin(), made.end()) == made.end());
  for (const auto& weight_rows : rows) CHECK(std::binary_search(made.begin(), made.end(), &doubled(weight_rows, own)));
  CHECK(store.made() == 10);
  store.clear();
  CHECK(store.size() == 0);
  CHECK(right(rows[0]));
}

TEST_CASE("a change of one number anywhere is seen, one in the gaps is none") {
  struct Case {
    Index rows, cols, row;
  };
  for (const Case& c : {Case{1, 1, 1}, {1, 15, 15}, {1, 16, 16}, {3, 11, 11}, {1, 4096, 4096}, {4097, 1, 1}, {2, 5000, 5000},
           {300, 256, 256}, {5, 3, 7}, {3, 1, 4}, {300, 256, 300}, {2, 9000, 9001}}) {
    INFO(c.rows << " x " << c.cols << ", " << c.row << " from row to row");
    std::vector<float> weight(static_cast<std::size_t>(c.rows * c.row), 0.5f);
    const WeightRows<float> rows{weight.data(), c.rows, c.cols, c.row};
    PreparedWeights store;
    PreparedScope scope(store);
    REQUIRE(right(rows));
    const Index step = std::max<Index>(1, c.rows * c.row / 100);
    bool all = true;
    std::uint64_t expected = 1;
    const auto change = [&](Index at) {
      weight[static_cast<std::size_t>(at)] =
          weight[static_cast<std::size_t>(at)] * -1;  // the one bit of which a product of odd numbers makes one again
      expected += at % c.row < c.cols;
      all = all && right(rows) && store.made() == expected;
    };
    for (Index at = 0; at < c.rows * c.row; at += step) change(at);
    change(c.rows * c.row - 1);
    CHECK(all);
    CHECK(store.size() == 1);
  }
}

TEST_CASE("changes that could cancel are seen") {
  std::vector<float> weight(3000);
  for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(i % 97) - 40.5f;
  const WeightRows<float> rows{weight.data(), 1, 3000, 3000};
  PreparedWeights store;
  PreparedScope scope(store);
  REQUIRE(right(rows));
  bool all = true;
  for (std::size_t distance = 1; distance < 200; ++distance) {
    weight[7] = -weight[7], weight[7 + distance] = -weight[7 + distance];  // two signs
    all = all && right(rows);
    std::swap(weight[1000], weight[1000 + distance]);
    all = all && right(rows);
    weight[2000] += 1, weight[2000 + distance] -= 1;
    all = all && right(rows);
  }
  for (std::size_t start = 0; start < 64; ++start)
    for (std::size_t second = 1; second < 34; ++second)
      for (std::size_t third = second + 1; third < 35; ++third) {
        for (const std::size_t i : {start, start + second, start + third}) weight[i] = -weight[i];  // three signs
        all = all && right(rows);
      }
  std::rotate(weight.begin(), weight.begin() + 16, weight.end());
  CHECK(all);
  CHECK(right(rows));
  std::fill(weight.begin(), weight.end(), 0.0f);
  CHECK(right(rows));
  std::fill(weight.begin(), weight.end(), -0.0f);  // equal numbers, other bits
  const std::uint64_t made = store.made();
  CHECK(right(rows));
  CHECK(store.made() == made + 1);
}

TEST_CASE("another weight at the address of one that is gone is another weight") {
  PreparedWeights store;
  PreparedScope scope(store);
  std::optional<std::array<float, 100>> weight;
  for (int i = 0; i < 5; ++i) {
    weight.emplace();
    weight->fill(static_cast<float>(i));
    CHECK(right({weight->data(), 10, 10, 10}));
  }
  CHECK(store.size() == 1);
}

TEST_CASE("a closed store keeps what it has and takes nothing") {
  std::vector<float> weight(8, 1), other(8, 2);
  PreparedWeights store;
  PreparedScope scope(store);
  CHECK(right({weight.data(), 2, 4, 4}));
  store.close();
  Doubled<float> own;
  CHECK(&doubled({other.data(), 2, 4, 4}, own) == &own);
  CHECK(own.data[7] == 4);
  CHECK(&doubled({weight.data(), 2, 4, 4}, own) != &own);
  weight[3] = 9;
  CHECK(right({weight.data(), 2, 4, 4}));
  CHECK(store.size() == 1);
}

TEST_CASE("a frozen store does not look, except at what was not made whole") {
  std::vector<float> weight(64, 1.5f);
  const WeightRows<float> rows{weight.data(), 4, 4, 4};
  PreparedWeights store;
  PreparedScope scope(store);
  store.freeze();
  CHECK(right(rows));  // kept now
  weight[5] = 7;
  CHECK_FALSE(right(rows));
  store.freeze(false);
  CHECK(right(rows));
  CHECK(store.made() == 2);
#if defined(__cpp_exceptions)
  weight[6] = 8;
  Doubled<float> own;
  const auto half_made = [](Doubled<float>& made) {
    made.data.fill(0);
    throw std::runtime_error("stopped");
  };
  CHECK_THROWS(prepared(rows, {}, own, half_made));
  store.freeze();
  CHECK(right(rows));
#endif
  store.clear();
  weight[7] = 9;
  CHECK(right(rows));
  weight[8] = 10;
  CHECK(right(rows));  // it looks again
}

TEST_CASE("preparing anew takes no memory") {
  std::vector<float> weight(100000, 1);
  PreparedWeights store;
  PreparedScope scope(store);
  CHECK(right({weight.data(), 10, 10000, 10000}));
  const std::uint64_t acquired = BufferPool::instance().acquired();
  for (int i = 0; i < 3; ++i) {
    weight[99999] = static_cast<float>(i) + 2;
    CHECK(right({weight.data(), 10, 10000, 10000}));
  }
  CHECK(store.made() == 4);
  CHECK(BufferPool::instance().acquired() == acquired);
}

TEST_CASE("an expired store prepares each weight once more") {
  const float weight[16] = {1, 2, 3};
  PreparedWeights store;
  PreparedScope scope(store);
  for (int i = 0; i < 2; ++i) {
    store.expire();
    for (int use = 0; use < 3; ++use) {
      CHECK(right({weight, 2, 4, 4}));
      CHECK(right({weight + 8, 2, 4, 4}));
    }
    CHECK(store.size() == 2);
    CHECK(store.made() == (i == 0 ? 2u : 4u));
  }
}

TEST_CASE("PreparedScope nests, and is the thread's own") {
  const float weight[4] = {1, 2, 3, 4};
  PreparedWeights outer, inner;
  CHECK(context().prepared == nullptr);
  {
    PreparedScope scope(outer);
    {
      PreparedScope nested(inner);
      CHECK(right({weight, 2, 2, 2}));
    }
    CHECK(context().prepared == &outer);
    bool none = false;
    std::thread([&] { none = context().prepared == nullptr; }).join();
    CHECK(none);
  }
  CHECK(context().prepared == nullptr);
  CHECK(inner.size() == 1);
  CHECK(outer.size() == 0);
}

TEST_CASE("numbers of another kind are prepared for the call") {
  const Dual<2> weight[2] = {Dual<2>(1.5), Dual<2>(2.5)};
  PreparedWeights store;
  PreparedScope scope(store);
  Copied<Dual<2>> own;
  CHECK(&make<Copied>(WeightRows<Dual<2>>{weight, 1, 2, 2}, Dual<2>(1), own) == &own);
  CHECK(store.size() == 0);
}
