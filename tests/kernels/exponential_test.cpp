// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <heed/core/dual.hpp>
#include <heed/kernels/exponential.hpp>

#include "catch.hpp"
#include "every_isa.hpp"

using namespace heed;

namespace {

enum class Function { exp2, exp, expm1, tanh, small_tanh };

template <class T>
struct Evaluate {
  template <class Isa>
  HEED_INLINE static void run(Function f, const T* x, T* y, Index count) {
    using P = Packet<Isa, T>;
    for (Index i = 0; i + P::lanes <= count; i += P::lanes) {
      const P p = P::load(x + i);
      P r = p;
      if (f == Function::exp2) r = kernels::exp2_of_nonpositive(p);
      if (f == Function::exp) r = kernels::exponential(p);
      if (f == Function::expm1) r = kernels::expm1_of_nonpositive(p);
      if (f == Function::tanh) r = kernels::hyperbolic_tangent(p);
      if (f == Function::small_tanh) {
        P one[1] = {p};
        kernels::small_tangents(one);
        r = one[0];
      }
      r.store(y + i);
    }
  }
};

constexpr Index kCount = 1 << 16;  // a multiple of every vector's lanes

template <class T>
std::vector<T> grid(double low, double high) {
  std::vector<T> x(kCount);
  for (Index i = 0; i < kCount; ++i) x[static_cast<std::size_t>(i)] = T(low + (high - low) * double(i) / double(kCount - 1));
  return x;
}

template <class T>
double epsilon() {
  return sizeof(T) == 4 ? 0x1p-23 : 0x1p-52;
}

/// Largest relative error over the grid, in units of the last place, on every instruction set.
template <class T, class Exact>
void check_relative(Function f, double low, double high, double units, const Exact& exact) {
  const std::vector<T> x = grid<T>(low, high);
  std::vector<T> y(kCount);
  for_every_isa<Evaluate<T>, T>(
      [&](const char* isa) {
        double worst = 0;
        for (std::size_t i = 0; i < kCount; ++i) {
          const long double e = exact(static_cast<long double>(x[i]));
          worst = std::max(worst, static_cast<double>(std::abs((static_cast<long double>(y[i]) - e) / e)));
        }
        INFO(isa << ": " << worst / epsilon<T>() << " units");
        CHECK(worst < units * epsilon<T>());
      },
      f, x.data(), y.data(), kCount);
}

}  // namespace

TEMPLATE_TEST_CASE("exponential: e^x to about a unit in the last place", "[exponential]", float, double) {
  const double range = sizeof(TestType) == 4 ? 86 : 707;
  check_relative<TestType>(Function::exp, -range, range, 1.5, [](long double x) { return std::exp(x); });
  check_relative<TestType>(Function::exp, -1, 1, 1.5, [](long double x) { return std::exp(x); });
}

TEMPLATE_TEST_CASE("exponential: 2^x for x <= 0", "[exponential]", float, double) {
  // The Scalar version is exp(x ln 2), whose argument rounds: its error grows with |x|.
  check_relative<TestType>(Function::exp2, -1, 0, 2, [](long double x) { return std::exp2(x); });
  check_relative<TestType>(Function::exp2, sizeof(TestType) == 4 ? -99.9 : -959.9, 0, 400, [](long double x) { return std::exp2(x); });
}

TEMPLATE_TEST_CASE("exponential: 2^x is 0 where a sum that holds 1 does not see it", "[exponential]", float, double) {
  const TestType below = sizeof(TestType) == 4 ? TestType(-100.5) : TestType(-960.5);
  const std::vector<TestType> x(64, below);
  std::vector<TestType> y(64, TestType(1));
  for_every_isa<Evaluate<TestType>, TestType>(
      [&](const char* isa) {
        INFO(isa);
        CHECK(std::count(y.begin(), y.end(), TestType(0)) == 64);
        y.assign(64, TestType(1));
      },
      Function::exp2, x.data(), y.data(), Index(64));
}

TEMPLATE_TEST_CASE("exponential: e^x - 1 and tanh keep their digits near 0", "[exponential]", float, double) {
  const auto expm1 = [](long double x) { return std::expm1(x); };
  const auto tanh = [](long double x) { return std::tanh(x); };
  for (double range : {1e-30, 1e-5, 0.1, 1.0, 30.0, 1000.0}) {
    INFO(range);
    check_relative<TestType>(Function::expm1, -range, -range / 1e5, 2, expm1);
    check_relative<TestType>(Function::tanh, -range, -range / 1e5, 3, tanh);
    check_relative<TestType>(Function::tanh, range / 1e5, range, 3, tanh);
  }
}

