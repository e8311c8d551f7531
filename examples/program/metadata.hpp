// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/core/anomaly.hpp>
#include <heed/data/normalize.hpp>
#include <heed/io/json.hpp>
#include <heed/io/model_file.hpp>

namespace program {

using heed::Index;

/// A list as a metadata value: numbers or strings in JSON.
template <class Values>
std::string as_json(const Values& values) {
  heed::Json array{heed::Json::Array()};
  for (const auto& value : values) array.push_back(value);
  return array.to_string();
}

/// What a model's file says beside its tensors, key by key. All throw FileError with path and key for what is missing, or is not what the program can work with.
class MetadataReader {
 public:
  /// The metadata's format and format_version must be these. `writer`: the program that writes such files. Looks at `file`, which must outlive it.
  MetadataReader(const heed::SafetensorsReader& file, std::string_view format, std::string_view version, std::string writer)
      : file_(file), writer_(std::move(writer)) {
    const std::string found = word("format"), found_version = word("format_version");
    heed::require<heed::FileError>(found == format && found_version == version, file_.path(), ": the metadata's format is ",
        heed::detail::quoted_name(found), ' ', heed::detail::quoted_name(found_version), ", expected ", format, ' ', version);
  }

  /// Whether there is anything under the key.
  bool has(std::string_view key) const { return file_.metadata(key) != nullptr; }
  const std::string& word(std::string_view key) const {
    const std::string* value = file_.metadata(key);
    if (!value)
      heed::fail<heed::FileError>(
          file_.path(), ": expected \"", key, "\" in the metadata, found nothing; was the file written by ", writer_, '?');
    return *value;
  }
  /// A word out of a list.
  template <class Known>
  std::string one_of(std::string_view key, const Known& known) const {
    const std::string value = word(key);
    if (std::find(known.begin(), known.end(), value) == known.end())
      refuse(key, "is ", heed::detail::quoted_name(value), ", which this program does not know");
    return value;
  }
  /// A number up to 1e9 in size.
  double number(std::string_view key) const { return number(key, parsed(key)); }
  /// A whole number.
  Index whole(std::string_view key, Index least, Index most) const {
    const heed::Json value = parsed(key);
    const bool fits =
        value.is_number() && value.as_number() >= static_cast<double>(least) && value.as_number() <= static_cast<double>(most);
    if (!fits || value.as_number() != std::floor(value.as_number()))
      refuse(key, "is ", heed::detail::quoted_name(word(key)), ", expected a whole number from ", least, " to ", most);
    return static_cast<Index>(value.as_number());
  }
  std::vector<std::string> strings(std::string_view key) const {
    std::vector<std::string> values;
    for (const heed::Json& value : list(key)) {
      if (!value.is_string()) refuse(key, "holds ", value.kind(), ", expected strings");
      values.push_back(value.as_string());
    }
    return values;
  }
  /// As many strings as there must be, of which one is called `what`.
  std::vector<std::string> strings(std::string_view key, std::size_t count, const char* what) const {
    expect_count(key, count, what);
    return strings(key);
  }
  /// "mean" and "deviation", three numbers each; no deviation is smaller than 1e-9.
  heed::Normalization normalization() const {
    constexpr double kSmallest = 1e-9;  // one divided by the other is still a number to a float
    heed::Normalization result{numbers("mean"), numbers("deviation")};
    for (double deviation : result.deviation)
      if (!(deviation >= kSmallest)) refuse("deviation", "holds ", deviation, ", expected numbers above 0, ", kSmallest, " at least");
    return result;
  }

  template <class... Parts>
  [[noreturn]] void refuse(std::string_view key, const Parts&... parts) const {
    heed::fail<heed::FileError>(file_.path(), ": the metadata's \"", key, "\" ", parts...);
  }

 private:
  heed::Json parsed(std::string_view key) const {
    return heed::Json::parse(word(key), heed::text(file_.path(), ": metadata \"", key, "\""));
  }
  heed::Json::Array list(std::string_view key) const {
    const heed::Json json = parsed(key);
    if (!json.is_array()) refuse(key, "is ", json.kind(), ", expected an array");
    return json.as_array();
  }
  void expect_count(std::string_view key, std::size_t count, const char* what) const {
    const std::size_t found = list(key).size();
    if (found != count) refuse(key, "has ", found, ' ', what, ", expected ", count);
  }
  double number(std::string_view key, const heed::Json& value) const {
    constexpr double kLargest = 1e9;
    if (!value.is_number()) refuse(key, "holds ", value.kind(), ", expected a number");
    if (std::abs(value.as_number()) > kLargest) refuse(key, "holds ", value.as_number(), ", expected numbers up to ", kLargest);
    return value.as_number();
  }
  std::vector<double> numbers(std::string_view key) const {
    expect_count(key, 3, "numbers");
    std::vector<double> values;
    for (const heed::Json& value : list(key)) values.push_back(number(key, value));
    return values;
  }

  const heed::SafetensorsReader& file_;
  std::string writer_;
};

/// Writes the net with its metadata. Appears whole or not at all; AnomalyError, before anything is written, if a number is NaN or infinite. Throws FileError, too.
template <class Net>
void save_finite(const std::string& path, const Net& net, const heed::Metadata& metadata) {
  for (const auto& tensor : heed::detail::model_tensors(net))
    if (const Index place = heed::first_anomaly(tensor.data, tensor.shape.size()); place >= 0)
      heed::fail<heed::AnomalyError>(path, ": nothing is written: ", tensor.name, " holds ", tensor.data[place], " at element ", place,
          " of ", tensor.shape, "; a smaller --learning-rate may help");
  heed::io::save(path, net, metadata);
}

/// Fills the net from the file and refuses numbers that are not finite, and variances below zero, of which inference would make NaN. Throws FileError.
template <class Net>
void load_finite(const heed::SafetensorsReader& file, Net& net) {
  heed::io::load(file, net);
  const auto check = [&](std::string_view name, const auto* values, Index count) {
    const bool variance = name == "running_var" || name.ends_with(".running_var");
    for (Index i = 0; i < count; ++i) {
      heed::require<heed::FileError>(std::isfinite(values[i]), file.path(), ": tensor ", name, " holds ", values[i],
          ", expected finite numbers; the training that wrote it ran away");
      heed::require<heed::FileError>(!variance || values[i] >= 0, file.path(), ": tensor ", name, " holds ", values[i],
          ", expected variances from 0 on; the file is damaged");
    }
  };
  for (const auto& [name, parameter] : heed::named_parameters(net)) check(name, parameter->value(), parameter->size());
  for (const auto& [name, buffer] : heed::named_buffers(net)) check(name, buffer->data(), buffer->size());
}

}  // namespace program
