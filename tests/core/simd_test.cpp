// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/core/simd.hpp>

#include "every_isa.hpp"

using namespace heed;

namespace {

constexpr int kMostLanes = 16;  // of float in AVX-512
constexpr int kResults = 17;

/// Runs every packet operation once; result r of lane l goes to out[r * kMostLanes + l].
struct Operations {
  template <class Isa, class T>
  HEED_INLINE static void all(const T* a, const T* b, const T* c, T* out, int* lanes) {
    using P = Packet<Isa, T>;
    *lanes = P::lanes;
    const P x = P::load(a), y = P::load(b), z = P::load(c);
    (x + y).store(out);
    (x - y).store(out + kMostLanes);
    (x * y).store(out + 2 * kMostLanes);
    (x / y).store(out + 3 * kMostLanes);
    (-x).store(out + 4 * kMostLanes);
    P::fma(x, y, z).store(out + 5 * kMostLanes);
    P::select_greater(x, y, z, x).store(out + 6 * kMostLanes);
    P::max(x, y).store(out + 7 * kMostLanes);
    P::min(x, y).store(out + 8 * kMostLanes);
    P::sqrt(x * x).store(out + 9 * kMostLanes);
    P::broadcast(a[0]).store(out + 10 * kMostLanes);
    P::zero().store(out + 11 * kMostLanes);
    out[12 * kMostLanes] = x.sum();
    out[12 * kMostLanes + 1] = x.largest();
    P first, second, x_again, y_again;
    P::split_pairs(x, y, first, second);
    P::join_pairs(first, second, x_again, y_again);
    first.store(out + 13 * kMostLanes), second.store(out + 14 * kMostLanes);
    x_again.store(out + 15 * kMostLanes), y_again.store(out + 16 * kMostLanes);
  }
  template <class Isa, class T>
  HEED_INLINE static void run(const T* a, const T* b, const T* c, T* out, int* lanes) {
    all<Isa, T>(a, b, c, out, lanes);
  }
};

/// Loads `count` elements with `fill` behind them, and stores `count` of the packet.
struct Partial {
  template <class Isa, class T>
  HEED_INLINE static void run(const T* from, Index count, T fill, T* whole, T* part) {
    const auto x = Packet<Isa, T>::load_partial(from, count, fill);
    x.store(whole);
    x.store_partial(part, count);
  }
};

/// Numbers that lie at no address for T.
template <class T>
struct OfBytes {
  template <class Isa>
  HEED_INLINE static void run(const char* from, char* to, int* lanes) {
    *lanes = Packet<Isa, T>::lanes;
    Packet<Isa, T>::load_bytes(from).store_bytes(to);
  }
};

/// Runs on an instruction set that is not necessarily the one that `dispatch` would take.
template <class Kernel, class... Arguments>
void run_on(IsaLevel level, Arguments... arguments) {
  switch (level) {
#if HEED_HAS_X86_DISPATCH
    case IsaLevel::avx512:
      return detail::run_avx512<Kernel, Arguments...>(arguments...);
    case IsaLevel::avx2:
      return detail::run_avx2<Kernel, Arguments...>(arguments...);
#endif
#if HEED_HAS_VECTORS
    case IsaLevel::baseline:
      return Kernel::template run<Baseline>(arguments...);
#endif
    default:
      return Kernel::template run<Scalar>(arguments...);
  }
}

/// Whole numbers of a smaller type as T, stored again as what they are, and one number in every lane.
struct Numbers {
  template <class Isa, class T, class Number>
  HEED_INLINE static void run(const Number* from, const T* one, const T* fractions, T* loaded, Number* stored, Number* cut, T* everywhere) {
    using P = Packet<Isa, T>;
    const P x = P::load_numbers(from);
    x.store(loaded);
    x.store_numbers(stored);
    P::load(fractions).store_numbers(cut);
    P::broadcast(*one).store(everywhere);
  }
};

/// Lanes of T on an instruction set.
template <class T>
std::size_t lanes_of(IsaLevel level) {
  return level == IsaLevel::scalar ? 1 : (std::size_t(8) << static_cast<int>(level)) / sizeof(T);
}

template <class T, class Number>
void check_numbers(const std::vector<Number>& numbers) {
  for (IsaLevel level : available()) {
    const std::size_t lanes = lanes_of<T>(level);
    INFO("level " << static_cast<int>(level) << ", " << lanes << " lanes, numbers of " << sizeof(Number) << " bytes");
    for (std::size_t begin = 0; begin + lanes <= numbers.size(); ++begin) {
      // Arrays of `lanes` elements and not one more: the address sanitizer watches.
      const std::vector<Number> from(
          numbers.begin() + static_cast<std::ptrdiff_t>(begin), numbers.begin() + static_cast<std::ptrdiff_t>(begin + lanes));
      std::vector<T> fractions(lanes), loaded(lanes), everywhere(lanes);
      for (std::size_t i = 0; i < lanes; ++i) fractions[i] = static_cast<T>(from[i]) + (from[i] < 0 ? T(-0.75) : T(0.75));
      std::vector<Number> stored(lanes), cut(lanes);
      const T one = static_cast<T>(from[0]) + T(0.5);
      run_on<Numbers>(
          level, from.data(), &one, static_cast<const T*>(fractions.data()), loaded.data(), stored.data(), cut.data(), everywhere.data());
      for (std::size_t i = 0; i < lanes; ++i) REQUIRE(loaded[i] == static_cast<T>(from[i]));
      REQUIRE(stored == from);
      REQUIRE(cut == from);  // towards zero, as a cast
      REQUIRE(everywhere == std::vector<T>(lanes, one));
    }
  }
}

/// float as double and back, where it is rounded.
struct Widened {
  template <class Isa>
  HEED_INLINE static void run(const float* from, const double* wide, double* loaded, float* stored) {
    using P = Packet<Isa, double>;
    P::load_numbers(from).store(loaded);
    P::load(wide).store_numbers(stored);
  }
};

/// The sum of the lanes in the order that Packet promises: halves are added until one lane is left.
template <class T>
T tree_sum(std::vector<T> v) {
  for (std::size_t half = v.size() / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) v[i] += v[i + half];
  return v[0];
}

}  // namespace

