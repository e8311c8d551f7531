// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <heed/core/simd.hpp>

/// What the CPU has, found without the library's own answer.
inline bool cpu_has(heed::IsaLevel level) {
#if HEED_HAS_X86_DISPATCH
  __builtin_cpu_init();
  if (level == heed::IsaLevel::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (level == heed::IsaLevel::avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && cpu_has(heed::IsaLevel::avx2);
#endif
  return level == heed::IsaLevel::scalar || (HEED_HAS_VECTORS && level == heed::IsaLevel::baseline);
}

inline std::vector<heed::IsaLevel> available() {
  std::vector<heed::IsaLevel> found;
  for (auto level : {heed::IsaLevel::scalar, heed::IsaLevel::baseline, heed::IsaLevel::avx2, heed::IsaLevel::avx512})
    if (cpu_has(level)) found.push_back(level);
  return found;
}

/// Runs `Kernel::run<Isa>(arguments...)` once for every instruction set that this CPU has (within HEED_ISA), and `check(name)` after each.
template <class Kernel, class T, class Check, class... Arguments>
void for_every_isa(const Check& check, Arguments... arguments) {
  using namespace heed;
  Kernel::template run<Scalar>(arguments...), check("scalar");
#if HEED_HAS_VECTORS
  Kernel::template run<Baseline>(arguments...), check("baseline");
#endif
#if HEED_HAS_X86_DISPATCH
  if (isa_level() >= IsaLevel::avx2) heed::detail::run_avx2<Kernel, Arguments...>(arguments...), check("avx2");
  if (isa_level() >= IsaLevel::avx512) heed::detail::run_avx512<Kernel, Arguments...>(arguments...), check("avx512");
#endif
}
