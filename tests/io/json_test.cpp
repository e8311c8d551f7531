// SPDX-License-Identifier: MIT
#include <bit>
#include <limits>

#include <heed/core/random.hpp>
#include <heed/io/json.hpp>

#include "catch.hpp"

using heed::FileError;
using heed::Json;

namespace {

std::string message_of(std::string_view source) {
  try {
    Json::parse(source, "doc");
  } catch (const FileError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("JSON values read back as they were written", "[json]") {
  Json record;
  record.set("event", "result").set("seed", 7).set("accuracy", 0.1).set("done", true).set("note", Json());
  record.set("big", std::numeric_limits<std::int64_t>::min()).set("more", 18446744073709551615u).set("whole", 2.0);
  record.set("list", Json::Array{1, 2.5, "x", Json::Array{}, Json::Object{}});
  record.set("text", "quote \" backslash \\ newline \n bell \x07 umlaut \xc3\xa4 clef \xf0\x9d\x84\x9e");
  const std::string written = record.to_string();
  CHECK(written ==
        "{\"event\":\"result\",\"seed\":7,\"accuracy\":0.1,\"done\":true,\"note\":null,\"big\":-9223372036854775808,"
        "\"more\":18446744073709551616.0,\"whole\":2.0,\"list\":[1,2.5,\"x\",[],{}],"
        "\"text\":\"quote \\\" backslash \\\\ newline \\n bell \\u0007 umlaut \xc3\xa4 clef \xf0\x9d\x84\x9e\"}");
  const Json read = Json::parse(written);
  CHECK(read.to_string() == written);
  CHECK(read.find("seed")->as_integer() == 7);
  CHECK(read.find("whole")->is_integer() == false);
  CHECK(read.find("text")->as_string() == record.find("text")->as_string());
  CHECK(read.find("absent") == nullptr);
  record.set("seed", "other");
  CHECK(record.find("seed")->as_string() == "other");
  CHECK_THROWS_WITH(read.find("seed")->as_string(), "JSON: expected a string, found a whole number");
  CHECK_THROWS_AS(Json(1).find("x"), std::invalid_argument);
}

TEST_CASE("JSON numbers are exact", "[json]") {
  for (std::int64_t value :
      {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()})
    CHECK(Json::parse(Json(value).to_string()).as_integer() == value);
  const heed::CounterRandom random{1};
  for (std::uint64_t i = 0; i < 2000; ++i) {  // doubles of every exponent
    const double value = std::bit_cast<double>(random.bits(i));
    if (!std::isfinite(value)) continue;
    const Json read = Json::parse(Json(value).to_string());
    CHECK(read.as_number() == value);
  }
  CHECK(Json::parse("9223372036854775808").as_number() == 9223372036854775808.0);
  CHECK(!Json::parse("9223372036854775808").is_integer());
  CHECK(std::signbit(Json::parse("-0").as_number()));
  CHECK(Json::parse("[1e-400,2]").as_array()[0].as_number() == 0);
  CHECK(std::signbit(Json::parse("-1e-400").as_number()));
  CHECK(Json::parse(" 1E2 ").as_number() == 100.0);
  CHECK(Json(std::numeric_limits<double>::quiet_NaN()).to_string() == "null");
  CHECK(Json(-std::numeric_limits<float>::infinity()).to_string() == "null");
}

TEST_CASE("JSON escapes", "[json]") {
  CHECK(Json::parse("\"\\u0041\\u00e4\\u20AC\\ud834\\udd1e\\/\\b\\f\\n\\r\\t\"").as_string() ==
        "A\xc3\xa4\xe2\x82\xac\xf0\x9d\x84\x9e/\b\f\n\r\t");
  CHECK(Json::parse("\"a\\u0000b\"").as_string() == std::string("a\0b", 3));
  CHECK(Json(std::string("a\0b", 3)).to_string() == "\"a\\u0000b\"");
  CHECK(Json("a\xff\xc0\x80z").to_string() == "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"");
}

TEST_CASE("JSON errors are sentences with an offset", "[json]") {
  CHECK(message_of("{\"a\": 1,}") == "doc: at offset 8: expected a key in quotes, found '}'");
  CHECK(message_of("[1 2]") == "doc: at offset 3: expected ',' or ']', found '2'");
  CHECK(message_of("") == "doc: at offset 0: expected a value, found the end of the text");
  CHECK(message_of("{\"a\":1,\"b\":2,\"a\":3}") == "doc: in the object at offset 0: expected each key once, found \"a\" twice");
  CHECK(message_of("[-1e999]") == "doc: at offset 1: expected a number that a double can hold, found \"-1e999\"");
  CHECK(message_of("\"\xff\"") == "doc: at offset 1: expected UTF-8, found byte 0xff");
  const char* refused[] = {"{", "[", "\"", "\"\\", "\"\\u12", "\"\\x\"", "\"\\ud834\"", "\"\\ud834\\u0041\"", "\"\\ud834\\ue000\"",
      "\"\\udd1e\"", "tru", "nul", "NaN", "01", "-", "1.", ".5", "1e", "1e+", "+1", "1e999", "[1,]", "{1:2}", "{\"a\" 1}", "{\"a\":}",
      "[] []", "1 x", "\"\n\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\"", "/* */ 1", "'a'",
      "\xef\xbb\xbf{}", "[1}", "{\"a\":1]"};
  for (const char* source : refused) {
    INFO(source);
    CHECK(message_of(source) != "accepted");
  }
  CHECK(message_of(std::string_view("1\0", 2)) != "accepted");
}

TEST_CASE("Deep and long JSON is refused before it costs much", "[json]") {
  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
  };
  CHECK(message_of(nested(Json::kMaxDepth)) == "accepted");
  CHECK(message_of(nested(Json::kMaxDepth + 1)) == "doc: at offset 64: expected at most 64 levels of arrays and objects, found '['");
  CHECK(message_of(std::string(10'000'000, '[')) != "accepted");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  CHECK(message_of(objects) != "accepted");
  std::string many = "[0";
  for (std::size_t i = 0; i < Json::kMaxValues; ++i) many += ",0";
  CHECK(message_of(many + "]") != "accepted");
  const std::string longer = many + "]" + std::string(4 * (Json::kMaxValues + 2) - many.size() - 1, ' ');  // a value for every four bytes
  CHECK(message_of(longer) == "accepted");
  CHECK(message_of(std::string_view(longer).substr(0, longer.size() - 1)) != "accepted");
}

TEST_CASE("Changed JSON either reads or gets an error", "[json]") {
  const std::string good = "{\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},\"\\u00e4\":[-1.5e3,true,null,{}]}";
  const heed::CounterRandom random{2};
  int accepted = 0;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    std::string source = good;
    for (std::uint64_t change = 0; change <= random.below(4 * i, 3); ++change) {
      const std::size_t position = random.below(8 * i + 2 * change + 100, source.size());
      source[position] = static_cast<char>(random.below(8 * i + 2 * change + 101, 256));
    }
    const std::size_t cut = random.below(4 * i + 1, 2) * random.below(4 * i + 2, source.size());
    accepted += message_of(source.substr(0, source.size() - cut)) == "accepted";
  }
  CHECK(accepted > 0);
  CHECK(accepted < 20'000);
}

TEST_CASE("Every control character of a string comes back, and the common ones have their short form", "[json]") {
  for (char c = 1; c < 0x20; ++c)
    CHECK(Json::parse(Json(std::string("a") + c + "b").to_string()).as_string() == std::string("a") + c + "b");
  CHECK(Json("\n\t\r\b\f/").to_string() == "\"\\n\\t\\r\\b\\f/\"");
}
