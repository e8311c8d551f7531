// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <heed/core/config.hpp>

namespace heed::inline HEED_ABI {

/// Tells one content from another, by accident and not against malice: 64-bit FNV-1a (Fowler, Noll, Vo) over the bytes that it is given.
class Fingerprint {
 public:
  Fingerprint() = default;
  /// Goes on from the value of another one.
  explicit Fingerprint(std::uint64_t value) : hash_(value) {}

  /// Goes on with `count` bytes at `data`; returns itself.
  Fingerprint& bytes(const void* data, std::size_t count) {
    const auto* byte = static_cast<const unsigned char*>(data);
    std::uint64_t hash = hash_;
    for (std::size_t i = 0; i < count; ++i) hash = (hash ^ byte[i]) * 0x100000001b3u;
    hash_ = hash;
    return *this;
  }
  /// 8 bytes, the lowest first.
  Fingerprint& number(std::uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8) {
      const auto byte = static_cast<unsigned char>(value >> shift);
      bytes(&byte, 1);
    }
    return *this;
  }
  /// The word and a zero byte.
  Fingerprint& word(std::string_view word) { return bytes(word.data(), word.size()).bytes("", 1); }
  /// The rank and the sizes of a heed::Shape, as numbers.
  template <class Sizes>
  Fingerprint& shape(const Sizes& shape) {
    number(static_cast<std::uint64_t>(shape.rank()));
    for (const auto size : shape) number(static_cast<std::uint64_t>(size));
    return *this;
  }

  /// The fingerprint of what was given so far.
  std::uint64_t value() const { return hash_; }
  /// 16 hexadecimal digits.
  std::string text() const {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash_));
    return digits;
  }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace heed::inline HEED_ABI
