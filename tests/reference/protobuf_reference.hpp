// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace reference {

/// One field of a message in the wire format of protocol buffers: what judges heed::io::ProtobufWriter.
struct ProtobufField {
  int number = 0, wire_type = 0;
  std::uint64_t integer = 0;    ///< wire types 0 and 5
  std::string_view bytes = {};  ///< wire type 2
  float real() const {
    const auto bits = static_cast<std::uint32_t>(integer);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
};

/// All fields of `message` in their order. Throws for what is no message.
inline std::vector<ProtobufField> protobuf_fields(std::string_view message) {
  std::size_t at = 0;
  const auto byte = [&] {
    if (at >= message.size()) throw std::runtime_error("protobuf: the message ends early");
    return static_cast<std::uint64_t>(static_cast<unsigned char>(message[at++]));
  };
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      if (shift > 63) throw std::runtime_error("protobuf: a number of more than ten bytes");
      const std::uint64_t next = byte();
      value |= (next & 0x7f) << shift;
      if (next < 0x80) return value;
    }
  };
  std::vector<ProtobufField> fields;
  while (at < message.size()) {
    const std::uint64_t key = varint();
    ProtobufField field;
    field.number = static_cast<int>(key >> 3), field.wire_type = static_cast<int>(key & 7);
    if (field.number == 0) throw std::runtime_error("protobuf: field 0");
    switch (field.wire_type) {
      case 0:
        field.integer = varint();
        break;
      case 2: {
        const std::uint64_t length = varint();
        if (length > message.size() - at) throw std::runtime_error("protobuf: a length beyond the end");
        field.bytes = message.substr(at, static_cast<std::size_t>(length));
        at += static_cast<std::size_t>(length);
        break;
      }
      case 5:
        for (int shift = 0; shift < 32; shift += 8) field.integer |= byte() << shift;
        break;
      default:
        throw std::runtime_error("protobuf: a wire type that ONNX files do not use");
    }
    fields.push_back(field);
  }
  return fields;
}

}  // namespace reference
