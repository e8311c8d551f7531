// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/io/safetensors.hpp>

#include "catch.hpp"
#include "io/scratch_folder.hpp"

using heed::Dtype;
using heed::FileError;
using heed::SafetensorsReader;
using heed::SafetensorsWriter;
using heed::Shape;

namespace {

/// A file of that header and that many bytes of data.
std::string file_of(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data_bytes, '\1');
}

/// Opens the bytes and reads every tensor as every type. The reading stands for the use: with the address sanitizer it shows any byte that is
/// not there.
std::string message_of(const std::string& bytes) {
  try {
    const SafetensorsReader file(bytes, "f");
    for (const auto& entry : file.entries()) {
      file.values<double>(entry.name);
      file.values<float>(entry.name);
      try {
        file.values<std::int64_t>(entry.name);
        file.values<std::uint8_t>(entry.name);
      } catch (const FileError&) {  // fractions, numbers out of range
      }
    }
  } catch (const FileError& error) {
    return error.what();
  }
  return "accepted";
}

std::string small_file(const ScratchFolder& folder) {
  const float weight[6] = {1, 2, 3, 4, 5, 6};
  const double scale = 0.5;
  const std::uint8_t flags[3] = {1, 0, 1};
  const std::int64_t steps[2] = {7, -8};
  SafetensorsWriter writer;
  writer.add("weight", Dtype::f32, {2, 3}, weight);
  writer.add("scale", Dtype::f64, {}, &scale);
  writer.add("flags", Dtype::boolean, {3}, flags);
  writer.add("none", Dtype::f32, {0, 4}, nullptr);
  writer.add("steps \"\xc3\xa4\"", Dtype::i64, {2}, steps);
  writer.set_metadata("net", "demo");
  writer.set_metadata("author", "x");
  writer.set_metadata("author", "nobody");
  const std::string path = folder.file("small.safetensors");
  writer.write(path);
  return path;
}

}  // namespace

TEST_CASE("What is written is read", "[safetensors]") {
  const ScratchFolder folder;
  const SafetensorsReader file(small_file(folder));
  CHECK(file.entries().size() == 5);
  CHECK(file.metadata() == heed::Metadata{{"author", "nobody"}, {"net", "demo"}});
  CHECK(*file.metadata("net") == "demo");
  CHECK(file.metadata("absent") == nullptr);
  const auto weight = file.tensor<float, 2>("weight");
  CHECK(weight.shape() == Shape{2, 3});
  CHECK(weight(1, 2) == 6);
  CHECK(file.tensor<double, 2>("weight")(0, 1) == 2);
  CHECK(file.values<double>("scale") == std::vector<double>{0.5});
  CHECK(file.values<std::uint8_t>("flags") == std::vector<std::uint8_t>{1, 0, 1});
  CHECK(file.values<std::int64_t>("steps \"\xc3\xa4\"") == std::vector<std::int64_t>{7, -8});
  CHECK(file.tensor<float, 2>("none").shape() == Shape{0, 4});
  CHECK(file.at("weight").dtype == Dtype::f32);
  for (const auto& entry : file.entries()) CHECK(entry.offset % static_cast<std::size_t>(heed::dtype_width(entry.dtype)) == 0);
}

TEST_CASE("The bytes are those of the format's own library", "[safetensors]") {
  // Written by safetensors 0.8.0 for Python: save_file({"b": float32 [[1, 2]], "a": uint8 [3, 4, 5], "c": int64 [6], "d": float64 scalar 0.5}).
  const std::string header =
      "{\"c\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},\"d\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[8,16]},"
      "\"b\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[16,24]},\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[24,27]}"
      "}" +
      std::string(6, ' ');
  const ScratchFolder folder;
  const float b[2] = {1, 2};
  const std::uint8_t a[3] = {3, 4, 5};
  const std::int64_t c = 6;
  const double d = 0.5;
  for (int order = 0; order < 2; ++order) {  // the order of the calls does not matter
    SafetensorsWriter writer;
    if (order == 0) writer.add("a", Dtype::u8, {3}, a);
    writer.add("c", Dtype::i64, {1}, &c);
    writer.add("d", Dtype::f64, {}, &d);
    writer.add("b", Dtype::f32, {1, 2}, b);
    if (order == 1) writer.add("a", Dtype::u8, {3}, a);
    writer.write(folder.file("f"));
    std::string expected = file_of(header, 27);
    std::memcpy(expected.data() + 8 + header.size(), &c, 8);
    std::memcpy(expected.data() + 8 + header.size() + 8, &d, 8);
    std::memcpy(expected.data() + 8 + header.size() + 16, b, 8);
    std::memcpy(expected.data() + 8 + header.size() + 24, a, 3);
    CHECK(heed::read_file(folder.file("f")) == expected);
  }
}