TEST_CASE("numbers in float are widened to double and rounded on the way back, on every instruction set") {
  for (IsaLevel level : available()) {
    const std::size_t lanes = lanes_of<double>(level);
    INFO("level " << static_cast<int>(level));
    std::vector<float> from(lanes), stored(lanes);
    std::vector<double> wide(lanes), loaded(lanes);
    for (std::size_t i = 0; i < lanes; ++i)
      from[i] = 0.1f * static_cast<float>(i) - 0.35f, wide[i] = 3e9 + 1.0 / 3 * static_cast<double>(i);
    run_on<Widened>(level, static_cast<const float*>(from.data()), static_cast<const double*>(wide.data()), loaded.data(), stored.data());
    for (std::size_t i = 0; i < lanes; ++i) CHECK((loaded[i] == static_cast<double>(from[i]) && stored[i] == static_cast<float>(wide[i])));
  }
}

TEMPLATE_TEST_CASE("every packet operation does what the loop does, on every instruction set", "", float, double) {
  using T = TestType;
  const CounterRandom random({3});
  for (IsaLevel level : available())
    for (std::uint64_t round = 0; round < 20; ++round) {
      // One element beyond an aligned place: packets load from anywhere.
      std::vector<T> a(kMostLanes + 1), b(kMostLanes + 1), c(kMostLanes + 1), out(kResults * kMostLanes);
      for (std::size_t i = 0; i < a.size(); ++i) {
        a[i] = static_cast<T>(random.uniform(100 * round + 3 * i, -2, 2));
        b[i] = static_cast<T>(random.uniform(100 * round + 3 * i + 1, 0.5, 2)) * (i % 2 ? T(1) : T(-1));
        c[i] = static_cast<T>(random.uniform(100 * round + 3 * i + 2, -2, 2));
      }
      b[3] = a[3];  // equal: not greater
      const T *x = a.data() + 1, *y = b.data() + 1, *z = c.data() + 1;
      int lanes = 0;
      run_on<Operations>(level, x, y, z, out.data(), &lanes);
      INFO("level " << static_cast<int>(level) << ", " << lanes << " lanes");
      CHECK(lanes == (level == IsaLevel::scalar ? 1 : (8 << static_cast<int>(level)) / static_cast<int>(sizeof(T))));
      bool same = true;
      for (int i = 0; i < lanes; ++i) {
        const T* r = out.data() + i;
        const T expected[] = {x[i] + y[i], x[i] - y[i], x[i] * y[i], x[i] / y[i], -x[i]};
        for (int k = 0; k < 5; ++k) same = same && r[k * kMostLanes] == expected[k];
        // Rounded once or twice: half a unit of the largest part apart.
        same = same && std::abs(r[5 * kMostLanes] - (x[i] * y[i] + z[i])) <= 4 * std::numeric_limits<T>::epsilon();
        same = same && r[6 * kMostLanes] == (x[i] > y[i] ? z[i] : x[i]);
        same = same && r[7 * kMostLanes] == std::max(x[i], y[i]) && r[8 * kMostLanes] == std::min(x[i], y[i]);
        same = same && r[9 * kMostLanes] == std::sqrt(x[i] * x[i]);
        same = same && r[10 * kMostLanes] == x[0] && r[11 * kMostLanes] == 0;
      }
      CHECK(same);
      CHECK(out[12 * kMostLanes] == tree_sum(std::vector<T>(x, x + lanes)));
      CHECK(out[12 * kMostLanes + 1] == *std::max_element(x, x + lanes));
      const auto of_both = [&](int i) { return i < lanes ? x[i] : y[i - lanes]; };
      for (int i = 0; i < lanes; ++i) {
        const T* r = out.data() + i;
        CHECK(r[13 * kMostLanes] == of_both(2 * i));
        CHECK(r[14 * kMostLanes] == of_both(2 * i + 1));
        CHECK(r[15 * kMostLanes] == x[i]);
        CHECK(r[16 * kMostLanes] == y[i]);
      }
    }
}

