// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/simd.hpp>

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
