// SPDX-License-Identifier: MIT
// After its first step a training step asks the system for no memory: the allocation functions are interposed and counted.
#include <atomic>
#include <cstdlib>
#include <new>

#include "catch.hpp"

#include <heed/compose/any_layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/schedule.hpp>
#include <heed/train/trainer.hpp>

#include "small_net.hpp"

// Sanitizers bring allocation functions of their own, and malloc is interposed through glibc's second names.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEED_TEST_INTERPOSES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HEED_TEST_INTERPOSES 0
#endif
#endif
#ifndef HEED_TEST_INTERPOSES
#if defined(__GLIBC__)
#define HEED_TEST_INTERPOSES 1
#else
#define HEED_TEST_INTERPOSES 0
#endif
#endif

#if HEED_TEST_INTERPOSES

namespace {
std::atomic<bool> counting{false};
std::atomic<long> allocations{0};

void count_one() noexcept {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace

extern "C" {
void* __libc_malloc(std::size_t) noexcept;
void* __libc_calloc(std::size_t, std::size_t) noexcept;
void* __libc_realloc(void*, std::size_t) noexcept;
void* __libc_memalign(std::size_t, std::size_t) noexcept;

void* malloc(std::size_t size) noexcept {
  count_one();
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  count_one();
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
  count_one();
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  count_one();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  count_one();
  *memory = __libc_memalign(alignment, size);
  return *memory ? 0 : 12;  // ENOMEM
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

using namespace heed;

/// Threads to run on: one where the loops' run-time library itself takes memory for a loop that does nothing (LLVM's OpenMP, std::thread).
int quiet_threads() {
  const auto loop = [] { parallel_for(16, 1, [](Index, Index) {}); };
  loop();
  return allocations_of(loop) == 0 ? thread_count() : 1;
}
}  // namespace

TEST_CASE("The interposed functions count") {
  REQUIRE(allocations_of([] { ::operator delete(::operator new(8)); }) > 0);
  REQUIRE(allocations_of([] { ::operator delete(::operator new(64, std::align_val_t(64)), std::align_val_t(64)); }) > 0);
  REQUIRE(allocations_of([] {}) == 0);
}

TEST_CASE("A training step after the first asks the system for no memory") {
  const ThreadScope threads(quiet_threads());
  for (const bool erased : {false, true}) {
    const auto train = [&](auto model) {
      AdamW<float> optimizer(named_parameters(model), {});
      Trainer trainer(model, CrossEntropyLoss<float>({.label_smoothing = 0.1}), optimizer, ConstantSchedule{}, {.max_gradient_norm = 1.0});
      Tensor<float, 4> x({32, 8, 8, 3});
      std::vector<int> labels(32);
      for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) * 0.1f - 0.6f;
      for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int>(i % 4);
      trainer.step(x, labels);
      return allocations_of([&] {
        for (int step = 0; step < 3; ++step) trainer.step(x, labels);
      });
    };
    INFO((erased ? "held by AnyLayer" : "compile-time model"));
    REQUIRE((erased ? train(AnyLayer<float, 4, 2>(small_net())) : train(small_net())) == 0);
  }
}

TEST_CASE("Inference after the first pass asks the system for no memory") {
  const ThreadScope threads(quiet_threads());
  const auto model = small_net();
  Tensor<float, 4> x({5, 8, 8, 3});
  model.forward(x);
  REQUIRE(allocations_of([&] { model.forward(x); }) == 0);
}

#else

TEST_CASE("Allocations are counted in builds without sanitizers and with glibc alone") { SUCCEED(); }

#endif  // HEED_TEST_INTERPOSES
