// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <heed/io/safetensors.hpp>

namespace conformance {

using heed::Index;

/// A reference case: tensors `in.X`, `param.P`, `out.Y`, `grad.out.Y`, `grad.in.X`, `grad.param.P` (optimisers: `param0.P`, `grads.P`,
/// `traj.P`, `state.P.KEY`), and attributes and words about it as metadata. Throws heed::FileError for a file that is no case.
class ReferenceCase {
 public:
  explicit ReferenceCase(const std::string& path) : file_(path) {
    operation_ = metadata("op");
    name_ = metadata("case");
    if (const std::string* errors = file_.metadata("torch_float32_max_abs_err")) float_errors_ = heed::Json::parse(*errors, path);
  }

  const heed::SafetensorsReader& file() const { return file_; }
  /// "conv2d"
  const std::string& operation() const { return operation_; }
  /// "conv2d_3x3_same"
  const std::string& name() const { return name_; }

  bool has(std::string_view tensor) const { return file_.contains(tensor); }

  /// Attributes: `fallback` where the file names none.
  std::string word(const std::string& attribute, const std::string& fallback = "") const {
    const std::string* value = find_attribute(attribute);
    return value ? *value : fallback;
  }
  double number(const std::string& attribute, double fallback) const {
    const std::string* value = find_attribute(attribute);
    return value ? read_number(attribute, *value) : fallback;
  }
  Index integer(const std::string& attribute, Index fallback = 0) const {
    return static_cast<Index>(number(attribute, static_cast<double>(fallback)));
  }
  bool flag(const std::string& attribute, bool fallback = false) const { return number(attribute, fallback) != 0; }
  std::vector<Index> integers(const std::string& attribute) const {
    std::vector<Index> result;
    const std::string value = word(attribute);
    for (std::size_t start = 0; start < value.size();) {
      const std::size_t comma = std::min(value.find(',', start), value.size());
      result.push_back(static_cast<Index>(read_number(attribute, value.substr(start, comma - start))));
      start = comma + 1;
    }
    return result;
  }

  /// What PyTorch's own float32 is off by in this tensor; 0 if the file does not say.
  double torch_float_error(std::string_view tensor) const {
    const heed::Json* error = float_errors_.is_object() ? float_errors_.find(tensor) : nullptr;
    return error && error->is_number() ? error->as_number() : 0;
  }

 private:
  const std::string& metadata(const std::string& key) const {
    const std::string* value = file_.metadata(key);
    if (!value) heed::fail<heed::FileError>(file_.path(), ": expected metadata \"", key, "\", found none; this is no reference case");
    return *value;
  }
  const std::string* find_attribute(const std::string& attribute) const { return file_.metadata("attr." + attribute); }
  double read_number(const std::string& attribute, const std::string& value) const {
    const heed::Json number = heed::Json::parse(value, file_.path() + ": attribute " + attribute);
    heed::require<heed::FileError>(number.is_number(), file_.path(), ": attribute ", attribute, ": expected a number, found ", value);
    return number.as_number();
  }

  heed::SafetensorsReader file_;
  std::string operation_, name_;
  heed::Json float_errors_;
};

}  // namespace conformance
