// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/core/layer.hpp>
#include <heed/io/safetensors.hpp>

namespace heed {

namespace detail {

/// A parameter or a buffer of a model, as files see it.
template <class T>
struct ModelTensor {
  std::string name;
  Shape shape;
  T* data;
};

/// All parameters and buffers of `model`, sorted by name. Throws std::invalid_argument if two have one name.
template <class Model>
auto model_tensors(const Model& model) {
  using T = typename Model::scalar;
  auto& walked = const_cast<Model&>(model);  // the walk hands out mutable pointers; `load_model` alone writes through them
  std::vector<ModelTensor<T>> result;
  for (const auto& [name, parameter] : named_parameters(walked))
    if (!parameter->empty()) result.push_back({name, parameter->shape(), parameter->value()});
  for (const auto& [name, buffer] : named_buffers(walked))
    if (!buffer->empty()) result.push_back({name, buffer->shape(), buffer->data()});
  std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.name == b.name; });
  require(twice == result.end(), "model: two parameters or buffers are named ", twice == result.end() ? "" : quoted_name(twice->name));
  return result;
}

}  // namespace detail

/// Writes every parameter and buffer of `model` under its dotted name ("2.attention.in_proj_weight"), in its own shape and scalar (float or
/// double), with `metadata`, as a safetensors file; all or nothing. Throws FileError.
template <class Model>
void save_model(const std::string& path, const Model& model, const Metadata& metadata = {}) {
  SafetensorsWriter writer;
  for (const auto& tensor : detail::model_tensors(model))
    writer.add(tensor.name, dtype_of<typename Model::scalar>(), tensor.shape, tensor.data);
  for (const auto& [key, value] : metadata) writer.set_metadata(key, value);
  writer.write(path);
}

/// What `load_model` left alone when it was not strict.
struct LoadReport {
  std::vector<std::string> missing;     ///< in the model, not in the file
  std::vector<std::string> unexpected;  ///< in the file, not in the model
};

/// Sets every parameter and buffer of `model` from the tensor of its name in `file`. Floating numbers of any width fit; they become the
/// nearest of the model's scalar. With `strict`, file and model must hold the same names; without, both may hold more, which is reported.
/// Throws one FileError that lists every missing, unexpected and misshapen tensor, and then changes nothing.
template <class Model>
LoadReport load_model(const SafetensorsReader& file, Model& model, bool strict = true) {
  const auto tensors = detail::model_tensors(model);
  LoadReport report;
  std::vector<std::string> misfits;
  for (const auto& tensor : tensors) {
    const auto* entry = file.find(tensor.name);
    if (!entry)
      report.missing.push_back(tensor.name);
    else if (entry->shape != tensor.shape)
      misfits.push_back(text(tensor.name, " (expected ", tensor.shape, ", found ", entry->shape, ")"));
    else if (!is_floating(entry->dtype))
      misfits.push_back(text(tensor.name, " (expected floating numbers, found ", dtype_name(entry->dtype), ")"));
  }
  for (const auto& entry : file.entries())
    if (!std::binary_search(tensors.begin(), tensors.end(), entry, [](const auto& a, const auto& b) { return a.name < b.name; }))
      report.unexpected.push_back(entry.name);

  std::string problems;
  const auto list = [&](const char* what, const std::vector<std::string>& names) {
    constexpr std::size_t kMost = 20;  // a message is read by a person
    for (std::size_t i = 0; i < std::min(kMost, names.size()); ++i)
      problems += text(i > 0 ? ", " : problems.empty() ? what : text("; ", what), names[i]);
    if (names.size() > kMost) problems += text(" and ", names.size() - kMost, " more");
  };
  if (strict) {
    list("missing in the file: ", report.missing);
    list("unexpected in the file: ", report.unexpected);
  }
  list("of another shape or kind: ", misfits);
  require<FileError>(problems.empty(), file.path(), ": the file is of another model: ", problems);

  for (const auto& tensor : tensors)
    if (const auto* entry = file.find(tensor.name)) file.copy(*entry, tensor.data);
  return report;
}

/// The same from the file at `path`.
template <class Model>
LoadReport load_model(const std::string& path, Model& model, bool strict = true) {
  return load_model(SafetensorsReader(path), model, strict);
}

/// A fingerprint of all parameters and buffers of `model`, to tell two trained models apart: 64-bit FNV-1a (Fowler, Noll, Vo) as 16
/// hexadecimal digits, over the tensors in the order of their names, for each its name, a zero byte, its dtype's name, a zero byte, its rank
/// and its sizes (8 bytes each, little-endian), and its elements' bytes as `save_model` stores them.
template <class Model>
std::string weights_hash(const Model& model) {
  using T = typename Model::scalar;
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&](const void* bytes, std::size_t count) {
    const auto* byte = static_cast<const unsigned char*>(bytes);
    for (std::size_t i = 0; i < count; ++i) hash = (hash ^ byte[i]) * 0x100000001b3u;
  };
  const auto add_word = [&](std::string_view word) {
    add(word.data(), word.size());
    add("", 1);
  };
  const auto add_number = [&](Index number) {
    const std::int64_t bytes = number;
    add(&bytes, sizeof bytes);
  };
  for (const auto& tensor : detail::model_tensors(model)) {
    add_word(tensor.name);
    add_word(dtype_name(dtype_of<T>()));
    add_number(tensor.shape.rank());
    for (Index size : tensor.shape) add_number(size);
    add(tensor.data, static_cast<std::size_t>(tensor.shape.size()) * sizeof(T));
  }
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

}  // namespace heed
