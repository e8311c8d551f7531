// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <heed/io/atomic_file.hpp>

#include "../program/json_text.hpp"

namespace cifar10 {

using Json = nlohmann::ordered_json;

/// What the log's result says about a model: on the image, with its mirror image, over six views.
inline constexpr std::array kMeasures{"test_accuracy", "test_accuracy_flip", "test_accuracy_6view"};

inline std::string log_path(const std::string& folder) { return (std::filesystem::path(folder) / "log.jsonl").string(); }

/// Throws FileError "`where`: ..." unless the record has what tables and pages say of one of its kind.
inline void check_record(const Json& record, std::string_view where) {
  using program::number_member, program::word_member;
  const std::string& event = word_member(record, "event", where).get_ref<const std::string&>();
  if (event == "start") {
    if (record.contains("parameters")) number_member(record, "parameters", where);  // what else it may say is compared, and shown as it is
  } else if (event == "epoch") {
    for (const char* key : {"epoch", "training_loss", "accuracy"}) number_member(record, key, where);
    word_member(record, "judged_by", where);
  } else if (event == "result") {
    for (const char* key : {"net", "attention"}) word_member(record, key, where);
    program::member(
        record, "seed", [](const Json& value) { return value.is_number_unsigned(); }, "a whole number from 0", where);
    for (const char* key : kMeasures) number_member(record, key, where);
    for (const char* key : {"train_seconds", "images_per_second"}) number_member(record, key, where);
  }
}

/// The records that the text of a log holds, one a line. Throws FileError with the path and the record's number if one is damaged.
inline std::vector<Json> records_in(std::string_view text, const std::string& path) {
  std::vector<Json> records;
  try {
    for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
      end = std::min(text.find('\n', begin), text.size());
      const std::string where = heed::text(path, ": record ", records.size() + 1);
      records.push_back(program::read_json(text.substr(begin, end - begin), where, begin));
      check_record(records.back(), where);
    }
  } catch (const heed::FileError& error) {
    heed::fail<heed::FileError>(error.what(), "; the log is damaged: remove the folder, and make the run again");
  }
  return records;
}
/// Those of a run's log; none if there is no log.
inline std::vector<Json> records_of(const std::string& folder) {
  const std::string path = log_path(folder);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return {};
  return records_in(heed::read_file(path), path);
}

/// The first key of which `found` does not say what `expected` does; empty if there is none.
inline std::string first_difference(const Json& expected, const Json& found) {
  for (const auto& [key, value] : expected.items())
    if (found.value(key, Json()) != value) return key;
  return "";
}

}  // namespace cifar10
