// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include <heed/io/checkpoint.hpp>
#include <heed/io/json.hpp>
#include <heed/io/safetensors.hpp>
#include <heed/train/trainer.hpp>

#include "options.hpp"

namespace cifar10 {

/// Where a run stands: what its checkpoint says beside the tensors.
struct Position {
  heed::EpochReport epoch = {};  ///< the running one, as far as it has come
  double seconds = 0;            ///< of the epochs before
  Index images = 0;
  Index records = 0;  ///< of the log
};

inline constexpr std::string_view kBuiltAs = "program";  ///< the word that holds `built_as`
/// What decides the bits besides recipe and instruction set.
inline std::string built_as() {
  std::string words = heed::text("heed ", HEED_VERSION_MAJOR, '.', HEED_VERSION_MINOR, '.', HEED_VERSION_PATCH, ", compiler ", __VERSION__);
#if defined(__OPTIMIZE__)
  words += ", optimised";
#endif
#if defined(__AVX512F__)
  words += ", for AVX-512";
#elif defined(__FMA__)
  words += ", with FMA";
#endif
  return words;
}

/// The words of a checkpoint: `recipe` is an object with all that changes what training computes.
inline heed::Metadata checkpoint_words(const heed::Json& recipe, const Position& position) {
  const heed::EpochReport& epoch = position.epoch;
  heed::Json at;
  at.set("epoch", epoch.epoch).set("steps", epoch.steps).set("images", epoch.images).set("correct", epoch.correct);
  at.set("loss_sum", epoch.loss_sum).set("seconds", epoch.seconds).set("seconds_before", position.seconds);
  at.set("images_before", position.images).set("records", position.records);
  return {{"recipe", recipe.to_string()}, {"position", at.to_string()}, {std::string(kBuiltAs), built_as()}};
}

/// Where the checkpoint stands. Throws FileError if its words are damaged, of another recipe, or of a step that a run of so many epochs does not have.
inline Position read_position(const heed::SafetensorsReader& file, const heed::Json& recipe, Index epochs, Index steps_per_epoch) {
  const auto words = [&](std::string_view key) {
    const std::string* word = file.metadata(key);
    heed::Json json = word ? heed::Json::parse(*word, heed::text(file.path(), ": metadata \"", key, "\"")) : heed::Json();
    heed::require<heed::FileError>(
        json.is_object(), file.path(), ": expected \"", key, "\" in the metadata; was it written by cifar10 train?");
    return json;
  };
  const heed::Json theirs = words("recipe"), at = words("position");
  std::string differences, cure = "Resume with the options that the run was started with";
  for (const auto& [key, value] : recipe.as_object()) {
    const heed::Json* other = theirs.find(key);
    const std::string ours = value.to_string(), found = other ? other->to_string() : "not said";
    constexpr std::size_t kLongest = 80;  // of a hostile file's word
    if (found != ours)
      differences += heed::text(differences.empty() ? "" : "; ", key, " was ",
          found.size() <= kLongest ? found : heed::detail::quoted_name(found), ", now it is ", ours);
    if (found != ours && (!other || key == "recipe_revision")) cure = "Resume with the program that the run was started with";
  }
  heed::require<heed::FileError>(differences.empty(), file.path(), ": the checkpoint is of another recipe: ", differences, ". ", cure);

  constexpr double kMost = 1e15;  // seconds, or the sum of the losses of as many images
  const auto number = [&](std::string_view key, bool whole) -> const heed::Json& {
    const heed::Json* value = at.find(key);
    const bool counts = value && value->is_integer() && value->as_integer() <= heed::io::kMostCounted;
    const bool fits = value && value->is_number() && value->as_number() >= 0 && (whole ? counts : value->as_number() <= kMost);
    heed::require<heed::FileError>(fits, file.path(), ": the metadata's \"position\": ", key, " is ",
        !value               ? "not there"
        : value->is_number() ? value->to_string()
                             : value->kind(),
        whole ? heed::text(", expected a whole number from 0 to ", heed::io::kMostCounted) : ", expected a number from 0 to 1e15");
    return *value;
  };
  const auto count = [&](std::string_view key) { return static_cast<Index>(number(key, true).as_integer()); };
  const auto real = [&](std::string_view key) { return number(key, false).as_number(); };
  const Position position{.epoch = {.epoch = count("epoch"),
                              .steps = count("steps"),
                              .images = count("images"),
                              .correct = count("correct"),
                              .loss_sum = real("loss_sum"),
                              .seconds = real("seconds")},
      .seconds = real("seconds_before"),
      .images = count("images_before"),
      .records = count("records")};
  const heed::EpochReport& epoch = position.epoch;
  heed::require<heed::FileError>(epoch.epoch <= epochs && epoch.steps <= steps_per_epoch, file.path(),
      ": the metadata's \"position\" is step ", epoch.steps, " of epoch ", epoch.epoch, ", expected one of ", steps_per_epoch, " of ",
      epochs);
  return position;
}

}  // namespace cifar10
