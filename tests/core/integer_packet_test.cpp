// SPDX-License-Identifier: MIT
#include <cstdint>

#include "catch.hpp"
#include "every_isa.hpp"

#include <heed/core/integer_packet.hpp>

using namespace heed;

namespace {

/// Lane i of `result` becomes 1 if the integer in it is what `expected` says, else 0; the integers end before `bound`.
template <class T>
struct Hash {
  std::uint32_t first, factor, term;

  template <class Isa>
  HEED_INLINE static void run(const Hash* hash, const std::uint32_t* expected, int* lanes, int* wrong) {
    using P = Packet<Isa, T>;
    using I = IntegerPacket<Isa, T>;
    const I value = I::template fold<7>(I::count_from(hash->first) * I::broadcast(hash->factor) + I::broadcast(hash->term));
    *lanes = P::lanes, *wrong = 0;
    for (int lane = 0; lane < P::lanes; ++lane)
      for (const int more : {0, 1}) {  // value < expected + 1, and not value < expected
        const std::uint32_t bound = expected[lane] + static_cast<std::uint32_t>(more);
        if (bound < expected[lane]) continue;
        T numbers[P::lanes];
        I::select_less(value, I::broadcast(bound), P::broadcast(T(1)), P::zero()).store(numbers);
        *wrong += numbers[lane] != T(more);
      }
  }
};

}  // namespace

TEMPLATE_TEST_CASE("integers in lanes are those of std::uint32_t", "[simd]", float, double) {
  for (const Hash<TestType> hash : {Hash<TestType>{0, 1, 0}, Hash<TestType>{7, 0x9e3779b9u, 0x85ebca6bu}, Hash<TestType>{0xfffffffau, 1, 0},
           Hash<TestType>{0x7ffffffbu, 3, 0x80000001u}, Hash<TestType>{12345, 0xffffffffu, 0xffffffffu}}) {
    std::uint32_t expected[64];
    for (std::uint32_t i = 0; i < 64; ++i) {
      const std::uint32_t x = (hash.first + i) * hash.factor + hash.term;
      expected[i] = x ^ (x >> 7);
    }
    int lanes = 0, wrong = 0;
    const auto check = [&](const char* isa) {
      INFO(isa << ", " << lanes << " lanes");
      CHECK(wrong == 0);
    };
    for_every_isa<Hash<TestType>, TestType>(check, &hash, static_cast<const std::uint32_t*>(expected), &lanes, &wrong);
  }
}
