// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include <heed/core/config.hpp>
#include <heed/core/error.hpp>

// Instruction sets and the choice between them when the program runs; with HEED_ONE_ISA when it is compiled.
#if HEED_HAS_VECTORS && (defined(__x86_64__) || defined(__i386__))
#define HEED_HAS_X86_DISPATCH 1
#else
#define HEED_HAS_X86_DISPATCH 0
#endif

namespace heed::inline HEED_ABI {

static_assert(!HEED_HAS_VECTORS || std::endian::native == std::endian::little,
    "heed: bytes of masks are read as words, the first one lowest; big-endian machines need HEED_NO_SIMD (CMake: HEED_SIMD=OFF)");

// Instruction-set tags. Kernels are templates on a tag and written once; `dispatch` chooses the tag when the program runs.
/// One element at a time: any number-like type, and builds without vectors.
struct Scalar {
  static constexpr int bytes = 0;  ///< of a register; 0: there is none
};
/// 16-byte vectors: SSE2, NEON, or whatever the compiler makes of them.
struct Baseline {
  static constexpr int bytes = 16;  ///< of a register
};
/// AVX2 with FMA.
struct Avx2 {
  static constexpr int bytes = 32;  ///< of a register
};
/// The same with 16-byte vectors, for what is left of whole ones. Nothing is compiled for it alone.
struct Avx2Half {
  static constexpr int bytes = 16;  ///< of a register
};
/// AVX-512 (F, DQ, BW, VL).
struct Avx512 {
  static constexpr int bytes = 64;  ///< of a register
};

/// Instruction sets, each with those before it.
enum class IsaLevel { scalar, baseline, avx2, avx512 };

#if defined(HEED_ONE_ISA)
/// The one that kernels are compiled for: the best that the compiler's flags allow.
#if !HEED_HAS_VECTORS
using OneIsa = Scalar;
#elif HEED_HAS_X86_DISPATCH && defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512BW__)
using OneIsa = Avx512;
#elif HEED_HAS_X86_DISPATCH && defined(__AVX2__) && defined(__FMA__)
using OneIsa = Avx2;
#else
using OneIsa = Baseline;
#endif
#endif

namespace detail {
inline constexpr const char* kIsaNames[] = {"scalar", "baseline", "avx2", "avx512"};  // as in IsaLevel

/// The lower one of `best` and what is asked for by name, if anything is.
inline IsaLevel limited_level(IsaLevel best, const char* asked) {
  if (!asked || !*asked) return best;
  for (int i = 0; i < 4; ++i)
    if (std::strcmp(asked, kIsaNames[i]) == 0) return std::min(best, static_cast<IsaLevel>(i));
  fail("HEED_ISA is '", asked, "'; it must be avx512, avx2, baseline or scalar, or not be set");
}
}  // namespace detail

/// The instruction set that kernels use in this process: the best one that the CPU has, or a lower one named by the environment variable
/// HEED_ISA (avx512, avx2, baseline, scalar), which is read once. Throws std::invalid_argument for another name. With HEED_ONE_ISA the one that there is.
inline IsaLevel isa_level() {
#if defined(HEED_ONE_ISA)
  return OneIsa::bytes == 64   ? IsaLevel::avx512
         : OneIsa::bytes == 32 ? IsaLevel::avx2
         : OneIsa::bytes == 16 ? IsaLevel::baseline
                               : IsaLevel::scalar;
#else
  static const IsaLevel level = [] {
#if !HEED_HAS_VECTORS
    return IsaLevel::scalar;
#else
    IsaLevel best = IsaLevel::baseline;
#if HEED_HAS_X86_DISPATCH
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = IsaLevel::avx2;
    if (best == IsaLevel::avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
      best = IsaLevel::avx512;
#endif
    return detail::limited_level(best, std::getenv("HEED_ISA"));
#endif
  }();
  return level;
#endif
}

/// "avx512", "avx2", "baseline" or "scalar".
inline const char* isa_name() { return detail::kIsaNames[static_cast<int>(isa_level())]; }

/// Whether the CPU computes the widest vectors in two halves, so that a narrower one costs half as much (AMD's Zen 4; Zen 5 is taken for one, too).
inline bool halves_wide_vectors() {
#if HEED_HAS_X86_DISPATCH
  static const bool halves = (__builtin_cpu_init(), __builtin_cpu_is("amd") != 0);
  return halves;
#else
  return false;
#endif
}

namespace detail {
#if HEED_HAS_X86_DISPATCH
// With -march=native g++ prefers half vectors on some CPUs (a linear layer took 1.6 times as long); clang would ignore the whole attribute.
#if defined(__clang__)
#define HEED_AVX512_TARGET "avx512f,avx512dq,avx512vl,avx512bw,fma,avx2"
#else
#define HEED_AVX512_TARGET "avx512f,avx512dq,avx512vl,avx512bw,fma,avx2,prefer-vector-width=512"
#endif
template <class Kernel, class... Arguments>
__attribute__((target(HEED_AVX512_TARGET), noinline)) void run_avx512(Arguments... arguments) {
  Kernel::template run<Avx512>(arguments...);
}
template <class Kernel, class... Arguments>
__attribute__((target("avx2,fma"), noinline)) void run_avx2(Arguments... arguments) {
  Kernel::template run<Avx2>(arguments...);
}
#endif
#if HEED_HAS_VECTORS
template <class Kernel, class Isa, class... Arguments>
__attribute__((noinline)) void run_other(Arguments... arguments) {
  Kernel::template run<Isa>(arguments...);
}
#else
template <class Kernel, class Isa, class... Arguments>
void run_other(Arguments... arguments) {
  Kernel::template run<Isa>(arguments...);
}
#endif
}  // namespace detail

/// Calls `Kernel::run<Isa>(arguments...)` from another kernel, as a function of its own: the loops of each have the registers to themselves.
template <class Isa, class Kernel, class... Arguments>
HEED_INLINE void run_apart(Arguments... arguments) {
#if HEED_HAS_X86_DISPATCH
  if constexpr (std::is_same_v<Isa, Avx512>) return detail::run_avx512<Kernel, Arguments...>(arguments...);
  if constexpr (std::is_same_v<Isa, Avx2>) return detail::run_avx2<Kernel, Arguments...>(arguments...);
#endif
  detail::run_other<Kernel, Isa, Arguments...>(arguments...);
}

/// Runs `Kernel::run<Isa>(arguments...)` for the best instruction set. `run` and all that it calls with packets must be HEED_INLINE, and
/// free of lambdas (they do not inherit the target in every compiler). Arguments are copied: pointers, numbers, small structs.
/// T is the element type: number-like types that are not float or double take the scalar path.
template <class Kernel, class T, class... Arguments>
void dispatch(Arguments... arguments) {
  if constexpr (!HEED_HAS_VECTORS || !(std::is_same_v<T, float> || std::is_same_v<T, double>)) {
    Kernel::template run<Scalar>(arguments...);
  } else {
#if defined(HEED_ONE_ISA)
    run_apart<OneIsa, Kernel>(arguments...);
#else
    switch (isa_level()) {
#if HEED_HAS_X86_DISPATCH
      case IsaLevel::avx512:
        return detail::run_avx512<Kernel, Arguments...>(arguments...);
      case IsaLevel::avx2:
        return detail::run_avx2<Kernel, Arguments...>(arguments...);
#endif
      case IsaLevel::scalar:
        return Kernel::template run<Scalar>(arguments...);
      default:
        return Kernel::template run<Baseline>(arguments...);
    }
#endif
  }
}

/// Asks the memory for `count` numbers from p on, which need not be there, and keeps them as near as `locality` says (3: in all caches, as
/// __builtin_prefetch has it). Fewer than half a cache line are not worth an instruction.
template <int count, int locality = 3, class T>
HEED_INLINE void ask_for([[maybe_unused]] const T* p) {
#if HEED_HAS_VECTORS
  constexpr int size = static_cast<int>(sizeof(T)), line = size < 64 ? 64 / size : 1;
  if constexpr (2 * count >= line)
#pragma GCC unroll 8
    for (int i = 0; i < count; i += line) __builtin_prefetch(p + i, 0, locality);
#endif
}

/// The compiler may not compute this pointer or number from others: for loops in which it would make one pointer out of several and keep a distance for
/// every use instead, of which there are more than registers.
template <class Value>
HEED_INLINE void keep_in_register([[maybe_unused]] Value& value) {
#if HEED_HAS_VECTORS
  asm volatile("" : "+r"(value));
#endif
}

}  // namespace heed::inline HEED_ABI
