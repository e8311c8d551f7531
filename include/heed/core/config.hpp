// SPDX-License-Identifier: MIT
#pragma once

/// The few macros of the library and the version. No other file defines one that outlives it, but for compiled.hpp, which is for one file of a program.

#define HEED_VERSION_MAJOR 0
#define HEED_VERSION_MINOR 1
#define HEED_VERSION_PATCH 0

/// The library's promises about NaN, -inf masks and the order of sums hold for IEEE arithmetic alone.
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error \
    "heed: -ffast-math and -ffinite-math-only let the compiler assume that there is no NaN and no infinity, but heed masks with -inf and reports NaN. Compile without them (-fno-math-errno and -fno-trapping-math are fine)."
#endif

/// Code that holds vector registers must be inlined into the function that chose the instruction set:
/// passing a 64-byte vector to a function compiled without AVX-512 would use another calling convention.
#if defined(__GNUC__) || defined(__clang__)
#define HEED_INLINE __attribute__((always_inline)) inline
#else
#define HEED_INLINE inline
#endif

/// A broken precondition inside a kernel is a bug in heed, not bad data: checked in debug builds only.
#if defined(HEED_ENABLE_ASSERTS) || !defined(NDEBUG)
#include <cassert>
#define HEED_ASSERT(condition) assert(condition)
#else
#define HEED_ASSERT(condition) ((void)0)
#endif

/// Kernels are templates, so each file that uses some compiles them. A program of many files can have those for float and double compiled once: define
/// HEED_COMPILED for all of its files and let one of them include <heed/compiled.hpp> (CMake: link heed::compiled). `HEED_COMPILE_ONCE(name)` behind a function
/// template `name` does that for name<float> and name<double>; arguments behind the name are template arguments behind those.
#if defined(HEED_COMPILED)
#if !defined(HEED_COMPILED_FLOAT)  // in <heed/compiled.hpp> they are nothing: what is declared in other files is defined there
#define HEED_COMPILED_FLOAT extern
#define HEED_COMPILED_DOUBLE extern
#endif
#define HEED_COMPILE_ONCE(...)                               \
  HEED_INSTANTIATE(HEED_COMPILED_FLOAT, float, __VA_ARGS__); \
  HEED_INSTANTIATE(HEED_COMPILED_DOUBLE, double, __VA_ARGS__)
#define HEED_INSTANTIATE(linkage, T, name, ...) \
  linkage template decltype(name<T __VA_OPT__(, ) __VA_ARGS__>) name<T __VA_OPT__(, ) __VA_ARGS__>
#else
#define HEED_COMPILE_ONCE(...) static_assert(true)
#endif
