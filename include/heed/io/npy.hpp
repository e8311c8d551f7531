// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include <heed/core/tensor.hpp>
#include <heed/io/atomic_file.hpp>
#include <heed/io/dtype.hpp>
#include <heed/io/json.hpp>

namespace heed::inline HEED_ABI {

namespace detail {

/// NumPy's words for the kinds of numbers; bfloat16 has none.
struct NpyName {
  Dtype dtype;
  std::string_view name;
};
inline constexpr NpyName kNpyNames[] = {{Dtype::f64, "<f8"}, {Dtype::f32, "<f4"}, {Dtype::f16, "<f2"}, {Dtype::i64, "<i8"},
    {Dtype::i32, "<i4"}, {Dtype::i16, "<i2"}, {Dtype::i8, "|i1"}, {Dtype::u64, "<u8"}, {Dtype::u32, "<u4"}, {Dtype::u16, "<u2"},
    {Dtype::u8, "|u1"}, {Dtype::boolean, "|b1"}};

constexpr std::string_view npy_name(Dtype dtype) {
  for (const auto& known : kNpyNames)
    if (known.dtype == dtype) return known.name;
  return {};
}

/// The head of a NumPy file (numpy.org/neps/nep-0001-npy-format.html): "\x93NUMPY", two bytes of version, the length of a text, and the text:
/// a Python dictionary of 'descr', 'fortran_order' and 'shape', in any order. Throws FileError "`path`: at offset O: expected ..., found ...".
class NpyHeader {
 public:
  NpyHeader(std::string_view file, const std::string& path) : file_(file), path_(path) {
    constexpr std::string_view kMagic = "\x93NUMPY";
    expect(file.starts_with(kMagic), 0, "expected a file that starts with \\x93NUMPY; this is no .npy file");
    expect(file.size() >= 8, 6, "expected the version, found the end of the file");
    const int version = static_cast<unsigned char>(file[6]);
    expect(version >= 1 && version <= 3, 6, "expected format 1, 2 or 3, found ", version);
    const std::size_t start = version == 1 ? 10 : 12;
    expect(file.size() >= start, 8, "expected the length of the header, found the end of the file");
    std::size_t length = 0;
    for (std::size_t i = start; i-- > 8;) length = length << 8 | static_cast<unsigned char>(file[i]);
    expect(length <= file.size() - start, 8, "expected ", length, " bytes of header, found ", file.size() - start,
        " in the file; it is cut, or is no .npy file");
    data_ = start + length;
    file_ = file.substr(0, data_);
    at_ = start;
    read_dictionary();
    expect_data(file.size() - data_);
  }

  Dtype dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  /// The first axis is the fastest one.
  bool fortran_order() const { return fortran_order_; }
  /// Where the elements begin.
  std::size_t data() const { return data_; }

 private:
  template <class... Parts>
  void expect(bool condition, std::size_t offset, const Parts&... parts) const {
    if (!condition) [[unlikely]]
      fail<FileError>(path_, ": at offset ", offset, ": ", parts...);
  }
  template <class... Parts>
  [[noreturn]] void error(std::size_t offset, const Parts&... parts) const {
    fail<FileError>(path_, ": at offset ", offset, ": expected ", parts..., ", found ",
        offset < file_.size() ? quoted_name(file_.substr(offset, 20)) : "the end of the header");
  }

