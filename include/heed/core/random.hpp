// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>

#include <heed/core/config.hpp>

namespace heed::inline HEED_ABI {

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64 bits in which every input bit reaches every output bit.
constexpr std::uint64_t mix_bits(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// Random numbers as a pure function of a key and a counter: nothing to store, nothing to lock, the same on every thread.
/// The key is made of any numbers that name the stream (seed, epoch, step, layer path, ...). The sequence over the counter is SplitMix64's.
class CounterRandom {
 public:
  /// Streams with different numbers are independent; the order counts.
  explicit constexpr CounterRandom(std::initializer_list<std::uint64_t> key) {
    for (std::uint64_t part : key) key_ = mix_bits(key_ + 0x9e3779b97f4a7c15u + part) + part;
  }

  /// What the numbers were mixed to: names the stream in one number.
  constexpr std::uint64_t key() const { return key_; }
  /// 64 random bits, number `counter` of the stream.
  constexpr std::uint64_t bits(std::uint64_t counter) const { return mix_bits(key_ + (counter + 1) * 0x9e3779b97f4a7c15u); }
  /// Uniform in [0, 1), 53 bits.
  constexpr double uniform(std::uint64_t counter) const { return static_cast<double>(bits(counter) >> 11) * 0x1.0p-53; }
  /// Uniform in [low, high).
  constexpr double uniform(std::uint64_t counter, double low, double high) const { return low + (high - low) * uniform(counter); }
  /// Uniform in 0 ... count - 1 (the bias of the multiplication is below 2^-32 for counts below 2^32).
  constexpr std::uint64_t below(std::uint64_t counter, std::uint64_t count) const { return ((bits(counter) >> 32) * count) >> 32; }
  /// Standard normal (Box and Muller 1958), from counters 2c and 2c + 1.
  double normal(std::uint64_t counter) const {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform(2 * counter)));
    return radius * std::cos(6.283185307179586 * uniform(2 * counter + 1));
  }

 private:
  std::uint64_t key_ = 0;
};

}  // namespace heed::inline HEED_ABI
