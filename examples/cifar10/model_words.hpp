// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/data/normalize.hpp>
#include <heed/io/json.hpp>
#include <heed/io/safetensors.hpp>

#include "options.hpp"
#include "widths.hpp"

namespace cifar10 {

/// What a model's file says beside its tensors: how to build the net and what its images and classes are.
struct ModelWords {
  NetOptions options;
  heed::Normalization normalization;
  std::vector<std::string> class_names;
  std::string dataset;  ///< "cifar10" or "generated"
};

/// The layout of model.safetensors that this program writes and reads.
inline constexpr std::string_view kFormat = "heed-cifar10", kFormatVersion = "1";

/// The words as metadata: format, format_version, net, attention, logit_scale, mean, deviation, class_names, dataset.
inline heed::Metadata metadata_of(const ModelWords& words) {
  const auto list = [](const auto& values) {
    heed::Json array{heed::Json::Array()};
    for (const auto& value : values) array.push_back(value);
    return array.to_string();
  };
  return {{"format", std::string(kFormat)}, {"format_version", std::string(kFormatVersion)}, {"net", words.options.net},
      {"attention", words.options.attention}, {"logit_scale", heed::Json(words.options.logit_scale).to_string()},
      {"mean", list(words.normalization.mean)}, {"deviation", list(words.normalization.deviation)},
      {"class_names", list(words.class_names)}, {"dataset", words.dataset}};
}

/// Reads what `metadata_of` gave: each word is one that the program can work with, or there is a FileError.
inline ModelWords read_words(const heed::SafetensorsReader& file) {
  const auto refuse = [&](std::string_view key, const auto&... parts) {
    heed::fail<heed::FileError>(file.path(), ": the metadata's \"", key, "\" ", parts...);
  };
  const auto word = [&](std::string_view key) {
    const std::string* value = file.metadata(key);
    if (!value)
      heed::fail<heed::FileError>(
          file.path(), ": expected \"", key, "\" in the metadata, found nothing; was the file written by cifar10 train?");
    return *value;
  };
  const auto one_of = [&](std::string_view key, const auto& known) {
    const std::string value = word(key);
    if (std::find(known.begin(), known.end(), value) == known.end())
      refuse(key, "is ", heed::detail::quoted_name(value), ", which this program does not know");
    return value;
  };
  const auto parsed = [&](std::string_view key) {
    return heed::Json::parse(word(key), heed::text(file.path(), ": metadata \"", key, "\""));
  };
  const auto list = [&](std::string_view key, std::size_t count, const char* what) {
    const heed::Json json = parsed(key);
    if (!json.is_array()) refuse(key, "is ", json.kind(), ", expected an array");
    if (json.as_array().size() != count) refuse(key, "has ", json.as_array().size(), ' ', what, ", expected ", count);
    return json.as_array();
  };
  constexpr double kLargest = 1e9, kSmallest = 1e-9;  // one divided by the other is still a number to a float
  const auto number = [&](std::string_view key, const heed::Json& value) {
    if (!value.is_number()) refuse(key, "holds ", value.kind(), ", expected a number");
    if (std::abs(value.as_number()) > kLargest) refuse(key, "holds ", value.as_number(), ", expected numbers up to ", kLargest);
    return value.as_number();
  };
  const auto numbers = [&](std::string_view key) {
    std::vector<double> values;
    for (const heed::Json& value : list(key, 3, "numbers")) values.push_back(number(key, value));
    return values;
  };
  one_of("format", std::vector<std::string_view>{kFormat});
  one_of("format_version", std::vector<std::string_view>{kFormatVersion});
  ModelWords words;
  words.options = {one_of("net", kNets), one_of("attention", kAttentions), number("logit_scale", parsed("logit_scale"))};
  words.normalization = {numbers("mean"), numbers("deviation")};
  for (double deviation : words.normalization.deviation)
    if (!(deviation >= kSmallest)) refuse("deviation", "holds ", deviation, ", expected numbers above 0, ", kSmallest, " at least");
  for (const heed::Json& name : list("class_names", 10, "names")) {
    if (!name.is_string()) refuse("class_names", "holds ", name.kind(), ", expected strings");
    words.class_names.push_back(name.as_string());
  }
  words.dataset = word("dataset");
  return words;
}

/// Throws FileError unless the file is long enough for the net of its words, so that it may be built.
inline void require_room_for_net(const heed::SafetensorsReader& file, const ModelWords& words) {
  constexpr std::size_t kNarrowest = 2;  // bytes of a weight: 16-bit numbers are read, too
  std::size_t bytes = 0;
  for (const auto& entry : file.entries()) bytes += entry.bytes;
  const std::size_t least = static_cast<std::size_t>(block_weights(words.options.net)) * kNarrowest;
  heed::require<heed::FileError>(bytes >= least, file.path(), ": expected at least ", least, " bytes of tensors for the net ",
      words.options.net, ", found ", bytes, "; the metadata are those of another file");
}

}  // namespace cifar10