  void skip_space() {
    while (at_ < file_.size() && (file_[at_] == ' ' || file_[at_] == '\n' || file_[at_] == '\t' || file_[at_] == '\r')) ++at_;
  }
  /// Passes `word` if it comes next, behind blanks.
  bool take(std::string_view word) {
    skip_space();
    if (!file_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void demand(std::string_view word, const char* what) {
    if (!take(word)) error(at_, what);
  }

  void read_dictionary() {
    bool descr = false, order = false, shape = false;
    demand("{", "'{'");
    while (!take("}")) {
      skip_space();
      const std::size_t start = at_;
      const std::string_view key = read_string("a key in quotation marks, or '}'");
      demand(":", "':'");
      bool& seen = key == "descr" ? descr : key == "fortran_order" ? order : shape;
      expect((key == "descr" || key == "fortran_order" || key == "shape") && !seen, start,
          "expected 'descr', 'fortran_order' and 'shape', each once, found ", quoted_name(key));
      seen = true;
      if (key == "descr")
        read_dtype();
      else if (key == "fortran_order")
        read_order();
      else
        read_shape();
      if (take(",")) continue;
      demand("}", "',' or '}'");
      break;
    }
    expect(
        descr && order && shape, at_, "expected 'descr', 'fortran_order' and 'shape', found the end of the header before all were there");
    skip_space();
    if (at_ != file_.size()) error(at_, "nothing but blanks behind the header's '}'");
  }

  std::string_view read_string(const char* what) {
    const bool single = take("'");
    if (!single) demand("\"", what);
    const char quote = single ? '\'' : '"';
    const std::size_t end = file_.find(quote, at_);
    if (end == std::string_view::npos) error(at_, "a closing quotation mark");
    const std::string_view text = file_.substr(at_, end - at_);
    at_ = end + 1;
    return text;
  }

  void read_dtype() {
    skip_space();
    const std::size_t start = at_;
    const std::string_view name = read_string("the kind of the numbers in quotation marks (arrays of records are not read)");
    for (const auto& known : kNpyNames) {
      if (name.size() != known.name.size() || name.substr(1) != known.name.substr(1)) continue;
      const bool one_byte = known.name[0] == '|';  // which has no order of bytes
      expect(one_byte || name[0] != '>', start, "expected little-endian numbers, found ", quoted_name(name),
          "; numpy.save(path, array.astype('", known.name, "')) turns them");
      if (name[0] == '<' || (one_byte && (name[0] == '|' || name[0] == '>'))) {
        dtype_ = known.dtype;
        return;
      }
    }
    fail<FileError>(path_, ": at offset ", start,
        ": expected numbers of kind <f8, <f4, <f2, <i8, <i4, <i2, |i1, <u8, <u4, <u2, |u1 or |b1, found ", quoted_name(name));
  }

  void read_order() {
    fortran_order_ = take("True");
    if (!fortran_order_) demand("False", "True or False");
  }

  void read_shape() {
    demand("(", "'(' and the sizes of the axes");
    for (bool more = true; !take(")");) {
      if (!more) error(at_, "',' or ')'");
      Index size = 0;
      skip_space();
      const auto [end, cause] = std::from_chars(file_.data() + at_, file_.data() + file_.size(), size);
      if (cause != std::errc() || size < 0) error(at_, "a size from 0 on that fits into 64 bits");
      expect(shape_.rank() < Shape::kMaxRank, at_, "expected at most ", Shape::kMaxRank, " axes, found more");
      expect(shape_.fits(size) && fits_memory(size), at_, "expected an array that fits into memory, found an axis of size ", size,
          " beside ", shape_);
      shape_.push_back(size);
      at_ = static_cast<std::size_t>(end - file_.data());
      take("L");  // Python 2 wrote 3L
      more = take(",");
    }
  }
  /// Whether the array with one more axis can be held as the widest numbers.
  bool fits_memory(Index size) const {
    Shape shape = shape_;
    shape.push_back(size);
    return shape.fits(static_cast<Index>(sizeof(double)));
  }

  void expect_data(std::size_t found) const {
    const std::size_t expected = static_cast<std::size_t>(shape_.size()) * static_cast<std::size_t>(dtype_width(dtype_));
    expect(found >= expected, data_, "expected ", expected, " bytes of ", npy_name(dtype_), " for shape ", shape_, ", found ", found,
        "; the file is cut");
    expect(found == expected, data_ + expected, "expected the end of the file, found ", found - expected,
        " more bytes; one file holds one array");
  }

  std::string_view file_;
  const std::string& path_;
  std::size_t at_ = 0, data_ = 0;
  Dtype dtype_ = Dtype::f32;
  bool fortran_order_ = false;
  Shape shape_;
};

/// The elements of an array whose first axis is the fastest, row by row.
template <class T, int Rank>
Tensor<T, Rank> from_fortran_order(const Tensor<T, Rank>& stored) {
  auto result = Tensor<T, Rank>::uninitialized(stored.shape());
  Index position[Rank] = {};
  for (Index i = 0; i < result.size(); ++i) {
    Index from = 0;
    for (int axis = Rank; axis-- > 0;) from = from * stored.size(axis) + position[axis];
    result[i] = stored[from];
    for (int axis = Rank; axis-- > 0 && ++position[axis] == stored.size(axis);) position[axis] = 0;
  }
  return result;
}

}  // namespace detail

namespace io {

/// Bytes that `load_npy` holds at once for each byte of a file, at most: the file, and a T for each byte, twice where the order is turned, in
/// buffers that may be a quarter larger.
template <class T>
constexpr std::size_t npy_memory_factor() {
  return 1 + 2 * sizeof(T) * 5 / 4 + 1;
}

/// The array of a NumPy file (formats 1.0 to 3.0; float64 to float16, int64 to int8, uint64 to uint8 and bool, little-endian, in C or Fortran
/// order). Floating numbers become the nearest T (infinity beyond its range); whole numbers become T if it can hold them, bool 0 and 1. An array
/// without axes is read as one element of rank 1. Throws FileError for a file that is damaged, holds
/// another rank or kind, or numbers that T cannot be: whatever the bytes are, the result is an array or a sentence.
template <class T, int Rank>
Tensor<T, Rank> load_npy(const std::string& path) {
  const std::string file = read_file(path);
  const heed::detail::NpyHeader header(file, path);
  const Shape shape = Rank == 1 && header.shape().rank() == 0 ? Shape{1} : header.shape();
  require<FileError>(shape.rank() == Rank, path, ": expected an array of ", Rank, " axes, found ", shape.rank(), " (", shape, ")");
  auto result = Tensor<T, Rank>::uninitialized(shape);
  const auto* bytes = reinterpret_cast<const unsigned char*>(file.data()) + header.data();
  const auto count = static_cast<std::size_t>(result.size());
  const std::size_t converted = heed::detail::convert_numbers(header.dtype(), bytes, count, result.data());
  if (converted != count)
    fail<FileError>(path, ": at offset ", header.data() + converted * static_cast<std::size_t>(dtype_width(header.dtype())), ": ",
        heed::detail::unfit_number<T>(header.dtype()));
  return header.fortran_order() ? heed::detail::from_fortran_order(result) : std::move(result);
}

/// Writes `tensor` (double, float, std::int64_t, std::int32_t, std::uint8_t or bool) as a NumPy file of format 1.0, byte for byte as numpy.save
/// does; all or nothing (see AtomicFile). Throws FileError.
template <class T, int Rank>
void save_npy(const std::string& path, const TensorView<const T, Rank>& tensor) {
  require(tensor.shape().rank() == Rank, "save_npy: the tensor was never given a shape");
  std::string header = text("{'descr': '", heed::detail::npy_name(dtype_of<T>()), "', 'fortran_order': False, 'shape': (");
  for (int axis = 0; axis < Rank; ++axis) header += text(axis > 0 ? ", " : "", tensor.size(axis));
  header += Rank == 1 ? ",), }" : "), }";
  constexpr std::size_t kDigits = 21, kPrefix = 10, kAlignment = 64;  // room for the first axis to grow; the data lie aligned
  header.append(kDigits - std::to_string(tensor.size(0)).size(), ' ');
  header.append(kAlignment - (kPrefix + header.size() + 1) % kAlignment, ' ');
  header += '\n';
  const char prefix[kPrefix] = {
      '\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  AtomicFile file(path);
  file.write(prefix, kPrefix);
  file.write(header);
  file.write(tensor.data(), static_cast<std::size_t>(tensor.size()) * sizeof(T));
  file.commit();
}

}  // namespace io
}  // namespace heed::inline HEED_ABI