TEST_CASE("The header is padded to the next multiple of 8 bytes", "[safetensors]") {
  const ScratchFolder folder;
  const float one = 1;
  for (std::size_t length = 1; length <= 8; ++length) {
    SafetensorsWriter writer;
    writer.add(std::string(length, 'x'), Dtype::f32, {}, &one);
    writer.write(folder.file("f"));
    const std::string bytes = heed::read_file(folder.file("f"));
    const std::size_t data = bytes.size() - sizeof one, text = bytes.find_last_not_of(' ', data - 1) + 1;
    CHECK(data % 8 == 0);
    CHECK(data - text < 8);
  }
}

TEST_CASE("16-bit floats are converted when they are read", "[safetensors]") {
  const std::uint16_t half[2] = {0x3c00, 0xc000}, brain[2] = {0x3f80, 0xc000};
  const ScratchFolder folder;
  SafetensorsWriter writer;
  writer.add("half", Dtype::f16, {2}, half);
  writer.add("brain", Dtype::bf16, {2}, brain);
  writer.write(folder.file("f"));
  const SafetensorsReader file(folder.file("f"));
  CHECK(file.values<float>("half") == std::vector<float>{1, -2});
  CHECK(file.values<double>("brain") == std::vector<double>{1, -2});
}

TEST_CASE("An empty file of tensors is one", "[safetensors]") {
  const ScratchFolder folder;
  SafetensorsWriter().write(folder.file("f"));
  const SafetensorsReader empty(folder.file("f"));
  CHECK(empty.entries().empty());
  CHECK(message_of(file_of("{}", 0)) == "accepted");
  CHECK(message_of(file_of("{}      \n", 0)) == "accepted");
}

TEST_CASE("The writer refuses what could not be read", "[safetensors]") {
  const float one = 1;
  SafetensorsWriter writer;
  CHECK_THROWS_AS(writer.add("__metadata__", Dtype::f32, {}, &one), std::invalid_argument);
  CHECK_THROWS_AS(writer.add("\xff", Dtype::f32, {}, &one), std::invalid_argument);
  CHECK_THROWS_AS(writer.set_metadata("k", "\xff"), std::invalid_argument);
  SafetensorsWriter controls;  // serde's short forms
  controls.set_metadata("k", "\b\f\v");
  const ScratchFolder other;
  controls.write(other.file("f"));
  CHECK_THAT(heed::read_file(other.file("f")), contains("\\b\\f\\u000b"));
  writer.add("a", Dtype::f32, {}, &one);
  writer.add("a", Dtype::f32, {}, &one);
  const ScratchFolder folder;
  CHECK_THROWS_WITH(writer.write(folder.file("f")), "SafetensorsWriter: two tensors are named \"a\"");
  SafetensorsWriter wordy;
  wordy.set_metadata("k", std::string(heed::kMaxSafetensorsHeader, 'x'));
  CHECK_THROWS_AS(wordy.write(folder.file("f")), FileError);
  CHECK(folder.count() == 0);
}

TEST_CASE("Questions that the file cannot answer get a sentence", "[safetensors]") {
  const ScratchFolder folder;
  const std::string path = small_file(folder);
  const SafetensorsReader file(path);
  CHECK_THROWS_WITH(file.at("wieght"),
      path + ": expected a tensor \"wieght\", found \"flags\", \"none\", \"scale\", \"steps \\\"\xc3\xa4\\\"\", \"weight\"");
  CHECK_THROWS_WITH((file.tensor<float, 3>("weight")), path + ": tensor \"weight\": expected 3 axes, found 2 (2x3)");
  CHECK_THROWS_WITH(file.values<std::int64_t>("weight"),
      path + ": at offset " + std::to_string(file.at("weight").offset) + ": tensor \"weight\": expected I64, found F32");
  CHECK_THROWS_WITH(file.values<std::uint8_t>("steps \"\xc3\xa4\""),
      path + ": at offset " + std::to_string(file.at("steps \"\xc3\xa4\"").offset + 8) +
          ": tensor \"steps \\\"\xc3\xa4\\\"\": expected U8, found a number out of its range in I64");
  CHECK_THROWS_AS(SafetensorsReader(folder.file("absent")), FileError);
  CHECK_THROWS_AS(SafetensorsReader(folder.path()), FileError);
}

