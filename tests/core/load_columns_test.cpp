// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <string>
#include <vector>

#include <heed/core/load_columns.hpp>

#include "every_isa.hpp"

using namespace heed;

namespace {

/// Loads the columns of `lanes` rows and stores them one behind the other.
template <class T>
struct Columns {
  template <class Isa>
  HEED_INLINE static void run(const T* p, Index row, T* out, int* lanes, int* count) {
    using P = Packet<Isa, T>;
    *lanes = P::lanes, *count = kColumns<Isa, T>;
    P columns[kColumns<Isa, T>];
    load_columns<Isa>(RegularRows<T>{p - 3, row}, 3, columns);
    for (int c = 0; c < kColumns<Isa, T>; ++c) columns[c].store(out + c * P::lanes);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("Columns of rows that begin anywhere, near and far apart, and backwards", "", float, double) {
  using T = TestType;
  std::vector<T> numbers(2000);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<T>(i + 1);
  std::vector<T> out(65, T(-1));
  int lanes = 0, count = 0;
  for (const Index row : {1, 4, 7, 64, 97, -5})
    for (const Index first : {100, 101, 103}) {
      const T* p = numbers.data() + first;
      const auto check = [&](const std::string& isa) {
        INFO(isa << ", rows " << row << " apart, from " << first);
        REQUIRE(count == (lanes == 1 ? 1 : 16 / static_cast<int>(sizeof(T))));
        for (Index c = 0; c < count; ++c)
          for (Index i = 0; i < lanes; ++i) REQUIRE(out[static_cast<std::size_t>(c * lanes + i)] == p[i * row + c]);
        REQUIRE(out[static_cast<std::size_t>(count * lanes)] == T(-1));
        out.assign(65, T(-1));
      };
      for_every_isa<Columns<T>, T>(check, p, row, out.data(), &lanes, &count);
    }
}
