// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include <heed/core/tensor.hpp>

using namespace heed;

namespace {
BufferPool& pool() { return BufferPool::instance(); }

/// Sets the limit for one test.
struct Limit {
  explicit Limit(std::size_t bytes) { pool().set_limit(bytes); }
  ~Limit() { pool().reset_limit(); }
};
}  // namespace

TEST_CASE("buffers are 64-byte aligned and as large as asked") {
  CHECK(pool().acquire(0) == nullptr);
  pool().release(nullptr, 100);  // nothing to do
  for (std::size_t bytes : {1u, 63u, 64u, 65u, 128u, 129u, 1000u, 4096u, 4097u, 100000u}) {
    void* buffer = pool().acquire(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer) % BufferPool::kAlignment == 0);
    std::memset(buffer, 0xab, bytes);  // the address sanitizer watches
    pool().release(buffer, bytes);
  }
}

TEST_CASE("a freed buffer serves the next request of its class, without the system") {
  void* first = pool().acquire(5000);
  pool().release(first, 5000);
  const auto from_system = pool().from_system(), acquired = pool().acquired();
  void* second = pool().acquire(4900);  // the same size class, 4608 < bytes <= 5120
  CHECK(second == first);
  CHECK(pool().from_system() == from_system);
  CHECK(pool().acquired() == acquired + 1);
  void* third = pool().acquire(4900);
  CHECK(third != second);
  CHECK(pool().from_system() == from_system + 1);
  pool().release(second, 4900);
  pool().release(third, 4900);
}

TEST_CASE("at most a fifth of a buffer is unused") {
  Limit enough(std::size_t{1} << 40);
  pool().trim();
  // From four lines on; below that the line of 64 bytes is the grain.
  for (std::size_t bytes = 256; bytes < (std::size_t{1} << 22); bytes += bytes / 7 + 1) {
    pool().release(pool().acquire(bytes), bytes);
    const std::size_t held = pool().idle_bytes();
    INFO("asked for " << bytes << ", got " << held);
    CHECK(held >= bytes);
    CHECK(held - bytes < held / 5 + 64);
    pool().trim();
  }
}

TEST_CASE("idle bytes stay below the limit; trim gives all of them back") {
  pool().trim();
  CHECK(pool().idle_bytes() == 0);
  void* a = pool().acquire(1 << 20);
  void* b = pool().acquire(1 << 20);
  {
    Limit one(std::size_t{1} << 20);
    pool().release(a, 1 << 20);
    CHECK(pool().idle_bytes() == 1 << 20);
    pool().release(b, 1 << 20);  // beyond the limit: to the system
    CHECK(pool().idle_bytes() == 1 << 20);
    pool().set_limit(0);  // at once
    CHECK(pool().idle_bytes() == 0);
  }
  CHECK(pool().limit() == BufferPool::kDefaultLimit);
  void* c = pool().acquire(1 << 16);
  pool().release(c, 1 << 16);
  CHECK(pool().idle_bytes() > 0);
  pool().trim();
  CHECK(pool().idle_bytes() == 0);
}

TEST_CASE("the limit follows the use: what was needed at once may lie idle") {
  pool().trim();
  CHECK(pool().limit() == BufferPool::kDefaultLimit);
  constexpr std::size_t kBytes = std::size_t{1} << 29;  // never written to, so they cost addresses only
  constexpr int kCount = 4;                             // twice the default limit
  const std::size_t used = pool().used_bytes();
  void* buffers[kCount];
  const auto step = [&] {
    const auto before = pool().from_system();
    for (void*& buffer : buffers) buffer = pool().acquire(kBytes);
    CHECK(pool().used_bytes() == used + kCount * kBytes);
    for (void* buffer : buffers) pool().release(buffer, kBytes);
    CHECK(pool().used_bytes() == used);
    return pool().from_system() - before;
  };
  CHECK(step() == kCount);
  CHECK(pool().idle_bytes() == kCount * kBytes);
  CHECK(pool().limit() == used + kCount * kBytes);
  CHECK(step() == 0);
  {
    Limit two(2 * kBytes);  // a limit that is set stands
    CHECK(pool().idle_bytes() == 2 * kBytes);
    CHECK(step() == 2);
    CHECK(pool().limit() == 2 * kBytes);
    CHECK(pool().idle_bytes() == 2 * kBytes);
  }
  CHECK(step() == 2);
  CHECK(step() == 0);
  pool().trim();  // begins anew
  CHECK(pool().idle_bytes() == 0);
  CHECK(pool().limit() == BufferPool::kDefaultLimit);
}

TEST_CASE("more bytes than can be addressed are refused, not taken for few") {
  const auto acquired = pool().acquired();
  const auto used = pool().used_bytes();
  CHECK_THROWS_WITH(pool().acquire(SIZE_MAX), contains("18446744073709551615 bytes are more than can be addressed"));
  CHECK_THROWS_AS(pool().acquire(SIZE_MAX - 15), ShapeError);
  const volatile std::size_t half = std::size_t{1} << 63;  // a constant g++ would warn of
  CHECK_THROWS_AS(pool().acquire(half), ShapeError);
  CHECK(pool().acquired() == acquired);
  CHECK(pool().used_bytes() == used);
}

TEST_CASE("threads share the pool: no buffer has two owners") {
  std::atomic<int> torn{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < 500; ++round) {
        const std::size_t bytes = 64 + static_cast<std::size_t>(round % 5) * 700;
        auto* mine = static_cast<unsigned char*>(pool().acquire(bytes));
        std::memset(mine, t + 1, bytes);
        std::this_thread::yield();
        for (std::size_t i = 0; i < bytes; i += 63)
          if (mine[i] != t + 1) ++torn;
        pool().release(mine, bytes);
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(torn == 0);
}

TEST_CASE("inside a PoolScope tensors take and leave their memory in a pool of one's own") {
  const std::size_t used = pool().used_bytes(), idle = pool().idle_bytes();
  Tensor<float, 1> before({1000}), after;
  {
    BufferPool own;
    {
      PoolScope scope(own);
      CHECK(&BufferPool::current() == &own);
      { Tensor<float, 1> inside({1000}); }
      CHECK(own.from_system() == 1);
      CHECK(own.idle_bytes() >= 4000);
      { Tensor<float, 1> again({1000}); }
      CHECK(own.from_system() == 1);
      {
        BufferPool inner;
        PoolScope nested(inner);
        CHECK(&BufferPool::current() == &inner);
      }
      CHECK(&BufferPool::current() == &own);
      std::thread other([] { CHECK(&BufferPool::current() == &pool()); });
      other.join();
      // Across the border: memory goes to the pool that is current.
      before.release();
      CHECK(own.idle_bytes() >= 8000);
      after.resize({500});
    }
    CHECK(&BufferPool::current() == &pool());
    after.fill(1);
  }
  CHECK(after[499] == 1);
  after.release();
  CHECK(pool().used_bytes() <= used + 4096);
  CHECK(pool().idle_bytes() >= idle);
}
