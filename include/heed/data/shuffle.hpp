// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/core/shape.hpp>

namespace heed::inline HEED_ABI {

/// First part of the keys of this room's random streams, so that streams of equal seeds never meet.
enum class DataStream : std::uint64_t { shuffle = 0x6461'7461'0001, placement, first_flip, generated, corruption };

/// Writes a permutation of 0 ... order.size() - 1 that is a pure function of (size, seed, epoch), every one equally likely
/// (Fisher and Yates 1938, Durstenfeld's form: position i, from the last down, changes places with one of 0 ... i).
inline void shuffle_order(std::span<Index> order, std::uint64_t seed, Index epoch) {
  const CounterRandom random{static_cast<std::uint64_t>(DataStream::shuffle), seed, static_cast<std::uint64_t>(epoch)};
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<Index>(i);
  for (std::size_t i = order.size(); i-- > 1;) std::swap(order[i], order[static_cast<std::size_t>(random.below(i, i + 1))]);
}

/// The same as a vector of `count` numbers.
inline std::vector<Index> shuffled(Index count, std::uint64_t seed, Index epoch) {
  std::vector<Index> order(static_cast<std::size_t>(count));
  shuffle_order(order, seed, epoch);
  return order;
}

}  // namespace heed::inline HEED_ABI
