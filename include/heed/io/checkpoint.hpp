// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <heed/core/anomaly.hpp>
#include <heed/core/fingerprint.hpp>
#include <heed/io/model_file.hpp>

// Checkpoints: all that a training needs to go on as if it had never stopped. Dropout, order and augmentation are functions of seeds, step and epoch, so
// beside weights, buffers and the optimiser's state there are only a few numbers, which the loop keeps as words (`Metadata`).

namespace heed::inline HEED_ABI::io {

/// The most that a count in a checkpoint (of steps, updates, images) may be, so that whoever goes on counting from a hostile file's cannot overflow: 2^53, up to
/// which a double tells all whole numbers apart, or what half of an Index holds. No training comes near.
inline constexpr Index kMostCounted =
    static_cast<Index>(std::min<std::int64_t>(std::int64_t{1} << 53, std::numeric_limits<Index>::max() / 2));

namespace detail {

/// The layout of checkpoints that is written and read.
inline constexpr std::string_view kCheckpointFormat = "heed-checkpoint", kCheckpointVersion = "1";
/// The word that holds the fingerprint.
inline constexpr std::string_view kCheckpointFingerprint = "checkpoint_fingerprint";

/// A tensor of a training and its name in the file.
struct CheckpointTensor {
  std::string name;
  Dtype dtype;
  Shape shape;
  void* data;
  const char* squares = nullptr;  ///< what is never negative: "a mean of squares"; null: all other numbers
  std::size_t bytes() const { return static_cast<std::size_t>(shape.size()) * static_cast<std::size_t>(dtype_width(dtype)); }
  std::span<const unsigned char> content() const { return {static_cast<const unsigned char*>(data), bytes()}; }
};

/// What of `bytes`, which are the numbers of `tensor` in any alignment, no training goes on from, in words: NaN, infinity, a negative mean of squares or variance, a count out
/// of range. Empty if there is nothing.
template <class T>
std::string fault_in(const CheckpointTensor& tensor, std::span<const unsigned char> bytes) {
  if (tensor.dtype == Dtype::i64) {
    std::int64_t count = 0;
    std::memcpy(&count, bytes.data(), sizeof count);
    if (count < 0) return text(tensor.name, " is ", count, ", expected 0 or more");
    return count <= kMostCounted ? "" : text(tensor.name, " is ", count, ", expected at most ", kMostCounted);
  }
  for (Index i = 0; i < tensor.shape.size(); ++i) {
    T number;
    std::memcpy(&number, bytes.data() + static_cast<std::size_t>(i) * sizeof number, sizeof number);
    if (!std::isfinite(number) || (tensor.squares && number < 0)) [[unlikely]]
      return text(tensor.name, " holds ", number, " at element ", i, " of ", tensor.shape, tensor.squares ? ", " : "",
          tensor.squares ? tensor.squares : "");
  }
  return "";
}

/// A fingerprint of all that a checkpoint says: of its words but the fingerprint's own, and of the names, kinds, shapes and bytes of its tensors, each in the order of
/// their names.
template <class Words, class Tensors, class BytesOf>
std::string checkpoint_fingerprint(const Words& words, const Tensors& tensors, const BytesOf& bytes_of) {
  Fingerprint all;
  for (const auto& [key, value] : words)
    if (key != kCheckpointFingerprint) all.word(key).word(value);
  for (const auto& tensor : tensors) {
    const std::span<const unsigned char> bytes = bytes_of(tensor);
    all.word(tensor.name).word(dtype_name(tensor.dtype)).shape(tensor.shape).bytes(bytes.data(), bytes.size());
  }
  return all.text();
}

/// Everything that a checkpoint holds: "model.<parameter or buffer>", "optimizer.<parameter>.<state>", "optimizer.<parameter>.step" and "average.<parameter or
/// buffer>". `average` may be null. Counts are kept by `counts` as 64-bit numbers, in the order of the walk. Throws std::invalid_argument while the averages are
/// in the model.
template <class Model, class Optimizer, class Average>
std::vector<CheckpointTensor> checkpoint_tensors(
    const Model& model, Optimizer& optimizer, Average* average, std::deque<std::int64_t>& counts) {
  using T = typename Model::scalar;
  require(!average || !average->swapped(),
      "checkpoint: the averages are in the model, and its own weights are not; end the AverageScope first");
  const auto variance = [](std::string_view name) {
    return name == "running_var" || name.ends_with(".running_var") ? "a variance" : nullptr;
  };
  std::vector<CheckpointTensor> result;
  for (const auto& tensor : heed::detail::model_tensors(model))
    result.push_back({"model." + tensor.name, dtype_of<T>(), tensor.shape, tensor.data, variance(tensor.name)});
  for (const auto& state : optimizer.named_state())
    result.push_back({"optimizer." + state.name, dtype_of<T>(), state.tensor->shape(), state.tensor->data(),
        state.name.ends_with("_sq") ? "a mean of squares" : nullptr});
  for (const auto& steps : optimizer.named_step_counts())
    result.push_back({"optimizer." + steps.name, Dtype::i64, Shape(), &counts.emplace_back(*steps.count)});
  if (average)
    for (const auto& mean : average->named_averages())
      result.push_back({"average." + mean.name, dtype_of<T>(), mean.buffer->shape(), mean.buffer->data(), variance(mean.name)});
  return result;
}

/// Lets an optimiser list parameters that are frozen, and takes it back unless they are kept.
template <class Optimizer>
class FrozenListed {
 public:
  FrozenListed(Optimizer& optimizer, const std::vector<std::string>& names)
      : optimizer_(optimizer), before_(optimizer.list_frozen(names)) {}
  ~FrozenListed() {
    if (!kept_) optimizer_.list_frozen(before_);
  }
  FrozenListed(const FrozenListed&) = delete;
  FrozenListed& operator=(const FrozenListed&) = delete;
  void keep() { kept_ = true; }

