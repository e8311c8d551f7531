// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>

/// Calls `check(backend)` once under each back end that this program was built with.
template <class Check>
void for_every_backend(const Check& check) {
  using heed::Backend;
  for (Backend backend : {Backend::serial, Backend::std_thread, Backend::openmp})
    if (heed::has_backend(backend)) {
      const heed::BackendScope scope(backend);
      check(backend);
    }
}
