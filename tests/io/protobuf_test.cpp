// SPDX-License-Identifier: MIT
#include <cstdint>
#include <limits>
#include <string>

#include <heed/io/protobuf.hpp>

#include "catch.hpp"
#include "reference/protobuf_reference.hpp"

using heed::io::ProtobufWriter;
using reference::protobuf_fields;

TEST_CASE("Protobuf: the examples of the format's description") {
  // protobuf.dev, "Encoding": a = 150; b = "testing"; a message with a = 150 in field 3.
  CHECK(ProtobufWriter().integer(1, 150).encoded() == "\x08\x96\x01");
  CHECK(ProtobufWriter().bytes(2, "testing").encoded() == "\x12\x07testing");
  ProtobufWriter inner;
  inner.integer(1, 150);
  CHECK(ProtobufWriter().message(3, inner).encoded() == "\x1a\x03\x08\x96\x01");
  CHECK(ProtobufWriter().integer(1, -2).encoded() == "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
  CHECK(ProtobufWriter().encoded().empty());
}

TEST_CASE("Protobuf: what is written is read back") {
  using Limits = std::numeric_limits<std::int64_t>;
  for (const std::int64_t value : {std::int64_t{0}, std::int64_t{1}, std::int64_t{127}, std::int64_t{128}, std::int64_t{16383},
           std::int64_t{16384}, std::int64_t{-1}, Limits::max(), Limits::min()})
    for (const int field : {1, 15, 16, 2047, 2048}) {
      ProtobufWriter writer;
      writer.integer(field, value);
      const auto fields = protobuf_fields(writer.encoded());
      REQUIRE(fields.size() == 1);
      CHECK(fields[0].number == field);
      CHECK(fields[0].wire_type == 0);
      CHECK(static_cast<std::int64_t>(fields[0].integer) == value);
    }
  for (const float value : {0.0f, -0.0f, 1.5f, -3.25e-20f, std::numeric_limits<float>::infinity()}) {
    ProtobufWriter writer;
    writer.real(20, value);
    CHECK(writer.encoded().size() == 6);
    const auto fields = protobuf_fields(writer.encoded());
    REQUIRE(fields.size() == 1);
    CHECK(fields[0].number == 20);
    CHECK(fields[0].real() == value);
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{127}, std::size_t{128}, std::size_t{70000}}) {
    const std::string content(length, '\0');
    ProtobufWriter writer;
    writer.bytes(9, content).integer(1, 7);
    const auto fields = protobuf_fields(writer.encoded());
    REQUIRE(fields.size() == 2);
    CHECK(fields[0].bytes == content);
    CHECK(fields[1].integer == 7);
  }
}
