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

inline constexpr const char* kInterval[] = {"value", "low", "high"};  // null where a ratio has no number, as of errors that nothing adds

/// What `evaluate --corruptions --output` wrote.
struct RobustnessFile {
  Json images;  ///< what they were judged by: "dataset", and how many "images" in how many "views"
  Json
      models;  ///< each with "kind", "net", "attention", "weights_hash", "clean_accuracy" and, under "accuracy", a number for every severity of every corruption
  Json
      comparison;  ///< of the first half of the models with the others: "ce", "relative_ce" (of every corruption), "mean_ce", "mean_relative_ce"; null without --against
};

/// Reads one from its text. Throws FileError with the path for other files.
inline RobustnessFile robustness_in(std::string_view text, const std::string& path) {
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
    for (Json& model : file["models"]) {
      const std::string where = heed::text(path, ": model ", ++number);
      for (const char* key : {"net", "attention", "weights_hash"}) program::word_member(model, key, where);
      if (!model.contains("kind"))  // of an earlier version
        model["kind"] = heed::text(model["net"].get<std::string>(), " with attention ", model["attention"].get<std::string>());
      program::word_member(model, "kind", where);
      program::number_member(model, "clean_accuracy", where);
      const Json& accuracy = program::member(model, "accuracy", object, "an object", where);
      for (const heed::Corruption kind : heed::all_corruptions())
        program::member(accuracy, heed::corruption_name(kind), severities, heed::text("an array of ", heed::kSeverities, " numbers"),
            where + ": accuracy");
      heed::require<heed::FileError>(accuracy.size() == heed::kCorruptions, where, ": expected ", heed::kCorruptions,
          " corruptions under \"accuracy\", found ", accuracy.size());
    }
    RobustnessFile result;
    result.images["dataset"] = program::word_member(file, "dataset", path);
    for (const char* key : {"images", "views"}) result.images[key] = program::number_member(file, key, path);
    if (file.contains("ce")) {
      const auto interval = [](const Json& value) {
        return value.is_object() && std::all_of(std::begin(kInterval), std::end(kInterval), [&](const char* key) {
          return value.contains(key) && (value[key].is_number() || value[key].is_null());
        });
      };
      constexpr const char* kIs = "an interval (value, low and high, each a number or null)";
      for (const char* key : {"ce", "relative_ce"})
        for (const heed::Corruption kind : heed::all_corruptions())
          program::member(program::member(file, key, object, "an object", path), heed::corruption_name(kind), interval, kIs,
              heed::text(path, ": ", key));
      for (const char* key : {"mean_ce", "mean_relative_ce"}) program::member(file, key, interval, kIs, path);
      for (const char* key : {"ce", "relative_ce", "mean_ce", "mean_relative_ce"}) result.comparison[key] = std::move(file[key]);
      heed::require<heed::FileError>(file["models"].size() % 2 == 0, path,
          ": expected as many models on both sides of a comparison, found ", file["models"].size(), " in all");
    }
    result.models = std::move(file["models"]);
    return result;
  } catch (const heed::FileError& error) {
    heed::fail<heed::FileError>(error.what(), "; expected what cifar10 evaluate --corruptions --output wrote");
  }
}

}  // namespace cifar10