 private:
  Optimizer& optimizer_;
  std::vector<std::string> before_;
  bool kept_ = false;
};

/// In the place of an average where there is none.
struct NoAverage {
  struct Named {
    std::string name;
    Tensor<float, 1>* buffer;
  };
  std::vector<Named> named_averages() { return {}; }
  bool swapped() const { return false; }
  Index updates() const { return 0; }
  void set_updates(Index) {}
};

}  // namespace detail

/// Writes weights and buffers of `model`, state and step counts of `optimizer` and, if `average` is not null, the averages, with `words` of the caller's about
/// where the training stands, as a safetensors file; all or nothing, flushed to the device before it takes the place of an older one. Numbers are kept
/// to the bit, and a fingerprint of all is among the words. Throws FileError; AnomalyError, before anything is written, if a number is NaN or infinite, so that
/// the last checkpoint is a good one; and std::invalid_argument for a word of the format's own name (format, format_version, optimizer, average_updates,
/// checkpoint_fingerprint).
template <class Model, class Optimizer, class Average = detail::NoAverage>
void save_checkpoint(
    const std::string& path, const Model& model, Optimizer& optimizer, const Metadata& words = {}, Average* average = nullptr) {
  std::deque<std::int64_t> counts;
  auto tensors = detail::checkpoint_tensors(model, optimizer, average, counts);
  for (const auto& tensor : tensors) {
    if (tensor.dtype == Dtype::i64) continue;  // the optimiser's own counts are right
    const std::string fault = detail::fault_in<typename Model::scalar>(tensor, tensor.content());
    require<AnomalyError>(fault.empty(), path, ": nothing is written: ", fault);
  }
  const std::map<std::string, std::string> own{{"format", std::string(detail::kCheckpointFormat)},
      {"format_version", std::string(detail::kCheckpointVersion)}, {"optimizer", std::string(optimizer.kind())},
      {"average_updates", average ? text(average->updates()) : "none"}, {std::string(detail::kCheckpointFingerprint), ""}};
  auto all = own;
  for (const auto& [key, value] : words) {
    require(!own.contains(key), "save_checkpoint: the word \"", key, "\" is one of the format's own");
    all[key] = value;
  }
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  all[std::string(detail::kCheckpointFingerprint)] =
      detail::checkpoint_fingerprint(all, tensors, [](const auto& tensor) { return tensor.content(); });
  SafetensorsWriter writer;
  for (const auto& [key, value] : all) writer.set_metadata(key, value);
  for (const auto& tensor : tensors) writer.add(tensor.name, tensor.dtype, tensor.shape, tensor.data);
  writer.write(path);
}

/// Sets weights, buffers, state, step counts and averages from what `save_checkpoint` wrote for a training that was set up alike. Throws one FileError that
/// lists every tensor that is missing, unexpected or of another shape or kind, or says that the file is not as it was written (by its fingerprint, which older
/// files have not) or that a number in it is NaN, infinite or, as a mean of squares, negative, or as a count beyond what is counted on from; and then
/// changes nothing.
template <class Model, class Optimizer, class Average = detail::NoAverage>
void load_checkpoint(const SafetensorsReader& file, Model& model, Optimizer& optimizer, Average* average = nullptr) {
  const auto word = [&](std::string_view key) {
    const std::string* value = file.metadata(key);
    if (!value) fail<FileError>(file.path(), ": expected \"", key, "\" in the metadata, found nothing; this is no checkpoint");
    return *value;
  };
  const auto expect = [&](std::string_view key, std::string_view expected, std::string_view hint) {
    const std::string found = word(key);
    require<FileError>(
        found == expected, file.path(), ": ", key, ": expected ", expected, ", found ", heed::detail::quoted_name(found), hint);
  };
  expect("format", detail::kCheckpointFormat, "; this is no checkpoint");
  expect("format_version", detail::kCheckpointVersion, "; it was written by another version");
  expect("optimizer", optimizer.kind(), "; the training was set up otherwise");
  const std::string updates = word("average_updates");
  Index seen = 0;
  if (average) {
    const Json number = Json::parse(updates == "none" ? "null" : updates, text(file.path(), ": average_updates"));
    require<FileError>(number.is_integer() && number.as_integer() >= 0 && number.as_integer() <= kMostCounted, file.path(),
        ": average_updates: expected a whole number from 0 to ", kMostCounted, ", found ", heed::detail::quoted_name(updates),
        updates == "none" ? "; the training was set up without an average" : "");
    seen = static_cast<Index>(number.as_integer());
  }

  std::vector<std::string> stepped;  // a parameter that is frozen now may have made steps before
  for (const auto& entry : file.entries()) {
    constexpr std::string_view before = "optimizer.", behind = ".step";
    const std::string_view name = entry.name;
    if (name.size() > before.size() + behind.size() && name.starts_with(before) && name.ends_with(behind))
      stepped.emplace_back(name.substr(before.size(), name.size() - before.size() - behind.size()));
  }
  detail::FrozenListed listed(optimizer, stepped);
  std::deque<std::int64_t> counts;
  const auto expected = detail::checkpoint_tensors(model, optimizer, average, counts);
  std::string problems;
  const auto add = [&](const auto&... words) { problems += (problems.empty() ? "" : "; ") + text(words...); };
  std::vector<std::string_view> names;
  for (const auto& tensor : expected) {
    names.push_back(tensor.name);
    const auto* entry = file.find(tensor.name);
    if (!entry)
      add(tensor.name, " is missing");
    else if (entry->shape != tensor.shape || entry->dtype != tensor.dtype)
      add(tensor.name, " is ", entry->shape, " of ", dtype_name(entry->dtype), ", expected ", tensor.shape, " of ",
          dtype_name(tensor.dtype));
  }
  std::sort(names.begin(), names.end());
  constexpr int kMost = 20;  // not all of a hostile file's
  int strangers = 0;
  for (const auto& entry : file.entries())
    if (!std::binary_search(names.begin(), names.end(), entry.name) && ++strangers <= kMost)
      add(heed::detail::quoted_name(entry.name), " is unexpected");
  if (strangers > kMost) add(strangers - kMost, " more are unexpected");
  require<FileError>(problems.empty(), file.path(), ": the checkpoint is of another training: ", problems);
  if (const std::string* said = file.metadata(detail::kCheckpointFingerprint)) {
    const std::string found =
        detail::checkpoint_fingerprint(file.metadata(), file.entries(), [&](const auto& entry) { return file.bytes(entry); });
    require<FileError>(found == *said, file.path(), ": the checkpoint is damaged: its content has the fingerprint ", found,
        ", and was written with ", heed::detail::quoted_name(*said), "; go on from another copy of it, or from an earlier one");
  }
  for (const auto& tensor : expected) {
    const std::string fault = detail::fault_in<typename Model::scalar>(tensor, file.bytes(*file.find(tensor.name)));
    require<FileError>(fault.empty(), file.path(), ": no training goes on from this checkpoint: ", fault);
  }
  listed.keep();

  for (const auto& tensor : expected)
    if (tensor.bytes() > 0) std::memcpy(tensor.data, file.bytes(*file.find(tensor.name)).data(), tensor.bytes());
  auto steps = counts.begin();
  std::unordered_set<std::string> moved;
  for (const auto& count : optimizer.named_step_counts())
    if ((*count.count = static_cast<Index>(*steps++)) > 0) moved.insert(count.name);
  // Of those that have been stepped there has been a gradient: without one they would stand still until the next.
  for (const auto& own : optimizer.named_parameters())
    if (moved.contains(own.name + ".step") && !own.parameter->frozen()) own.parameter->gradient();
  if (average) average->set_updates(seen);
}
/// The same from the file at `path`; what the caller's words were.
template <class Model, class Optimizer, class Average = detail::NoAverage>
Metadata load_checkpoint(const std::string& path, Model& model, Optimizer& optimizer, Average* average = nullptr) {
  const SafetensorsReader file(path);
  load_checkpoint(file, model, optimizer, average);
  return file.metadata();
}

}  // namespace heed::inline HEED_ABI::io
