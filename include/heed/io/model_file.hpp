// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/core/fingerprint.hpp>
#include <heed/core/layer.hpp>
#include <heed/io/safetensors.hpp>

namespace heed::inline HEED_ABI {

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
  auto& walked = const_cast<Model&>(model);  // the walk hands out mutable pointers; `io::load` alone writes through them
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

namespace io {

/// Writes every parameter and buffer of `model` under its dotted name ("2.attention.in_proj_weight"), in its own shape and scalar (float or
/// double), with `metadata`, as a safetensors file; all or nothing. Names and layouts are torch.nn's, so the file is a `state_dict`
/// (docs/interchange.md). Throws FileError.
template <class Model>
void save(const std::string& path, const Model& model, const Metadata& metadata = {}) {
  SafetensorsWriter writer;
  for (const auto& tensor : heed::detail::model_tensors(model))
    writer.add(tensor.name, dtype_of<typename Model::scalar>(), tensor.shape, tensor.data);
  for (const auto& [key, value] : metadata) writer.set_metadata(key, value);
  writer.write(path);
}

struct LoadOptions {
  bool strict = true;       ///< file and model must hold the same names; false: both may hold more, which is reported
  std::string prefix = {};  ///< read only what begins with it, without it: "encoder." loads a part of a model that calls it `encoder`
};

/// What `load` left alone: empty when it was strict. Sorted; the names are those in the file, with the prefix.
struct LoadReport {
  std::vector<std::string> missing;     ///< in the model, not in the file
  std::vector<std::string> unexpected;  ///< in the file, not in the model
};

/// Sets every parameter and buffer of `model` from the tensor of its name in `file`, be it written by `save` or from the `state_dict` of
/// torch.nn modules. Floating numbers of any width fit, 16-bit ones too; they become the nearest of the model's scalar. The
/// `num_batches_tracked` that torch keeps beside a batch norm's statistics counts as neither read nor unexpected: heed's rule needs no count.
/// Throws one FileError that lists every missing, unexpected and misshapen tensor, and then changes nothing.
template <class Model>
LoadReport load(const SafetensorsReader& file, Model& model, const LoadOptions& options = {}) {
  const auto tensors = heed::detail::model_tensors(model);
  const auto has = [&](std::string_view name) {
    const auto place = std::lower_bound(tensors.begin(), tensors.end(), name, [](const auto& a, std::string_view n) { return a.name < n; });
    return place != tensors.end() && place->name == name;
  };
  LoadReport report;
  std::vector<std::string> misfits;
  for (const auto& tensor : tensors) {
    const std::string name = options.prefix + tensor.name;
    const auto* entry = file.find(name);
    if (!entry)
      report.missing.push_back(name);
    else if (entry->shape != tensor.shape)
      misfits.push_back(text(name, " (expected ", tensor.shape, ", found ", entry->shape, ")"));
    else if (!is_floating(entry->dtype))
      misfits.push_back(text(name, " (expected floating numbers", is_read(entry->dtype) ? "" : " of 16 to 64 bits", ", found ",
          dtype_name(entry->dtype), ")"));
  }
  constexpr std::string_view kCount = "num_batches_tracked";
  for (const auto& entry : file.entries()) {
    if (!entry.name.starts_with(options.prefix)) continue;
    const std::string name = entry.name.substr(options.prefix.size());
    const bool count = name.ends_with(kCount) && has(name.substr(0, name.size() - kCount.size()) + "running_mean");
    if (!has(name) && !count) report.unexpected.push_back(entry.name);
  }

  std::string problems;
  const auto list = [&](const char* what, const std::vector<std::string>& names) {
    constexpr std::size_t kMost = 1000;  // every name of a real model, not a hostile file's millions
    for (std::size_t i = 0; i < std::min(kMost, names.size()); ++i)
      problems += text(i > 0 ? ", " : problems.empty() ? what : text("; ", what), names[i]);
    if (names.size() > kMost) problems += text(" and ", names.size() - kMost, " more");
  };
  if (options.strict) {
    list("missing in the file: ", report.missing);
    std::vector<std::string> quoted;  // they may hold anything
    for (const std::string& name : report.unexpected) quoted.push_back(heed::detail::quoted_name(name));
    list("unexpected in the file: ", quoted);
  }
  list("of another shape or kind: ", misfits);
  require<FileError>(problems.empty(), file.path(), ": the file is of another model: ", problems);

  for (const auto& tensor : tensors)
    if (const auto* entry = file.find(options.prefix + tensor.name)) file.copy(*entry, tensor.data);
  return report;
}

/// The same from the file at `path`.
template <class Model>
LoadReport load(const std::string& path, Model& model, const LoadOptions& options = {}) {
  return load(SafetensorsReader(path), model, options);
}

}  // namespace io

/// A fingerprint of all parameters and buffers of `model`, to tell two trained models apart: 64-bit FNV-1a (Fowler, Noll, Vo) as 16
/// hexadecimal digits, over the tensors in the order of their names, for each its name, a zero byte, its dtype's name, a zero byte, its rank
/// and its sizes (8 bytes each, little-endian), and its elements' bytes as `io::save` stores them.
template <class Model>
std::string weights_hash(const Model& model) {
  using T = typename Model::scalar;
  Fingerprint all;
  for (const auto& tensor : detail::model_tensors(model))
    all.word(tensor.name)
        .word(dtype_name(dtype_of<T>()))
        .shape(tensor.shape)
        .bytes(tensor.data, static_cast<std::size_t>(tensor.shape.size()) * sizeof(T));
  return all.text();
}

}  // namespace heed::inline HEED_ABI
