// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

#include <heed/io/dtype.hpp>

namespace heed::inline HEED_ABI::io {

/// Writes one message in the wire format of protocol buffers (protobuf.dev, "Encoding"): fields one after another, each a key (number of the
/// field · 8 + wire type) and a value. The numbers of the fields are the format's, as onnx.proto names them; nothing here knows them.
/// The same calls give the same bytes.
class ProtobufWriter {
 public:
  /// A whole number or enumerator (wire type 0: seven bits a byte, least first; negative ones as 64-bit two's complement).
  ProtobufWriter& integer(int field, std::int64_t value) {
    key(field, 0);
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  /// A float (wire type 5: four bytes).
  ProtobufWriter& real(int field, float value) {
    key(field, 5);
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) encoded_ += static_cast<char>(static_cast<unsigned char>(bits >> shift));
    return *this;
  }
  /// Text or raw bytes (wire type 2: length, content).
  ProtobufWriter& bytes(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    encoded_ += value;
    return *this;
  }
  /// A message inside of this one.
  ProtobufWriter& message(int field, const ProtobufWriter& value) { return bytes(field, value.encoded_); }

  /// The bytes of the message so far.
  const std::string& encoded() const { return encoded_; }

 private:
  void key(int field, unsigned wire_type) { varint(static_cast<std::uint64_t>(field) << 3 | wire_type); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) encoded_ += static_cast<char>(static_cast<unsigned char>(0x80 | (value & 0x7f)));
    encoded_ += static_cast<char>(static_cast<unsigned char>(value));
  }

  std::string encoded_;
};

}  // namespace heed::inline HEED_ABI::io
