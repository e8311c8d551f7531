// SPDX-License-Identifier: MIT
#include "cifar10/run_log.hpp"

#include <string>

#include "catch.hpp"

using cifar10::first_difference, cifar10::Json, cifar10::records_in;

namespace {

const Json kStart{{"event", "start"}, {"seed", 1}, {"parameters", 82466}};
const Json kEpoch{{"event", "epoch"}, {"epoch", 1}, {"training_loss", 2.4}, {"judged_by", "test"}, {"accuracy", 0.1}};
const Json kResult{{"event", "result"}, {"net", "demo"}, {"attention", "full"}, {"seed", 1}, {"test_accuracy", 0.1},
    {"test_accuracy_flip", 0.2}, {"test_accuracy_6view", 0.3}, {"train_seconds", 1.5}, {"images_per_second", 100}};

std::string line(const Json& record) { return record.dump() + '\n'; }

/// What is said of a log whose second record is `record` without, or with another, member.
std::string refusal(Json record, const char* key, const Json& value = Json::value_t::discarded) {
  record.erase(key);
  if (!value.is_discarded()) record[key] = value;
  try {
    records_in(line(kStart) + line(record), "run/log.jsonl");
  } catch (const heed::FileError& error) {
    return error.what();
  }
  return "";
}

const std::string kCure = "; the log is damaged: remove the folder, and make the run again";

}  // namespace

TEST_CASE("a log is read record by record; what it may hold beside is kept") {
  const Json other{{"event", "interrupted"}, {"step", 3}}, silent{{"event", "start"}};
  CHECK(records_in(line(kStart) + line(kEpoch) + line(other) + line(kResult), "log") == std::vector<Json>{kStart, kEpoch, other, kResult});
  CHECK(records_in(line(silent) + kEpoch.dump(), "log") == std::vector<Json>{silent, kEpoch});
  CHECK(records_in("", "log").empty());
}

TEST_CASE("a record that lacks what tables and pages say is refused, with file, record, key and a cure") {
  for (const char* key : {"epoch", "training_loss", "accuracy", "judged_by", "event"})
    CHECK(refusal(kEpoch, key).find(key) != std::string::npos);
  for (const auto& [key, value] : kResult.items()) CHECK(refusal(kResult, key.c_str()).find(key) != std::string::npos);
  CHECK(refusal(kEpoch, "accuracy") == "run/log.jsonl: record 2: expected \"accuracy\" to be a number, found nothing" + kCure);
  CHECK(refusal(kEpoch, "accuracy", nullptr) == "run/log.jsonl: record 2: expected \"accuracy\" to be a number, found null" + kCure);
  CHECK(refusal(kResult, "seed", -1) == "run/log.jsonl: record 2: expected \"seed\" to be a whole number from 0, found -1" + kCure);
  CHECK(refusal(kResult, "seed", 18446744073709551615u).empty());
  CHECK(refusal(kStart, "parameters", "many") == "run/log.jsonl: record 2: expected \"parameters\" to be a number, found \"many\"" + kCure);
}

TEST_CASE("a record that is no JSON, or too deep, is refused with its place in the file") {
  const std::string start = line(kStart);
  CHECK_THROWS_WITH(records_in(start + "{\"event\"\n", "log"),
      heed::text("log: record 2: at offset ", start.size() + 8, ": expected ':', found the end of the text", kCure));
  const std::string deep = "{\"event\":\"failed\",\"reason\":" + std::string(300'000, '[') + std::string(300'000, ']') + '}';
  CHECK_THROWS_WITH(records_in(start + deep, "log"), contains("log: record 2: at offset") && contains("at most 64 levels"));
  CHECK_THROWS_AS(records_in(start + "\n" + line(kEpoch), "log"), heed::FileError);
}

TEST_CASE("the first key that differs") {
  CHECK(first_difference({{"a", 1}, {"b", 2}}, {{"b", 2}, {"a", 1}, {"c", 3}}).empty());
  CHECK(first_difference({{"a", 1}, {"b", 2}}, {{"a", 1}}) == "b");
}
