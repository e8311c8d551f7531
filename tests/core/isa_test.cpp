// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cstdlib>
#include <string>

#include <heed/core/isa.hpp>

#include "every_isa.hpp"

using namespace heed;

namespace {

/// Writes down which tag it was run with.
struct Which {
  template <class Isa>
  HEED_INLINE static void run(int* bytes) {
    *bytes = Isa::bytes;
  }
};

}  // namespace

TEST_CASE("HEED_ISA asks for a lower level") {
  const auto limited = heed::detail::limited_level;
  CHECK(limited(IsaLevel::avx2, nullptr) == IsaLevel::avx2);
  CHECK(limited(IsaLevel::avx2, "") == IsaLevel::avx2);
  CHECK(limited(IsaLevel::avx512, "scalar") == IsaLevel::scalar);
  CHECK(limited(IsaLevel::avx512, "baseline") == IsaLevel::baseline);
  CHECK(limited(IsaLevel::avx512, "avx2") == IsaLevel::avx2);
  CHECK(limited(IsaLevel::avx512, "avx512") == IsaLevel::avx512);
  CHECK(limited(IsaLevel::baseline, "avx512") == IsaLevel::baseline);
  CHECK_THROWS_WITH(limited(IsaLevel::avx2, "sse"), contains("HEED_ISA is 'sse'; it must be avx512, avx2, baseline or scalar"));
}

TEST_CASE("dispatch takes the best instruction set, or the lower one that HEED_ISA names") {
  const char* asked = std::getenv("HEED_ISA");
  IsaLevel limit = IsaLevel::avx512;
  if (asked && std::string(asked) == "avx2") limit = IsaLevel::avx2;
  if (asked && std::string(asked) == "baseline") limit = IsaLevel::baseline;
  if (asked && std::string(asked) == "scalar") limit = IsaLevel::scalar;
  IsaLevel best = IsaLevel::scalar;
  for (IsaLevel level : available())
    if (level <= limit) best = level;
  CHECK(isa_level() == best);
  const char* names[] = {"scalar", "baseline", "avx2", "avx512"};
  CHECK(isa_name() == std::string(names[static_cast<int>(best)]));

  const int bytes_of[] = {0, 16, 32, 64};
  int bytes = -1;
  dispatch<Which, float>(&bytes);
  CHECK(bytes == bytes_of[static_cast<int>(best)]);
  dispatch<Which, double>(&bytes);
  CHECK(bytes == bytes_of[static_cast<int>(best)]);
  dispatch<Which, long double>(&bytes);  // other numbers are computed one by one
  CHECK(bytes == 0);
}
