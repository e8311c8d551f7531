// SPDX-License-Identifier: MIT
#include <vector>

#include <heed/core/dual.hpp>
#include <heed/kernels/rotary_embedding.hpp>

#include "catch.hpp"
#include "every_isa.hpp"
#include "reference/random_tensor.hpp"
#include "reference/rotary_embedding_reference.hpp"

using namespace heed;
using kernels::HeadRows;
using kernels::Rotation;
using reference::random_tensor;

namespace {

/// Heads of tokens, a little apart from each other (`gap` elements in front of each head) as in a packed projection.
template <class T, class U>
HeadRows<T> packed(T* data, const Rotation<U>& r, Index gap) {
  const Index head = r.width + gap;
  return {data + gap, r.tokens * r.heads * head, head, r.heads * head};
}

/// Forward, backward, in place and on every instruction set against the definition; nothing else may be written.
template <class T>
void check(Rotation<T> r, Index positions) {
  INFO("width " << r.width << ", rotary " << r.rotary_width << ", heads " << r.heads << ", tokens " << r.tokens);
  const Index gap = 3, size = r.batches * r.tokens * r.heads * (r.width + gap) + gap;
  const auto cos = random_tensor<T, 1>({positions * (r.rotary_width / 2) + 1}, 11);  // any numbers: the kernel turns by what the tables say
  const auto sin = random_tensor<T, 1>({positions * (r.rotary_width / 2) + 1}, 12);
  r.cos = cos.data(), r.sin = sin.data();
  REQUIRE(r.fits(positions));
  const double tolerance = sizeof(T) == 4 ? 4e-7 : 1e-15;  // two products below 1 and their sum, each rounded
  for (bool interleaved : {false, true}) {
    r.interleaved = interleaved;
    const auto x = random_tensor<T, 1>({size}, 13);
    const auto rows = packed(x.data(), r, gap);
    for (bool back : {false, true}) {
      Tensor<double, 1> expected({size});
      for (Index i = 0; i < size; ++i) expected[i] = static_cast<double>(x[i]);
      reference::rotary_embedding(r, back, rows, packed(expected.data(), r, gap));

      auto in_place = x;
      const auto same = packed(in_place.data(), r, gap);
      const HeadRows<const T> same_read{same.data, same.batch, same.head, same.row};
      if (back)
        kernels::rotary_backward(r, same_read, same);
      else
        kernels::rotary_forward(r, same_read, same);
      REQUIRE(reference::largest_difference(in_place, expected) <= tolerance);

      Tensor<T, 1> apart({size});
      for_every_isa<kernels::detail::Rotate<T>, T>(
          [&](const char* isa) {
            INFO(isa);
            Index wrong = 0;
            for (Index b = 0; b < r.batches; ++b)
              for (Index t = 0; t < r.tokens; ++t)
                for (Index h = 0; h < r.heads; ++h)
                  for (Index i = 0; i < r.width; ++i) {
                    T& y = packed(apart.data(), r, gap).at(b, h, t)[i];
                    wrong += !(std::abs(static_cast<double>(y) - packed(expected.data(), r, gap).at(b, h, t)[i]) <= tolerance);
                    y = 0;
                  }
            for (Index i = 0; i < size; ++i) wrong += apart[i] != 0;  // the gaps
            REQUIRE(wrong == 0);
          },
          Index(0), r.batches * r.tokens, static_cast<const Rotation<T>*>(&r), back ? -1 : 1, rows, packed(apart.data(), r, gap));
    }
  }
}

}  // namespace

TEMPLATE_TEST_CASE("rotation of pairs, for any width", "", float, double) {
  for (Index half : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 64})
    for (Index rest : {0, 1, 16, 19})
      check<TestType>({.batches = 1, .heads = 2, .tokens = 3, .width = 2 * half + rest, .rotary_width = 2 * half}, 3);
  check<TestType>({.batches = 2, .heads = 1, .tokens = 2, .width = 5, .rotary_width = 0}, 2);  // nothing turns
  check<TestType>({.batches = 0, .heads = 1, .tokens = 2, .width = 4, .rotary_width = 4}, 2);
}

