// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <heed/data/normalize.hpp>
#include <heed/io/json.hpp>
#include <heed/io/model_file.hpp>

#include "nets.hpp"

namespace cifar10 {

/// A net with all that is needed to use it.
struct StoredModel {
  NetOptions options;
  heed::Normalization normalization;
  std::vector<std::string> class_names;
  std::string dataset;  ///< "cifar10" or "generated"
  Net<float> net;
};

/// The layout of model.safetensors that this program writes and reads.
inline constexpr std::string_view kFormat = "heed-cifar10", kFormatVersion = "1";

/// What rebuilds and uses the net, as words of its file: format, format_version, net, attention, logit_scale, mean, deviation, class_names,
/// dataset.
inline heed::Metadata metadata_of(const StoredModel& model) {
  const auto list = [](const auto& values) {
    heed::Json array{heed::Json::Array()};
    for (const auto& value : values) array.push_back(value);
    return array.to_string();
  };
  return {{"format", std::string(kFormat)}, {"format_version", std::string(kFormatVersion)}, {"net", model.options.net},
      {"attention", model.options.attention}, {"logit_scale", heed::Json(model.options.logit_scale).to_string()},
      {"mean", list(model.normalization.mean)}, {"deviation", list(model.normalization.deviation)},
      {"class_names", list(model.class_names)}, {"dataset", model.dataset}};
}

/// Writes the net with its metadata. Appears whole or not at all. Throws FileError.
inline void save(const std::string& path, const StoredModel& model) { heed::io::save(path, model.net, metadata_of(model)); }

/// Reads what `save` wrote. Throws FileError for a file that is missing, damaged, or of another program or net.
inline StoredModel load(const std::string& path, const std::string& convolution = "automatic") {
  const heed::SafetensorsReader file(path);
  const auto word = [&](std::string_view key) {
    const std::string* value = file.metadata(key);
    if (!value)
      heed::fail<heed::FileError>(path, ": expected \"", key, "\" in the metadata, found nothing; was the file written by cifar10 train?");
    return *value;
  };
  const auto one_of = [&](std::string_view key, const auto& known) {
    const std::string value = word(key);
    if (std::find(known.begin(), known.end(), value) == known.end())
      heed::fail<heed::FileError>(
          path, ": the metadata's \"", key, "\" is ", heed::detail::quoted_name(value), ", which this program does not know");
    return value;
  };
  const auto list = [&](std::string_view key) {
    const heed::Json json = heed::Json::parse(word(key), heed::text(path, ": metadata \"", key, "\""));
    if (!json.is_array()) heed::fail<heed::FileError>(path, ": the metadata's \"", key, "\" is ", json.kind(), ", expected an array");
    return json.as_array();
  };
  const auto numbers = [&](std::string_view key) {
    std::vector<double> values;
    for (const heed::Json& value : list(key)) {
      if (!value.is_number())
        heed::fail<heed::FileError>(path, ": the metadata's \"", key, "\" holds ", value.kind(), ", expected numbers");
      values.push_back(value.as_number());
    }
    if (values.size() != 3) heed::fail<heed::FileError>(path, ": the metadata's \"", key, "\" has ", values.size(), " numbers, expected 3");
    return values;
  };
  one_of("format", std::vector<std::string_view>{kFormat});
  one_of("format_version", std::vector<std::string_view>{kFormatVersion});
  NetOptions options{.net = one_of("net", kNets), .attention = one_of("attention", kAttentions)};
  const heed::Json scale = heed::Json::parse(word("logit_scale"), path + ": metadata \"logit_scale\"");
  if (!scale.is_number()) heed::fail<heed::FileError>(path, ": the metadata's \"logit_scale\" is ", scale.kind(), ", expected a number");
  options.logit_scale = scale.as_number();
  heed::Normalization normalization{numbers("mean"), numbers("deviation")};
  for (double deviation : normalization.deviation)
    if (!(deviation > 0))
      heed::fail<heed::FileError>(path, ": the metadata's \"deviation\" holds ", deviation, ", expected numbers above 0");
  std::vector<std::string> names;
  for (const heed::Json& name : list("class_names")) {
    if (!name.is_string()) heed::fail<heed::FileError>(path, ": the metadata's \"class_names\" holds ", name.kind(), ", expected strings");
    names.push_back(name.as_string());
  }
  if (names.size() != 10) heed::fail<heed::FileError>(path, ": the metadata's \"class_names\" has ", names.size(), " names, expected 10");
  StoredModel model{options, std::move(normalization), std::move(names), word("dataset"), make_net<float>(options, convolution)};
  heed::io::load(file, model.net);
  const auto check = [&](std::string_view name, const float* values, Index count) {
    for (Index i = 0; i < count; ++i)
      heed::require<heed::FileError>(std::isfinite(values[i]), path, ": tensor ", name, " holds ", values[i],
          ", expected finite numbers; the training that wrote it ran away");
  };
  for (const auto& [name, parameter] : heed::named_parameters(model.net)) check(name, parameter->value(), parameter->size());
  for (const auto& [name, buffer] : heed::named_buffers(model.net)) check(name, buffer->data(), buffer->size());
  return model;
}

}  // namespace cifar10
