// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <heed/core/buffer_pool.hpp>

namespace reference {

/// Leaves `copies` idle buffers of every size class up to `largest` bytes in the pool, all full of NaN (0xFF bytes), so that kernels which
/// read scratch before they write it are seen. A fresh process hands out zeros mostly, which hide such a read.
inline void poison_pool(std::size_t largest = std::size_t{1} << 21, int copies = 3) {
  heed::BufferPool& pool = heed::BufferPool::instance();
  std::vector<std::pair<void*, std::size_t>> taken;
  for (std::size_t power = 64; power <= largest; power *= 2)
    for (std::size_t bytes = power; bytes < 2 * power; bytes += std::max<std::size_t>(16, power / 4))
      for (int i = 0; i < copies; ++i) {
        taken.emplace_back(pool.acquire(bytes), bytes);
        std::memset(taken.back().first, 0xff, bytes);
      }
  for (const auto& [buffer, bytes] : taken) pool.release(buffer, bytes);
}

}  // namespace reference
