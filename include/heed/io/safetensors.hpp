// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/core/tensor.hpp>
#include <heed/io/atomic_file.hpp>
#include <heed/io/dtype.hpp>
#include <heed/io/json.hpp>

namespace heed::inline HEED_ABI {

/// Words about a file, by key.
using Metadata = std::vector<std::pair<std::string, std::string>>;

/// The most bytes that the header of a safetensors file may have, the format's own rule (github.com/huggingface/safetensors).
inline constexpr std::size_t kMaxSafetensorsHeader = 100'000'000;

/// Reads the safetensors format: 8 bytes (the header's length, little-endian), a JSON header that gives each tensor's dtype, shape and place
/// in the data, and the data. Everything is checked when the file is opened; whatever the bytes are, the result is a file that
/// can be read to the last element, or a FileError "`path`: at offset O: expected ..., found ...; hint". Offsets count from the file's start.
/// Opening holds the file and `Json::kMemoryFactor` bytes for each byte of its header; a tensor, what its numbers take as To.
class SafetensorsReader {
 public:
  static constexpr std::size_t kMemoryFactor = Json::kMemoryFactor + 2;  ///< bytes held at once for each byte of a file, at most

  /// A tensor of the file.
  struct Entry {
    std::string name;    ///< "0.weight"
    Dtype dtype;         ///< what lies in the file
    Shape shape;         ///< in PyTorch's layout
    std::size_t offset;  ///< of the first byte, from the start of the file
    std::size_t bytes;   ///< of all its elements
  };

  /// Reads the file into memory.
  explicit SafetensorsReader(const std::string& path) : SafetensorsReader(read_file(path), path) {}
  /// Takes the bytes of a file; `path` is for messages.
  SafetensorsReader(std::string content, std::string path) : path_(std::move(path)), content_(std::move(content)) { read_header(); }

  /// As it was opened.
  const std::string& path() const { return path_; }
  /// All tensors, sorted by name.
  const std::vector<Entry>& entries() const& { return entries_; }
  HEED_REFUSED("it belongs to the reader, and a temporary reader is gone before it is read: give the reader a name")
  const std::vector<Entry>& entries() const&&;
  /// Null if there is no tensor of that name.
  const Entry* find(std::string_view name) const {
    const auto place =
        std::lower_bound(entries_.begin(), entries_.end(), name, [](const Entry& e, std::string_view n) { return e.name < n; });
    return place != entries_.end() && place->name == name ? &*place : nullptr;
  }
  /// Whether there is a tensor of that name.
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  /// Throws FileError if there is no tensor of that name.
  const Entry& at(std::string_view name) const {
    const Entry* entry = find(name);
    if (!entry) fail<FileError>(path_, ": expected a tensor ", detail::quoted_name(name), ", found ", names());
    return *entry;
  }

  /// All metadata, sorted by key.
  const Metadata& metadata() const& { return metadata_; }
  HEED_REFUSED("it belongs to the reader, and a temporary reader is gone before it is read: give the reader a name")
  const Metadata& metadata() const&&;
  /// Null if there is no such key.
  const std::string* metadata(std::string_view key) const {
    for (const auto& [name, value] : metadata_)
      if (name == key) return &value;
    return nullptr;
  }

  /// The tensor's bytes as they lie in the file; they need not be aligned. Valid as long as the reader.
  std::span<const unsigned char> bytes(const Entry& entry) const {
    return {reinterpret_cast<const unsigned char*>(content_.data()) + entry.offset, entry.bytes};
  }