TEST_CASE("Hostile headers get errors that say where and what", "[safetensors]") {
  const auto header = [](const std::string& dtype, const std::string& shape, const std::string& place) {
    return "{\"w\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + place + "}}";
  };
  CHECK(message_of(file_of(header("\"F32\"", "[2]", "[0,8]"), 8)) == "accepted");

  CHECK(message_of("") ==
        "f: at offset 0: expected 8 bytes with the header's length, found 0; the file is empty or cut, or is no safetensors file");
  CHECK(message_of(std::string(8, '\xff')) ==
        "f: at offset 0: expected a header of at most 100000000 bytes, found a length of 18446744073709551615; this is probably no "
        "safetensors file");
  CHECK(message_of(std::string("\x10\0\0\0\0\0\0\0{}", 10)) ==
        "f: at offset 0: expected 16 bytes of header, found 2 in the file; it is cut, or is no safetensors file");
  for (char extra = 1; extra <= 8; ++extra) {  // a length that ends between the header's end and 8 bytes behind it
    std::string longer = file_of("{}      ", 0);
    longer[0] = static_cast<char>(longer[0] + extra);
    CHECK(message_of(longer) == "f: at offset 0: expected " + std::to_string(8 + extra) +
                                    " bytes of header, found 8 in the file; it is cut, or is no safetensors file");
  }
  CHECK(message_of(file_of("[]", 0)) == "f: at offset 8: expected a header that starts with '{'; this is probably no safetensors file");
  CHECK(message_of(file_of("", 0)) == "f: at offset 8: expected a header that starts with '{'; this is probably no safetensors file");
  CHECK(message_of(file_of("{\"w\":1}", 0)) == "f: at offset 8: tensor \"w\": expected an object, found a whole number");
  CHECK(message_of(file_of("{\"w\":1,}", 0)) == "f: at offset 15: expected a key in quotes, found '}'");
  CHECK(message_of(file_of("{\"w\":{\"dtype\":\"F32\",\"shape\":[]}}", 0)) ==
        "f: at offset 8: tensor \"w\": expected dtype, shape and data_offsets, found no data_offsets");
  CHECK(message_of(file_of(header("\"F32\"", "[2]", "[0,8],\"x\":1"), 8)) ==
        "f: at offset 8: tensor \"w\": expected dtype, shape and data_offsets alone, found \"x\"");
  CHECK(
      message_of(file_of(header("\"F4\"", "[2]", "[0,8]"), 8)) ==
      "f: at offset 8: tensor \"w\": dtype: expected a kind of numbers whose width is known (F16 to F64, BF16, I8 to I64, U8 to U64, BOOL, "
      "C64, F8_...), found \"F4\"");
  CHECK(message_of(file_of(header("\"C64\"", "[1]", "[0,8]"), 8)) ==
        "f: at offset 62: tensor \"w\": numbers of kind C64 are not read; expected F16 to F64, BF16, I8 to I64, U8 to U64 or BOOL");
  CHECK(message_of(file_of(header("\"C64\"", "[2]", "[0,8]"), 8)) ==
        "f: at offset 62: tensor \"w\": expected 16 bytes for shape 2 of C64, found 8 between its data_offsets");
  CHECK(
      message_of("{\"metadata\": {\"total_size\": 8}, \"weight_map\": {}}") ==
      "f: at offset 0: expected 8 bytes with the header's length, found '{': this is JSON; if it is the index of a model in several files "
      "(model.safetensors.index.json), load the .safetensors files beside it");
  CHECK(message_of(file_of("{}" + std::string('{' - 2, ' '), 0)) == "accepted");  // a length that begins with that byte
  CHECK(message_of(file_of(header("\"F32\"", "[-2]", "[0,8]"), 8)) ==
        "f: at offset 8: tensor \"w\": shape: expected whole numbers from 0 on, found -2");
  CHECK(message_of(file_of(header("\"F32\"", "[2.0]", "[0,8]"), 8)) ==
        "f: at offset 8: tensor \"w\": shape: expected whole numbers from 0 on, found 2.0");
  CHECK(message_of(file_of(header("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0)) ==
        "f: at offset 8: tensor \"w\": shape: expected a tensor that fits into memory, found [4294967296,4294967296]");
  for (const char* shape :
      {"[0,4611686018427387904]", "[0,4611686018427387904,4]", "[2305843009213693952,0]"})  // an axis of no elements hides none
    CHECK(message_of(file_of(header("\"F32\"", shape, "[0,0]"), 0)) ==
          heed::text("f: at offset 8: tensor \"w\": shape: expected a tensor that fits into memory, found ", shape));
  CHECK(message_of(file_of(header("\"F32\"", "[3]", "[0,8]"), 8)) ==
        "f: at offset 62: tensor \"w\": expected 12 bytes for shape 3 of F32, found 8 between its data_offsets");
  CHECK(message_of(file_of(header("\"F32\"", "[2]", "[0,8]"), 7)) ==
        "f: at offset 62: tensor \"w\": data_offsets: expected a part of the 7 bytes of data, found [0, 8]; the file is cut or damaged");
  CHECK(message_of(file_of(header("\"F32\"", "[2]", "[-8,0]"), 8)) ==
        "f: at offset 63: tensor \"w\": data_offsets: expected a part of the 8 bytes of data, found [-8, 0]; the file is cut or damaged");
  CHECK(message_of(file_of(header("\"F32\"", "[2]", "[0,8]"), 9)) ==
        "f: at offset 70: expected the end of the file, found 1 more bytes that belong to no tensor");
  CHECK(message_of(file_of(header("\"F32\"", "[2]", "[1,9]"), 9)) ==
        "f: at offset 62: expected the next tensor, found \"w\" at offset 63; bytes between tensors are not allowed");
  CHECK(message_of(file_of(
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[3,6]}}",
            6)) == "f: at offset 117: expected the next tensor, found \"b\" at offset 116; tensors must not overlap");
  CHECK(message_of(file_of("{\"a\":{},\"a\":{}}", 0)) == "f: in the object at offset 8: expected each key once, found \"a\" twice");

  const std::string refused[] = {header("1", "[2]", "[0,8]"), header("\"F32\"", "2", "[0,8]"), header("\"F32\"", "[\"2\"]", "[0,8]"),
      header("\"F32\"", "[2]", "[0]"), header("\"F32\"", "[2]", "[0,8,9]"), header("\"F32\"", "[2]", "[8,0]"),
      header("\"F32\"", "[2]", "[-8,0]"), header("\"F32\"", "[2]", "[0,1e1]"), header("\"F32\"", "[2]", "8"),
      header("\"F32\"", "[2]", "[0,9223372036854775807]"), header("\"F32\"", "[2]", "[9223372036854775807,9223372036854775807]"),
      header("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), header("\"F32\"", "[9223372036854775807]", "[0,8]"),
      header("\"F64\"", "[2305843009213693952]", "[0,0]"), header("\"F32\"", "[18446744073709551615]", "[0,8]"),
      header("\"f32\"", "[2]", "[0,8]"), "{\"__metadata__\":1}", "{\"__metadata__\":{\"a\":1}}",
      "{\"__metadata__\":{},\"__metadata__\":{}}", "{\"w\":null}", "{\"w\":[]}", "{\"\xff\":{}}", "{} x", "{", "{\"w",
      std::string(100'000, '{'), "{\"w\":" + std::string(100'000, '[')};
  for (const std::string& source : refused) {
    INFO(source.substr(0, 100));
    CHECK(message_of(file_of(source, 8)) != "accepted");
  }
}

TEST_CASE("Every cut of a file is noticed", "[safetensors]") {
  const ScratchFolder folder;
  const std::string good = heed::read_file(small_file(folder));
  CHECK(message_of(good) == "accepted");
  for (std::size_t length = 0; length < good.size(); ++length) CHECK(message_of(good.substr(0, length)) != "accepted");
  CHECK(message_of(good + "x") != "accepted");
}

TEST_CASE("Changed bytes either read or get an error", "[safetensors]") {
  const ScratchFolder folder;
  const std::string good = heed::read_file(small_file(folder));
  const std::size_t header_end = SafetensorsReader(good, "f").at("scale").offset;
  const heed::CounterRandom random{3};
  std::uint64_t draw = 0;
  const auto below = [&](std::size_t count) { return static_cast<std::size_t>(random.below(draw++, count)); };
  int accepted = 0;
  const int kRounds = 30'000;
  for (int i = 0; i < kRounds; ++i) {
    std::string bytes = good;
    const std::size_t changes = 1 + below(3);
    for (std::size_t c = 0; c < changes; ++c) {
      const std::size_t position = below(header_end);
      // Half of the changes stay close to what a header looks like: a digit for a digit gets further into the checks than a random byte.
      bytes[position] = below(2) ? static_cast<char>(below(256)) : "0123456789[]{},:\"-"[below(18)];
    }
    if (below(8) == 0) bytes.erase(below(header_end), 1 + below(8));
    if (below(8) == 0) bytes.insert(below(header_end), 1 + below(8), "0]}\""[below(4)]);
    accepted += message_of(bytes) == "accepted";
  }
  CHECK(accepted > 0);
  CHECK(accepted < kRounds);
}

TEST_CASE("Tensors of every kind that the format names are read", "[safetensors]") {
  const struct {  // two elements whose bytes all are 1
    const char* name;
    std::size_t width;
    std::int64_t value;  ///< 0: no whole number
  } kinds[] = {{"U64", 8, 0x0101010101010101}, {"I64", 8, 0x0101010101010101}, {"F64", 8, 0}, {"F32", 4, 0}, {"U32", 4, 0x01010101},
      {"I32", 4, 0x01010101}, {"BF16", 2, 0}, {"F16", 2, 0}, {"U16", 2, 0x0101}, {"I16", 2, 0x0101}, {"I8", 1, 1}, {"U8", 1, 1},
      {"BOOL", 1, 1}};
  CHECK(std::ssize(kinds) ==
        std::count_if(std::begin(heed::kDtypes), std::end(heed::kDtypes), [](const auto& k) { return heed::is_read(k.dtype); }));
  for (const auto& kind : kinds) {
    INFO(kind.name);
    const std::string header =
        heed::text("{\"w\":{\"dtype\":\"", kind.name, "\",\"shape\":[2],\"data_offsets\":[0,", 2 * kind.width, "]}}");
    const SafetensorsReader file(file_of(header, 2 * kind.width), "f");
    if (kind.value <= std::int64_t{1} << 53)
      CHECK(file.values<double>("w").size() == 2);
    else  // 57 binary digits
      CHECK_THROWS_WITH(
          file.values<double>("w"), Catch::Matchers::EndsWith(std::string("found a number of more digits than it has in ") + kind.name));
    if (kind.value != 0) CHECK(file.values<std::int64_t>("w") == std::vector<std::int64_t>(2, kind.value));
  }
}

TEST_CASE("Tensors of kinds that are not read leave the others readable", "[safetensors]") {
  const std::pair<const char*, std::size_t> kinds[] = {
      {"C64", 8}, {"F8_E5M2FNUZ", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E8M0", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  for (const auto& [name, width] : kinds) {
    INFO(name);
    const std::string header = heed::text("{\"__metadata__\":null,\"v\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[", 2 * width, ",",
        2 * width + 3, "]},\"w\":{\"dtype\":\"", name, "\",\"shape\":[2],\"data_offsets\":[0,", 2 * width, "]}}");
    const SafetensorsReader file(file_of(header, 2 * width + 3), "f");
    CHECK(file.metadata().empty());
    CHECK(file.values<float>("v") == std::vector<float>(3, 1));
    CHECK(heed::dtype_name(file.at("w").dtype) == name);
    CHECK(file.bytes(file.at("w")).size() == 2 * width);
    CHECK_THROWS_WITH(file.values<float>("w"), contains(std::string("numbers of kind ") + name + " are not read"));
    CHECK_THROWS_WITH((file.tensor<double, 1>("w")), contains("are not read"));
    CHECK_THROWS_AS(SafetensorsReader(file_of(header, 2 * width + 2), "f"), FileError);
  }
}

TEST_CASE("A file of as many tensors as the writer makes is read", "[safetensors]") {
  const ScratchFolder folder;
  constexpr int kTensors = 215'000;  // of ten values of JSON each, more than a short document may have
  const std::uint8_t byte = 1;
  SafetensorsWriter writer;
  for (int i = 0; i < kTensors; ++i) writer.add(std::to_string(i), Dtype::u8, {1, 1, 1, 1}, &byte);
  writer.write(folder.file("f"));
  const SafetensorsReader file(folder.file("f"));
  CHECK(file.entries().size() == kTensors);
  CHECK(file.values<std::uint8_t>("214999") == std::vector<std::uint8_t>{1});
}
