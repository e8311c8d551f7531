// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <heed/data/corruptions.hpp>

#include "../program/json_text.hpp"
#include "run_log.hpp"

namespace cifar10 {

/// The models of a file that `evaluate --corruptions --output` wrote, from its text: each with "net", "attention", "clean_accuracy" and, under "accuracy", a number for
/// every severity of every corruption. Throws FileError with the path for other files.
inline Json robust_models_in(std::string_view text, const std::string& path) {
  const auto some = [](const Json& value) { return value.is_array() && !value.empty(); };
  const auto object = [](const Json& value) { return value.is_object(); };
  const auto severities = [](const Json& value) {
    return value.is_array() && value.size() == heed::kSeverities &&
           std::all_of(value.begin(), value.end(), [](const Json& one) { return one.is_number(); });
  };
  try {
    Json file = program::read_json(text, path);
    program::member(file, "models", some, "an array of models", path);
    std::size_t number = 0;
    for (const Json& model : file["models"]) {
      const std::string where = heed::text(path, ": model ", ++number);
      for (const char* key : {"net", "attention"}) program::word_member(model, key, where);
      program::number_member(model, "clean_accuracy", where);
      const Json& accuracy = program::member(model, "accuracy", object, "an object", where);
      for (const heed::Corruption kind : heed::all_corruptions())
        program::member(accuracy, heed::corruption_name(kind), severities, heed::text("an array of ", heed::kSeverities, " numbers"),
            where + ": accuracy");
      heed::require<heed::FileError>(accuracy.size() == heed::kCorruptions, where, ": expected ", heed::kCorruptions,
          " corruptions under \"accuracy\", found ", accuracy.size());
    }
    return std::move(file["models"]);
  } catch (const heed::FileError& error) {
    heed::fail<heed::FileError>(error.what(), "; expected what cifar10 evaluate --corruptions --output wrote");
  }
}

}  // namespace cifar10
