// SPDX-License-Identifier: MIT
#include "program/json_text.hpp"

#include <string>

#include "catch.hpp"

using Json = nlohmann::ordered_json;
using program::json_text, program::member, program::read_json;

TEST_CASE("what JSON says is read as it was written, and bytes that are no UTF-8 are replaced") {
  const Json json{{"seed", 18446744073709551615u}, {"rate", 0.006}, {"names", {"a", "ü"}}, {"none", nullptr}};
  CHECK(read_json(json_text(json), "input") == json);
  CHECK(json_text(Json("caf\xe9")) == "\"caf\xef\xbf\xbd\"");
}

TEST_CASE("JSON that is damaged or too deep is refused with the file's name and the place") {
  const auto deep = [](int levels) {
    return std::string(static_cast<std::size_t>(levels), '[') + std::string(static_cast<std::size_t>(levels), ']');
  };
  CHECK(json_text(read_json(deep(heed::Json::kMaxDepth), "input")) == deep(heed::Json::kMaxDepth));
  CHECK_THROWS_WITH(read_json(deep(300'000), "input"), "input: at offset 64: expected at most 64 levels of arrays and objects, found '['");
  CHECK_THROWS_WITH(read_json("{\"a\":}", "input", 10), "input: at offset 15: expected a value, found '}'");
  CHECK_THROWS_AS(read_json("", "input"), heed::FileError);
  CHECK_THROWS_AS(read_json("{\"a\":1,\"a\":2}", "input"), heed::FileError);
}

TEST_CASE("a member that is not there, or is not what it must be, gets a sentence") {
  const Json object = Json::parse(R"({"rate":0.5,"name":"demo","list":[1],"none":null})");
  CHECK(program::number_member(object, "rate", "input") == 0.5);
  CHECK(program::word_member(object, "name", "input") == "demo");
  CHECK_THROWS_WITH(program::number_member(object, "name", "input"), "input: expected \"name\" to be a number, found \"demo\"");
  CHECK_THROWS_WITH(program::number_member(object, "list", "input"), "input: expected \"list\" to be a number, found an array of 1");
  CHECK_THROWS_WITH(program::number_member(object, "none", "input"), "input: expected \"none\" to be a number, found null");
  CHECK_THROWS_WITH(program::word_member(object, "rate", "input"), "input: expected \"rate\" to be a string, found 0.5");
  CHECK_THROWS_WITH(program::word_member(object, "seed", "input"), "input: expected \"seed\" to be a string, found nothing");
  CHECK_THROWS_WITH(program::word_member(Json::parse("[1]"), "seed", "input"), "input: expected \"seed\" to be a string, found nothing");
}