  /// Writes the tensor's `shape.size()` elements to `out`. Floating numbers (F16 and BF16 exactly) become the nearest To, infinity beyond its
  /// range; whole numbers become To if it can hold them. Throws FileError for a number that To cannot be (a floating one for a whole type, one out of range, a
  /// whole one of more digits than To has), and for kinds of numbers that are not read (`is_read`).
  template <class To>
  void copy(const Entry& entry, To* out) const {
    const std::size_t width = static_cast<std::size_t>(dtype_width(entry.dtype)), count = entry.bytes / width;
    expect(is_read(entry.dtype), entry.offset, "tensor ", detail::quoted_name(entry.name), ": numbers of kind ", dtype_name(entry.dtype),
        " are not read; expected F16 to F64, BF16, I8 to I64, U8 to U64 or BOOL");
    const std::size_t converted = detail::convert_numbers(entry.dtype, bytes(entry).data(), count, out);
    if (converted != count)
      fail<FileError>(path_, ": at offset ", entry.offset + converted * width, ": tensor ", detail::quoted_name(entry.name), ": ",
          detail::unfit_number<To>(entry.dtype));
  }
  /// The tensor `name` as Tensor<To, Rank>. Throws FileError if it is absent, has another rank, or holds numbers that To cannot be.
  template <class To, int Rank>
  Tensor<To, Rank> tensor(std::string_view name) const {
    const Entry& entry = at(name);
    if (entry.shape.rank() != Rank)
      fail<FileError>(
          path_, ": tensor ", detail::quoted_name(name), ": expected ", Rank, " axes, found ", entry.shape.rank(), " (", entry.shape, ")");
    auto result = Tensor<To, Rank>::uninitialized(entry.shape);
    copy(entry, result.data());
    return result;
  }
  /// The elements of the tensor `name`, of any shape.
  template <class To>
  std::vector<To> values(std::string_view name) const {
    static_assert(!std::is_same_v<To, bool>, "heed: a std::vector<bool> has no array of elements; read std::uint8_t");
    const Entry& entry = at(name);
    std::vector<To> result(entry.bytes / static_cast<std::size_t>(dtype_width(entry.dtype)));
    copy(entry, result.data());
    return result;
  }

 private:
  static constexpr std::size_t kLengthBytes = 8;

  template <class... Parts>
  void expect(bool condition, std::size_t offset, const Parts&... parts) const {
    if (!condition) [[unlikely]]
      fail<FileError>(path_, ": at offset ", offset, ": ", parts...);
  }

  void read_header() {
    expect(content_.size() >= kLengthBytes, 0, "expected 8 bytes with the header's length, found ", content_.size(),
        "; the file is empty or cut, or is no safetensors file");
    expect(content_[0] != '{' || content_[kLengthBytes - 1] == '\0', 0,
        "expected 8 bytes with the header's length, found '{': this is JSON; if it ",
        "is the index of a model in several files (model.safetensors.index.json), load the .safetensors files beside it");
    std::uint64_t length = 0;
    std::memcpy(&length, content_.data(), kLengthBytes);
    expect(length <= kMaxSafetensorsHeader, 0, "expected a header of at most ", kMaxSafetensorsHeader, " bytes, found a length of ", length,
        "; this is probably no safetensors file");
    expect(length <= content_.size() - kLengthBytes, 0, "expected ", length, " bytes of header, found ", content_.size() - kLengthBytes,
        " in the file; it is cut, or is no safetensors file");
    const std::string_view header = std::string_view(content_).substr(kLengthBytes, static_cast<std::size_t>(length));
    expect(
        !header.empty() && header[0] == '{', kLengthBytes, "expected a header that starts with '{'; this is probably no safetensors file");
    const Json json = Json::parse(header, path_, kLengthBytes);
    for (const auto& [name, value] : json.as_object()) {
      if (name == "__metadata__")
        read_metadata(value);
      else
        entries_.push_back(read_entry(name, value, kLengthBytes + static_cast<std::size_t>(length)));
    }
    check_places(kLengthBytes + static_cast<std::size_t>(length));
    std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
    std::sort(metadata_.begin(), metadata_.end());
  }

  void read_metadata(const Json& json) {
    if (json.is_null()) return;  // as the format's own library has it
    expect(json.is_object(), kLengthBytes, "__metadata__: expected an object of strings, found ", json.kind());
    for (const auto& [key, value] : json.as_object()) {
      expect(value.is_string(), kLengthBytes, "__metadata__: ", detail::quoted_name(key), ": expected a string, found ", value.kind());
      metadata_.emplace_back(key, value.as_string());
    }
  }

