// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <heed/io/safetensors.hpp>

namespace conformance {

using heed::Index;

/// A reference case: tensors, and attributes and words about it as metadata. There are two kinds. PyTorch's have the tensors `in.X`,
/// `param.P`, `out.Y`, `grad.out.Y`, `grad.in.X`, `grad.param.P` (optimisers: `param0.P`, `grads.P`, `traj.P`, `state.P.KEY`). ONNX's
/// node tests name their tensors as they like; the metadata lists which of them is the operator's input or output number i.
/// Throws heed::FileError for a file that is no case.
class ReferenceCase {
 public:
  explicit ReferenceCase(const std::string& path) : file_(path) {
    operation_ = metadata("op");
    name_ = metadata("case");
    if (const std::string* errors = file_.metadata("torch_float32_max_abs_err")) float_errors_ = heed::Json::parse(*errors, path);
    const std::string* kind = file_.metadata("kind");
    onnx_ = kind && *kind == "onnx-node";
    if (!onnx_) return;
    inputs_ = split(metadata("inputs"));
    outputs_ = split(metadata("outputs"));
    opset_ = static_cast<int>(read_number("opset", metadata("opset")));
    relative_tolerance_ = read_number("rtol", metadata("rtol")), absolute_tolerance_ = read_number("atol", metadata("atol"));
  }

  const heed::SafetensorsReader& file() const { return file_; }
  /// "conv2d"
  const std::string& operation() const { return operation_; }
  /// "conv2d_3x3_same"
  const std::string& name() const { return name_; }

  bool has(std::string_view tensor) const { return file_.contains(tensor); }

  /// A node test of ONNX, whose outputs hold `absolute_tolerance() + relative_tolerance() |y|` and are in float.
  bool onnx() const { return onnx_; }
  int opset() const { return opset_; }
  double relative_tolerance() const { return relative_tolerance_; }
  double absolute_tolerance() const { return absolute_tolerance_; }
  /// How many positions of inputs and outputs the node fills; those between may be empty.
  std::size_t inputs() const { return inputs_.size(); }
  std::size_t outputs() const { return outputs_.size(); }
  /// The name of the tensor in that position, empty for one that is left out.
  std::string input(std::size_t position) const { return position < inputs_.size() ? inputs_[position] : std::string(); }
  std::string output(std::size_t position) const { return position < outputs_.size() ? outputs_[position] : std::string(); }
  bool has_input(std::size_t position) const { return !input(position).empty(); }
  bool has_output(std::size_t position) const { return !output(position).empty(); }
  bool has_attribute(const std::string& attribute) const { return find_attribute(attribute) != nullptr; }

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
    for (const std::string& value : split(word(attribute))) result.push_back(static_cast<Index>(read_number(attribute, value)));
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
  /// The parts between commas; none of an empty text.
  static std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    for (std::size_t start = 0; !text.empty() && start <= text.size();) {
      const std::size_t comma = std::min(text.find(',', start), text.size());
      parts.push_back(text.substr(start, comma - start));
      start = comma + 1;
    }
    return parts;
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
  bool onnx_ = false;
  std::vector<std::string> inputs_, outputs_;
  int opset_ = 0;
  double relative_tolerance_ = 0, absolute_tolerance_ = 0;
};

}  // namespace conformance