TEMPLATE_TEST_CASE("exponential: tanh of numbers that are mostly small", "[exponential]", float, double) {
  const auto tanh = [](long double x) { return std::tanh(x); };
  for (double range : {1e-15, 1e-5, 0.1, 1.0}) {
    INFO(range);
    check_relative<TestType>(Function::small_tanh, -range, -range / 1e5, 2, tanh);
    check_relative<TestType>(Function::small_tanh, range / 1e5, range, 2, tanh);
  }
  check_relative<TestType>(Function::small_tanh, -30, -1, 3, tanh);
  check_relative<TestType>(Function::small_tanh, 1, 1000, 3, tanh);
}

namespace {

template <class T>
struct FourTangents {
  template <class Isa>
  HEED_INLINE static void run(const T* x, T* y, Index count) {
    using P = Packet<Isa, T>;
    for (Index i = 0; i + 4 * P::lanes <= count; i += 4 * P::lanes) {
      P four[4];
      for (int n = 0; n < 4; ++n) four[n] = P::load(x + i + n * P::lanes);
      kernels::small_tangents(four);
      for (int n = 0; n < 4; ++n) four[n].store(y + i + n * P::lanes);
    }
  }
};

}  // namespace

TEMPLATE_TEST_CASE("exponential: tanh of small numbers has the same bits beside large ones", "[exponential]", float, double) {
  using T = TestType;
  const std::vector<T> small = grid<T>(-1, 1);
  const T others[] = {T(-1.5), T(40), T(HUGE_VAL), T(-HUGE_VAL), T(1e30), T(NAN)};
  std::vector<T> mixed = small, y(kCount), found(kCount);
  for (std::size_t i = 0; i < kCount; i += 7) mixed[i] = others[i % std::size(others)];
  for_every_isa<FourTangents<T>, T>([&](const char*) { found.insert(found.end(), y.begin(), y.end()); }, small.data(), y.data(), kCount);
  std::size_t isa_first = kCount;
  for_every_isa<FourTangents<T>, T>(
      [&](const char* isa) {
        INFO(isa);
        for (std::size_t i = 0; i < kCount; ++i) {
          if (i % 7 != 0)
            REQUIRE(y[i] == found[isa_first + i]);
          else if (std::isnan(mixed[i]))
            REQUIRE(std::isnan(y[i]));
          else
            REQUIRE(static_cast<double>(y[i]) == Approx(std::tanh(static_cast<double>(mixed[i]))).epsilon(1e-6));
        }
        isa_first += kCount;
      },
      mixed.data(), y.data(), kCount);
}

TEMPLATE_TEST_CASE("exponential: the ends of the range", "[exponential]", float, double) {
  using T = TestType;
  const T infinity = T(HUGE_VAL), nan = T(NAN);
  const bool single = sizeof(T) == 4;
  const std::vector<T> x = {0, T(-0.0), -infinity, T(-1e30), nan, T(single ? -126 : -1022), -1, T(-1e-30), -2, -3, -4, -5, -6, -7, -8, -9};
  std::vector<T> y(x.size());
  for_every_isa<Evaluate<T>, T>(
      [&](const char* isa) {
        INFO(isa);
        CHECK(y[0] == 1);
        CHECK(y[1] == 1);
        CHECK(y[2] == 0);
        CHECK(y[3] == 0);
        CHECK(std::isnan(y[4]));
        CHECK(double(y[5]) < 1e-37);
        for (std::size_t i = 8; i < x.size(); ++i) CHECK(y[i] == Approx(std::exp2(double(x[i]))).epsilon(1e-6));
      },
      Function::exp2, x.data(), y.data(), Index(x.size()));
  const std::vector<T> z = {infinity, T(1e30), T(single ? 88.73 : 709.79), T(single ? 88.7228 : 709.782), nan, -infinity, T(-1e30),
      T(single ? -104 : -746), 0, T(-0.0), T(single ? 0x1.62e42ep6 : 0x1.62e42fefa39efp9), T(single ? 0x1.62e43p6 : 0x1.62e42fefa39fp9), 3,
      4, 5, 6};  // [10] and [11]: the last number with a finite exponential, and the next one
  for_every_isa<Evaluate<T>, T>(
      [&](const char* isa) {
        INFO(isa);
        for (std::size_t i = 0; i < 3; ++i) CHECK(y[i] == infinity);
        CHECK(double(y[3]) == Approx(std::exp(double(z[3]))).epsilon(1e-5));
        CHECK(std::isnan(y[4]));
        for (std::size_t i = 5; i < 8; ++i) CHECK(y[i] == 0);
        CHECK(y[8] == 1);
        CHECK(y[9] == 1);
        CHECK(double(y[10]) == Approx(std::exp(double(z[10]))).epsilon(1e-5));
        CHECK(y[11] == infinity);
      },
      Function::exp, z.data(), y.data(), Index(z.size()));
  const std::vector<T> w = {0, T(-0.0), -infinity, T(-1e30), nan, T(-86.7), T(-708), -40, -1, -2, -3, -4, -5, -6, -7, -8};
  for_every_isa<Evaluate<T>, T>(
      [&](const char* isa) {
        INFO(isa);
        CHECK(y[0] == 0);
        CHECK(y[1] == 0);
        CHECK(std::isnan(y[4]));
        for (std::size_t i : {2u, 3u, 5u, 6u, 7u}) CHECK(y[i] == -1);
      },
      Function::expm1, w.data(), y.data(), Index(w.size()));
}