  Entry read_entry(const std::string& name, const Json& json, std::size_t data_start) const {
    const std::string label = text("tensor ", detail::quoted_name(name), ": ");
    expect(json.is_object(), kLengthBytes, label, "expected an object, found ", json.kind());
    for (const auto& [key, value] : json.as_object())
      expect(key == "dtype" || key == "shape" || key == "data_offsets", kLengthBytes, label,
          "expected dtype, shape and data_offsets alone, found ", detail::quoted_name(key));
    const Json *dtype = json.find("dtype"), *shape = json.find("shape"), *place = json.find("data_offsets");
    expect(dtype && shape && place, kLengthBytes, label, "expected dtype, shape and data_offsets, found no ",
        !dtype   ? "dtype"
        : !shape ? "shape"
                 : "data_offsets");
    Entry entry{name, Dtype::f64, Shape(), 0, 0};

    expect(dtype->is_string(), kLengthBytes, label, "dtype: expected a string, found ", dtype->kind());
    const auto known =
        std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const DtypeTraits& t) { return t.name == dtype->as_string(); });
    expect(known != std::end(kDtypes), kLengthBytes, label,
        "dtype: expected a kind of numbers whose width is known (F16 to F64, BF16, I8 to I64, U8 to U64, BOOL, C64, F8_...), found ",
        detail::quoted_name(dtype->as_string()));
    entry.dtype = known->dtype;

    expect(shape->is_array() && shape->as_array().size() <= std::size_t{Shape::kMaxRank}, kLengthBytes, label,
        "shape: expected an array of at most ", Shape::kMaxRank, " sizes, found ",
        shape->is_array() ? text(shape->as_array().size()) : shape->kind());
    for (const Json& size : shape->as_array()) {
      const bool valid = size.is_integer() && size.as_integer() >= 0;
      expect(
          valid, kLengthBytes, label, "shape: expected whole numbers from 0 on, found ", size.is_number() ? size.to_string() : size.kind());
      const std::int64_t count = size.as_integer();
      const bool counts = std::in_range<Index>(count) && entry.shape.fits(static_cast<Index>(count));
      if (counts) entry.shape.push_back(static_cast<Index>(count));
      expect(counts && entry.shape.fits(static_cast<Index>(sizeof(double))), kLengthBytes, label,  // also as the widest numbers
          "shape: expected a tensor that fits into memory, found ", shape->to_string());
    }
    const std::uint64_t bytes = static_cast<std::uint64_t>(entry.shape.size()) * static_cast<std::uint64_t>(known->width);

    const bool pair =
        place->is_array() && place->as_array().size() == 2 && place->as_array()[0].is_integer() && place->as_array()[1].is_integer();
    expect(pair, kLengthBytes, label, "data_offsets: expected [begin, end] in whole numbers, found ",
        place->is_array() ? text("an array of ", place->as_array().size(), " values") : place->kind());
    const std::int64_t begin = place->as_array()[0].as_integer(), end = place->as_array()[1].as_integer();
    const std::size_t available = content_.size() - data_start;
    expect(begin >= 0 && begin <= end && static_cast<std::uint64_t>(end) <= available, data_start, label,
        "data_offsets: expected a part of the ", available, " bytes of data, found [", begin, ", ", end, "]; the file is cut or damaged");
    expect(static_cast<std::uint64_t>(end - begin) == bytes, data_start + static_cast<std::size_t>(begin), label, "expected ", bytes,
        " bytes for shape ", entry.shape, " of ", known->name, ", found ", end - begin, " between its data_offsets");
    entry.offset = data_start + static_cast<std::size_t>(begin);
    entry.bytes = static_cast<std::size_t>(bytes);
    return entry;
  }

  /// The tensors must fill the data from the first byte to the last, without holes and without overlap.
  void check_places(std::size_t data_start) {
    std::sort(entries_.begin(), entries_.end(),
        [](const Entry& a, const Entry& b) { return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes); });
    std::size_t end = data_start;
    for (const Entry& entry : entries_) {
      expect(entry.offset == end, end, "expected the next tensor, found ", detail::quoted_name(entry.name), " at offset ", entry.offset,
          entry.offset > end ? "; bytes between tensors are not allowed" : "; tensors must not overlap");
      end += entry.bytes;
    }
    expect(
        end == content_.size(), end, "expected the end of the file, found ", content_.size() - end, " more bytes that belong to no tensor");
  }

  std::string names() const {
    if (entries_.empty()) return "no tensors";
    constexpr std::size_t kMost = 20;  // a message is read by a person
    std::string result;
    for (std::size_t i = 0; i < std::min(kMost, entries_.size()); ++i)
      result += (i > 0 ? ", " : "") + detail::quoted_name(entries_[i].name);
    return entries_.size() > kMost ? text(result, " and ", entries_.size() - kMost, " more") : result;
  }

  std::string path_, content_;
  std::vector<Entry> entries_;
  Metadata metadata_;
};

