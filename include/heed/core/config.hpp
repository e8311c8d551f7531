// SPDX-License-Identifier: MIT
#pragma once

/// The few macros of the library and the version. Beside it isa.hpp says what the compiler can do (HEED_HAS_X86_DISPATCH, HEED_AVX512_TARGET), and compiled.hpp is for one file of a program.

#define HEED_VERSION_MAJOR 0
#define HEED_VERSION_MINOR 1
#define HEED_VERSION_PATCH 0

/// What runs the loops: OpenMP where the compiler has it on, std::thread beside OpenMP or where HEED_PARALLEL_STD_THREAD is defined (it is the first choice then),
/// and always a plain loop, which is all there is with HEED_PARALLEL_SERIAL.
#if defined(_OPENMP) && !defined(HEED_PARALLEL_SERIAL)
#define HEED_PARALLEL_OPENMP
#endif
#if (defined(_OPENMP) || defined(HEED_PARALLEL_STD_THREAD)) && !defined(HEED_PARALLEL_SERIAL)
#define HEED_PARALLEL_THREADS
#endif

/// Define HEED_NO_SIMD for plain loops (compilers without vector extensions get them by themselves). HEED_ONE_ISA compiles kernels for one instruction set, the
/// best that the compiler's flags allow (-march), and leaves out the choice when the program runs: a third of the code and of the compiler's time.
#if !defined(HEED_NO_SIMD) && (defined(__GNUC__) || defined(__clang__))
#define HEED_HAS_VECTORS 1
#else
#define HEED_HAS_VECTORS 0
#endif

/// The inline namespace of all names: heed::Linear is heed::v0_1_omp_vectors::Linear. It tells the version and what changes the code of its functions. So
/// libraries that were compiled differently run their own code each when a process has both, where the linker would take whichever it met first; and files of one
/// program that differ do not link ("undefined reference to heed::v0_1_..."): compile them with the same flags. Assertions (NDEBUG) are not part of it.
#if defined(HEED_PARALLEL_STD_THREAD) && defined(HEED_PARALLEL_THREADS)
#define HEED_ABI_LOOPS _std
#elif defined(HEED_PARALLEL_OPENMP)
#define HEED_ABI_LOOPS _omp
#else
#define HEED_ABI_LOOPS _serial
#endif
#if HEED_HAS_VECTORS && defined(HEED_ONE_ISA)
#define HEED_ABI_SIMD _one
#elif HEED_HAS_VECTORS
#define HEED_ABI_SIMD _vectors
#else
#define HEED_ABI_SIMD _plain
#endif
// What the compiler may use outside of the kernels that choose when the program runs: fused multiply-adds round differently.
#if defined(__AVX512F__)
#define HEED_ABI_ISA _avx512
#elif defined(__FMA__)
#define HEED_ABI_ISA _fma
#elif defined(__AVX__)
#define HEED_ABI_ISA _avx
#else
#define HEED_ABI_ISA
#endif
#if defined(__cpp_exceptions)
#define HEED_ABI_ERRORS
#else
#define HEED_ABI_ERRORS _nothrow
#endif
#define HEED_ABI_JOIN(major, minor, loops, simd, isa, errors) v##major##_##minor##loops##simd##isa##errors
#define HEED_ABI_NAME(...) HEED_ABI_JOIN(__VA_ARGS__)
#define HEED_ABI HEED_ABI_NAME(HEED_VERSION_MAJOR, HEED_VERSION_MINOR, HEED_ABI_LOOPS, HEED_ABI_SIMD, HEED_ABI_ISA, HEED_ABI_ERRORS)

/// The library's promises about NaN, -inf masks and the order of sums hold for IEEE arithmetic alone. (-ffast-math is all of these; clang has no macro for the order.)
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error \
    "heed: -ffast-math and -ffinite-math-only let the compiler assume that there is no NaN and no infinity, but heed masks with -inf and reports NaN. Compile without them (-fno-math-errno and -fno-trapping-math are fine)."
#elif defined(__ASSOCIATIVE_MATH__)
#error \
    "heed: -funsafe-math-optimizations and -fassociative-math let the compiler reorder sums, but heed rounds by adding a number and taking it away again, and promises the same bits every time. Compile without them (-fno-math-errno and -fno-trapping-math are fine)."
#endif

/// Between the two, sums are computed as they are written, whatever clang's flags allow. (g++ says what they allow, see above. For other processors than x86 clang 14
/// does not know the first pragma, and warns.)
#if defined(__clang__) && (defined(__x86_64__) || defined(__i386__))
#define HEED_AS_WRITTEN_BEGIN _Pragma("float_control(push)") _Pragma("clang fp reassociate(off)")
#define HEED_AS_WRITTEN_END _Pragma("float_control(pop)")
#else
#define HEED_AS_WRITTEN_BEGIN
#define HEED_AS_WRITTEN_END
#endif

/// Code that holds vector registers must be inlined into the function that chose the instruction set:
/// passing a 64-byte vector to a function compiled without AVX-512 would use another calling convention.
#if defined(__GNUC__) || defined(__clang__)
#define HEED_INLINE __attribute__((always_inline)) inline
#else
#define HEED_INLINE inline
#endif

/// Of a function that is compiled for no instruction set but the flags', whoever calls it: where an FMA is made of its product and sum, the bits are others.
#if defined(__GNUC__) || defined(__clang__)
#define HEED_APART __attribute__((noinline))
#else
#define HEED_APART
#endif

/// A call that would leave a view of what is gone by then, or gives a layer what it does not take: the compiler refuses it and gives the reason. (A deleted function could not say why.)
#if defined(__GNUC__) || defined(__clang__)
#define HEED_REFUSED(reason) __attribute__((unavailable("heed: " reason)))
#else
#define HEED_REFUSED(reason) [[deprecated("heed: " reason)]]
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
/// template `name` does that for name<float> and name<double>; arguments behind the name are template arguments behind those. `HEED_COMPILE_CLASS_ONCE(Name)` does
/// it for the members of a class template that are no templates themselves, and `HEED_COMPILE_LAYER_ONCE(Name, Base, ...)` for those of a layer and of its base
/// Base<Name<T>, T, ...>.
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
#define HEED_COMPILE_CLASS_ONCE(...)                               \
  HEED_INSTANTIATE_CLASS(HEED_COMPILED_FLOAT, float, __VA_ARGS__); \
  HEED_INSTANTIATE_CLASS(HEED_COMPILED_DOUBLE, double, __VA_ARGS__)
#define HEED_INSTANTIATE_CLASS(linkage, T, Name, ...) linkage template class Name<T __VA_OPT__(, ) __VA_ARGS__>
#define HEED_COMPILE_LAYER_ONCE(Name, Base, ...)                                              \
  HEED_INSTANTIATE_BASE(HEED_COMPILED_FLOAT, float, Name, Base __VA_OPT__(, ) __VA_ARGS__);   \
  HEED_INSTANTIATE_BASE(HEED_COMPILED_DOUBLE, double, Name, Base __VA_OPT__(, ) __VA_ARGS__); \
  HEED_COMPILE_CLASS_ONCE(Name)
#define HEED_INSTANTIATE_BASE(linkage, T, Name, Base, ...) linkage template class Base<Name<T>, T __VA_OPT__(, ) __VA_ARGS__>
#else
#define HEED_COMPILE_ONCE(...) static_assert(true)
#define HEED_COMPILE_CLASS_ONCE(...) static_assert(true)
#define HEED_COMPILE_LAYER_ONCE(...) static_assert(true)
#endif