TEMPLATE_TEST_CASE("rotation takes positions from an offset, ids, or a table of each sequence", "", float, double) {
  const Rotation<TestType> whole{.batches = 2, .heads = 3, .tokens = 4, .width = 6, .rotary_width = 6};
  check<TestType>(whole, 4);
  auto r = whole;
  r.offset = 5;
  check<TestType>(r, 9);
  CHECK_FALSE(r.fits(8));
  r.offset = -1;
  CHECK_FALSE(r.fits(9));
  r = whole;
  r.position_batch = 4;  // tables (batches, tokens, 3)
  check<TestType>(r, 8);
  CHECK_FALSE(r.fits(7));
  std::vector<std::int64_t> ids = {6, 0, 6, 2, 1, 5, 4, 3};
  r.position_ids = ids.data();
  check<TestType>(r, 7);
  CHECK_FALSE(r.fits(6));
  ids[7] = -1;
  CHECK_FALSE(r.fits(7));
  r.position_batch = 0;  // one row of ids for all sequences
  check<TestType>(r, 7);
}

TEST_CASE("rotation of many rows gives the same bits for any number of threads") {
  const Rotation<float> base{.batches = 3, .heads = 5, .tokens = 700, .width = 20, .rotary_width = 16};
  Tensor<float, 2> cos({700, 8}), sin({700, 8});
  kernels::rotary_table(10000.0, 16, 700, cos.data(), sin.data());
  for (bool interleaved : {false, true}) {
    auto r = base;
    r.interleaved = interleaved, r.cos = cos.data(), r.sin = sin.data();
    const auto x = random_tensor<float, 4>({3, 700, 5, 20}, 1);
    Tensor<float, 4> y({3, 700, 5, 20}), again({3, 700, 5, 20});
    const auto rows = [](auto* data) { return HeadRows<std::remove_pointer_t<decltype(data)>>{data, 700 * 100, 20, 100}; };
    {
      ThreadScope one(1);
      kernels::rotary_forward(r, rows(x.data()), rows(y.data()));
    }
    {
      ThreadScope several(3);
      kernels::rotary_forward(r, rows(x.data()), rows(again.data()));
    }
    CHECK(reference::same_bits(y, again));
  }
}

TEST_CASE("the table of angles") {
  Tensor<double, 2> cos({50, 3}), sin({50, 3});
  kernels::rotary_table(100.0, 6, 50, cos.data(), sin.data());
  for (Index p = 0; p < 50; ++p)
    for (Index i = 0; i < 3; ++i) {
      const double angle = static_cast<double>(p) / std::pow(100.0, 2.0 * static_cast<double>(i) / 6.0);
      CHECK(cos(p, i) == Approx(std::cos(angle)).margin(1e-13));
      CHECK(sin(p, i) == Approx(std::sin(angle)).margin(1e-13));
    }
}

TEST_CASE("rotation of number-like types") {
  using D = Dual<2>;
  const D cos[1] = {0.6}, sin[1] = {0.8};
  D x[3] = {2.0, 1.0, 9.0}, y[3];
  x[0].tangent[0] = 1, x[1].tangent[1] = 1;
  const Rotation<D> r{.batches = 1, .heads = 1, .tokens = 1, .width = 3, .rotary_width = 2, .cos = cos, .sin = sin};
  kernels::rotary_forward(r, {x, 3, 3, 3}, {y, 3, 3, 3});
  CHECK(y[0].value == Approx(2 * 0.6 - 0.8));
  CHECK(y[1].value == Approx(0.6 + 2 * 0.8));
  CHECK(y[2].value == 9);
  CHECK(y[0].tangent[0] == 0.6);
  CHECK(y[0].tangent[1] == -0.8);
  CHECK(y[1].tangent[0] == 0.8);
}
