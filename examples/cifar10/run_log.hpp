// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <heed/io/atomic_file.hpp>

namespace cifar10 {

using Json = nlohmann::ordered_json;

inline std::string log_path(const std::string& folder) { return (std::filesystem::path(folder) / "log.jsonl").string(); }

/// The records of a run's log; none if there is no log. Throws FileError if it is damaged.
inline std::vector<Json> records_of(const std::string& folder) {
  const std::string path = log_path(folder);
  std::vector<Json> records;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return records;
  const std::string text = heed::read_file(path);
  for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    records.push_back(
        Json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin), text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false));
    heed::require<heed::FileError>(records.back().is_object() && records.back().contains("event"), path, ": record ", records.size(),
        " is damaged; remove the folder, and the run is made again");
  }
  return records;
}

/// The first key of which `found` does not say what `expected` does; empty if there is none.
inline std::string first_difference(const Json& expected, const Json& found) {
  for (const auto& [key, value] : expected.items())
    if (found.value(key, Json()) != value) return key;
  return "";
}

}  // namespace cifar10
