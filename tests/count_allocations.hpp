// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

#include <heed/core/parallel.hpp>

#include "sanitized.hpp"

// Interposes the allocation functions of the whole program and counts: to be included by one file of a program.

// Sanitizers bring allocation functions of their own, and malloc is interposed through glibc's second names.
#if defined(__GLIBC__) && !HEED_TEST_SANITIZED
#define HEED_TEST_INTERPOSES 1
#else
#define HEED_TEST_INTERPOSES 0
#endif

#if HEED_TEST_INTERPOSES

#include <malloc.h>

namespace {
std::atomic<bool> counting{false};
std::atomic<long> allocations{0}, bytes_held{0}, most_bytes_held{0};

void* counted(void* memory) noexcept {
  if (!counting.load(std::memory_order_relaxed)) return memory;
  allocations.fetch_add(1, std::memory_order_relaxed);
  const long size = static_cast<long>(malloc_usable_size(memory)), held = bytes_held.fetch_add(size, std::memory_order_relaxed) + size;
  for (long most = most_bytes_held; held > most && !most_bytes_held.compare_exchange_weak(most, held);) {}
  return memory;
}
void uncounted(void* memory) noexcept {
  if (counting.load(std::memory_order_relaxed))
    bytes_held.fetch_sub(static_cast<long>(malloc_usable_size(memory)), std::memory_order_relaxed);
}
}  // namespace

extern "C" {
void* __libc_malloc(std::size_t) noexcept;
void* __libc_calloc(std::size_t, std::size_t) noexcept;
void* __libc_realloc(void*, std::size_t) noexcept;
void* __libc_memalign(std::size_t, std::size_t) noexcept;
void __libc_free(void*) noexcept;

void* malloc(std::size_t size) noexcept { return counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) noexcept { return counted(__libc_calloc(count, size)); }
void* realloc(void* memory, std::size_t size) noexcept {
  uncounted(memory);
  return counted(__libc_realloc(memory, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept { return counted(__libc_memalign(alignment, size)); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  *memory = counted(__libc_memalign(alignment, size));
  return *memory ? 0 : 12;  // ENOMEM
}
void free(void* memory) noexcept {
  uncounted(memory);
  __libc_free(memory);
}
}

namespace {
/// Runs `body` and returns how often it, on any thread, asked for memory. (operator new asks malloc or aligned_alloc.)
template <class Body>
long allocations_of(const Body& body) {
  allocations = 0;
  counting = true;
  body();
  counting = false;
  return allocations;
}

/// Runs `body` and returns the most bytes that it, on any thread, held at once.
template <class Body>
long most_bytes_of(const Body& body) {
  bytes_held = most_bytes_held = 0;
  allocations_of(body);
  return most_bytes_held;
}

/// Threads to run on: one where the loops' run-time library itself takes memory for a loop that does nothing (LLVM's OpenMP, std::thread).
[[maybe_unused]] int quiet_threads() {
  const auto loop = [] { heed::parallel_for(16, 1, [](heed::Index, heed::Index) {}); };
  loop();
  return allocations_of(loop) == 0 ? heed::thread_count() : 1;
}
}  // namespace

#endif  // HEED_TEST_INTERPOSES