TEMPLATE_TEST_CASE("exponential: NaN goes through, whatever its payload", "[exponential]", float, double) {
  using T = TestType;
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr int mantissa = sizeof(T) == 4 ? 23 : 52;
  const Bits quiet = Bits(1) << (mantissa - 1), exponent = ~Bits(0) << mantissa, sign = Bits(1) << (8 * sizeof(T) - 1);
  std::vector<T> x;
  for (Bits payload : {Bits(1), Bits(2), Bits(0x55), Bits(0xff), Bits(0x100), Bits(0x1ff), Bits(0x7fe), Bits(quiet - 1)})
    for (Bits bits : {(exponent & ~sign) | payload, (exponent & ~sign) | quiet | payload, exponent | payload, exponent | quiet | payload}) {
      T nan;
      std::memcpy(&nan, &bits, sizeof nan);
      x.push_back(nan);
    }
  std::vector<T> y(x.size());
  for (Function f : {Function::exp2, Function::exp, Function::expm1, Function::tanh, Function::small_tanh})
    for_every_isa<Evaluate<T>, T>(
        [&](const char* isa) {
          INFO(isa << ", function " << static_cast<int>(f));
          for (T v : y) CHECK(std::isnan(v));
          std::fill(y.begin(), y.end(), T(0));
        },
        f, x.data(), y.data(), Index(x.size()));
}

TEST_CASE("exponential: dual numbers carry the derivative", "[exponential]") {
  using D = Dual<1>;
  D x = 0.3;
  x.tangent[0] = 1;
  const Packet<Scalar, D> p{x};
  CHECK(kernels::exponential(p).v.tangent[0] == Approx(std::exp(0.3)));
  CHECK(kernels::hyperbolic_tangent(p).v.tangent[0] == Approx(1 - std::tanh(0.3) * std::tanh(0.3)));
  const Packet<Scalar, D> q{-x};
  CHECK(kernels::expm1_of_nonpositive(q).v.tangent[0] == Approx(-std::exp(-0.3)));
  CHECK(kernels::exp2_of_nonpositive(q).v.tangent[0] == Approx(-std::log(2.0) * std::exp2(-0.3)));
}

namespace {

struct EvaluateBell {
  template <class Isa>
  HEED_INLINE static void run(const float* x, float* y, Index count) {
    using P = Packet<Isa, float>;
    for (Index i = 0; i + P::lanes <= count; i += P::lanes) kernels::bell(P::load(x + i)).store(y + i);
  }
};

}  // namespace

TEST_CASE("exponential: e^(-x²/2) errs by the rounding of its exponent", "[exponential]") {
  for (const float range : {0.01f, 1.0f, 5.0f, kernels::kBellRadius}) {
    const std::vector<float> x = grid<float>(-range, range);
    std::vector<float> y(kCount);
    for_every_isa<EvaluateBell, float>(
        [&](const char* isa) {
          double worst = 0;
          for (std::size_t i = 0; i < kCount; ++i) {
            const double exact = std::exp(-0.5 * double(x[i]) * double(x[i]));
            worst = std::max(worst, std::isnan(y[i]) ? HUGE_VAL : std::abs(double(y[i]) / exact - 1));
          }
          INFO(isa << " to " << range << ": " << worst / epsilon<float>() << " units");
          CHECK(worst < (1.5 + 0.5 * double(range) * double(range)) * epsilon<float>());
          y.assign(kCount, NAN);
        },
        x.data(), y.data(), kCount);
  }
}

TEMPLATE_TEST_CASE("exponential: the finite one has the same bits", "[exponential]", float, double) {
  using P = Packet<std::conditional_t<HEED_HAS_VECTORS, Baseline, Scalar>, TestType>;
  for (const TestType x : grid<TestType>(sizeof(TestType) == 4 ? -100 : -720, sizeof(TestType) == 4 ? 88 : 709)) {
    TestType lanes[P::lanes];
    (kernels::exponential(P::broadcast(x)) - kernels::finite_exponential(P::broadcast(x))).store(lanes);
    REQUIRE(lanes[0] == 0);
  }
}
