// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>

#include <heed/core/shape.hpp>

namespace heed::inline HEED_ABI::detail {

inline constexpr int kMaxWorkers = 256;  // a loop's shares, and the scratch of a call, are found through arrays of this length on the stack

/// Hands out the chunks of a loop. Each worker has a share of them, one behind the other, and takes them in order; when it has done them it takes the last chunk
/// of the share in which most are left, until none is left in any. So a worker that is late or slow is helped, and otherwise neighbours in memory belong to one core, the same
/// in each loop over them: what it wrote it finds in its own caches, and what it asks for ahead it needs itself. (If fewer threads come than were asked for, the shares of the others go from their ends.)
///
/// Two threads of Zen 4, ms, against chunks in turns (first come, first served): layer norm 8192x256 0.31 -> 0.20, batch norm 64x32x32x64 forward 0.73 -> 0.60,
/// depthwise 3x3 of the same 1.33 -> 0.78, GELU 8192x1024 2.39 -> 2.18; products and training steps, which compute, the same.
class ChunkShares {
 public:
  static constexpr Index kMostChunks = static_cast<Index>(std::min<std::uint64_t>(0xffffffffu, std::numeric_limits<Index>::max()));

  ChunkShares(Index chunks, int workers) : workers_(workers) {
    HEED_ASSERT(workers <= kMaxWorkers && chunks <= kMostChunks);
    for (int w = 0; w < workers; ++w)
      std::construct_at(&shares_[w])->range.store(range(share(chunks, w), share(chunks, w + 1)), std::memory_order_relaxed);
  }
  /// The next chunk for a worker, below 0 if there is none.
  Index take(int worker) {
    std::uint64_t own = shares_[worker].range.load(std::memory_order_relaxed);
    while (left(own) > 0)
      if (shares_[worker].range.compare_exchange_weak(own, own + 1, std::memory_order_relaxed)) return first(own);
    return steal();
  }

 private:
  struct alignas(64) Share {  // a cache line each
    std::atomic<std::uint64_t> range;
  };

  /// Where the share of worker `w` begins.
  Index share(Index chunks, int w) const {
    return static_cast<Index>(static_cast<std::uint64_t>(chunks) * static_cast<std::uint64_t>(w) / static_cast<std::uint64_t>(workers_));
  }
  static std::uint64_t range(Index first, Index end) { return static_cast<std::uint64_t>(end) << 32 | static_cast<std::uint64_t>(first); }
  static Index first(std::uint64_t range) { return static_cast<Index>(range & 0xffffffffu); }
  static Index end(std::uint64_t range) { return static_cast<Index>(range >> 32); }
  static Index left(std::uint64_t range) { return end(range) - first(range); }

  Index steal() {
    for (;;) {
      int fullest = 0;
      std::uint64_t most = 0;
      for (int w = 0; w < workers_; ++w) {
        const std::uint64_t other = shares_[w].range.load(std::memory_order_relaxed);
        if (left(other) > left(most)) fullest = w, most = other;
      }
      if (left(most) == 0) return -1;
      if (shares_[fullest].range.compare_exchange_strong(most, range(first(most), end(most) - 1), std::memory_order_relaxed))
        return end(most) - 1;
    }
  }

  int workers_;
  union {
    Share shares_[kMaxWorkers];  ///< those of the workers are made
  };
};

}  // namespace heed::inline HEED_ABI::detail
