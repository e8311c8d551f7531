// SPDX-License-Identifier: MIT
// What a reader holds of memory: counted by the allocation functions of the tests, or by a sanitizer's, which has its own.
#include "count_allocations.hpp"
#include "fuzz_target.hpp"

#if HEED_TEST_INTERPOSES

std::size_t fuzz::most_bytes(const std::function<void()>& body) { return static_cast<std::size_t>(most_bytes_of(body)); }

#elif __has_include(<sanitizer/allocator_interface.h>)

#include <sanitizer/allocator_interface.h>

namespace {
std::atomic<long> held{0}, most{0};
}

std::size_t fuzz::most_bytes(const std::function<void()>& body) {
  static const int installed = __sanitizer_install_malloc_and_free_hooks(
      [](const volatile void*, std::size_t size) {
        const long now = held += static_cast<long>(size);
        for (long old = most; now > old && !most.compare_exchange_weak(old, now);) {}
      },
      [](const volatile void* memory) { held -= static_cast<long>(__sanitizer_get_allocated_size(memory)); });
  demand(installed > 0);
  const long before = held;
  most = before;
  body();
  return static_cast<std::size_t>(most - before);
}

#else

std::size_t fuzz::most_bytes(const std::function<void()>& body) {
  body();
  return 0;  // nobody counts
}

#endif