/// Writes the safetensors format. The bytes are a function of the content alone and equal those of the format's own library: tensors in the
/// order of their Dtype (wide first, so that each lies aligned) and then of their names, metadata in the order of the keys.
class SafetensorsWriter {
 public:
  /// Adds a tensor; `data` must live until `write` returns. Throws std::invalid_argument for a name that is no UTF-8 or the format's own.
  void add(std::string name, Dtype dtype, const Shape& shape, const void* data) {
    require(name != "__metadata__" && is_utf8(name), "SafetensorsWriter: ", detail::quoted_name(name), " cannot be the name of a tensor");
    tensors_.push_back({std::move(name), dtype, shape, data});
  }
  /// The same for a tensor of a type that has a Dtype.
  template <class T, int Rank>
  void add(std::string name, const TensorView<const T, Rank>& tensor) {
    require(tensor.shape().rank() == Rank, "SafetensorsWriter: the tensor ", detail::quoted_name(name), " was never given a shape");
    add(std::move(name), dtype_of<T>(), tensor.shape(), tensor.data());
  }
  /// Sets a word about the file.
  void set_metadata(const std::string& key, std::string value) {
    require(is_utf8(key) && is_utf8(value), "SafetensorsWriter: metadata ", detail::quoted_name(key), " is no UTF-8");
    for (auto& [known, old] : metadata_)
      if (known == key) {
        old = std::move(value);
        return;
      }
    metadata_.emplace_back(key, std::move(value));
  }

  /// Writes the file, all or nothing (see AtomicFile). Throws std::invalid_argument if two tensors have one name, and FileError.
  void write(const std::string& path) {
    const auto size = [](const Item& item) {
      return static_cast<std::size_t>(item.shape.size()) * static_cast<std::size_t>(dtype_width(item.dtype));
    };
    const std::string header = prepare(size);
    require<FileError>(header.size() <= kMaxSafetensorsHeader, path, ": expected a header of at most ", kMaxSafetensorsHeader,
        " bytes, found ", header.size(), "; the format allows no more names and metadata");
    AtomicFile file(path);
    const std::uint64_t length = header.size();
    file.write(&length, sizeof length);
    file.write(header);
    for (const Item& item : tensors_) file.write(item.data, size(item));
    file.commit();
  }

 private:
  struct Item {
    std::string name;
    Dtype dtype;
    Shape shape;
    const void* data;
  };

  /// Puts the tensors in order and returns the header, padded with spaces to a multiple of 8 bytes so that the data lies aligned.
  template <class Size>
  std::string prepare(const Size& size) {
    std::sort(tensors_.begin(), tensors_.end(),
        [](const Item& a, const Item& b) { return a.dtype != b.dtype ? a.dtype < b.dtype : a.name < b.name; });
    std::sort(metadata_.begin(), metadata_.end());
    Json::Object header;
    if (!metadata_.empty()) {
      Json::Object words;
      for (const auto& [key, value] : metadata_) words.emplace_back(key, value);
      header.emplace_back("__metadata__", std::move(words));
    }
    std::vector<std::string_view> names;
    std::size_t begin = 0;
    for (const Item& item : tensors_) {
      Json::Array shape;
      for (Index axis : item.shape) shape.push_back(axis);
      Json entry;
      entry.set("dtype", dtype_name(item.dtype)).set("shape", std::move(shape)).set("data_offsets", Json::Array{begin, begin + size(item)});
      header.emplace_back(item.name, std::move(entry));
      names.push_back(item.name);
      begin += size(item);
    }
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    require(twice == names.end(), "SafetensorsWriter: two tensors are named ", twice == names.end() ? "" : detail::quoted_name(*twice));
    std::string result = Json(std::move(header)).to_string();
    result.append((8 - result.size() % 8) % 8, ' ');
    return result;
  }

  std::vector<Item> tensors_;
  Metadata metadata_;
};

}  // namespace heed::inline HEED_ABI