TEMPLATE_TEST_CASE("partial packets touch what they own and no more", "", float, double) {
  using T = TestType;
  for (IsaLevel level : available()) {
    int lanes = 0;
    std::vector<T> one(kMostLanes, T(1)), scratch(kResults * kMostLanes);
    run_on<Operations>(level, one.data(), one.data(), one.data(), scratch.data(), &lanes);
    for (Index count = 0; count <= lanes; ++count) {
      INFO("level " << static_cast<int>(level) << ", " << count << " of " << lanes);
      std::vector<T> from(static_cast<std::size_t>(count));  // not one element more: the address sanitizer watches
      for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<T>(i + 1);
      std::vector<T> whole(kMostLanes, T(-9)), part(kMostLanes, T(-9));
      run_on<Partial>(level, static_cast<const T*>(from.data()), count, T(0.5), whole.data(), part.data());
      for (Index i = 0; i < lanes; ++i) {
        CHECK(whole[static_cast<std::size_t>(i)] == (i < count ? static_cast<T>(i + 1) : T(0.5)));
        CHECK(part[static_cast<std::size_t>(i)] == (i < count ? static_cast<T>(i + 1) : T(-9)));
      }
    }
  }
}

TEMPLATE_TEST_CASE("packets of bytes at any address, on every instruction set", "", float, double) {
  for (IsaLevel level : available()) {
    std::vector<char> from(kMostLanes * sizeof(double) + 1), to(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<char>(i + 1);
    int lanes = 0;
    run_on<OfBytes<TestType>>(level, static_cast<const char*>(from.data() + 1), to.data() + 1, &lanes);
    const std::size_t bytes = static_cast<std::size_t>(lanes) * sizeof(TestType);
    CHECK(to[0] == 0);
    for (std::size_t i = 1; i < to.size(); ++i) REQUIRE(to[i] == (i <= bytes ? from[i] : 0));
  }
}

TEST_CASE("a few numbers are copied, no more and none for a count below one") {
  const std::vector<float> from = {
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
  for (Index count = -40; count < 32; ++count) {
    std::vector<float> to(33, -9.0f), expected = to;
    copy_few<32>(from.data(), to.data() + 1, count);
    std::copy_n(from.begin(), std::max<Index>(count, 0), expected.begin() + 1);
    INFO(count << " numbers");
    CHECK(to == expected);
  }
}

TEMPLATE_TEST_CASE("whole numbers of smaller types become T and go back, on every instruction set", "", float, double) {
  std::vector<std::uint8_t> bytes;  // all of them, in an order that tells lanes apart
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<std::uint8_t>(37 * i));
  check_numbers<TestType>(bytes);
  std::vector<std::int32_t> words = {0, 1, -1, 127, 128, -128, 255, 256, -32768, 32767, 65536, -65537, 999999, -1000003, 4000037, -4000037};
  for (std::int32_t i = 1; i < 200; ++i) words.push_back((i % 2 ? 1 : -1) * 20011 * i);
  check_numbers<TestType>(words);
}

TEST_CASE("the scalar packet takes any number-like type") {
  struct Money {
    long cents = 0;
    Money() = default;
    Money(int whole) : cents(100L * whole) {}
    Money operator+(const Money& o) const {
      Money sum;
      sum.cents = cents + o.cents;
      return sum;
    }
    bool operator>(const Money& o) const { return cents > o.cents; }
  };
  using P = Packet<Scalar, Money>;
  const Money three(3), four(4);
  CHECK((P::load(&three) + P::load(&four)).sum().cents == 700);
  CHECK(P::max(P::broadcast(three), P::broadcast(four)).v.cents == 400);
  CHECK(P::load_partial(&three, 0).v.cents == 0);
}

namespace {

struct NanOr {
  template <class Isa, class T>
  HEED_INLINE static void run(const T* a, const T* b, T* out) {
    using P = Packet<Isa, T>;
    P::nan_or(P::load(a), P::load(b)).store(out);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a where it is NaN, else b", "", float, double) {
  const TestType nan = std::numeric_limits<TestType>::quiet_NaN(), infinity = std::numeric_limits<TestType>::infinity();
  const TestType special[] = {nan, infinity, -infinity, 0, -1};
  for (IsaLevel level : available())
    for (const TestType x : special)
      for (const TestType y : special) {
        const std::vector<TestType> a(kMostLanes, x), b(kMostLanes, y);
        std::vector<TestType> out(kMostLanes, TestType(7));
        run_on<NanOr>(level, a.data(), b.data(), out.data());
        const bool is_nan = std::isnan(x) || std::isnan(y);
        CHECK((is_nan ? std::isnan(out[0]) : out[0] == y));
      }
}
