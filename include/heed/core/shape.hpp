// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include <heed/core/error.hpp>

namespace heed::inline HEED_ABI {

/// Sizes and positions. Signed, so that differences are what they look like.
using Index = std::ptrdiff_t;

/// The sizes of a tensor's axes, outermost first; at most `kMaxRank`. Lies on the stack. The number of elements fits an Index, also
/// without the axes of size 0: what would count more is refused with a ShapeError.
///
/// Axes have words (legend in docs/notation.md): an image batch is (images, height, width, channels), a token batch is
/// (sequences, tokens, channels), and every layer can read its input as a matrix of rows x features, where `features` is the
/// last axis and `rows` the product of the others.
class Shape {
 public:
  static constexpr int kMaxRank = 8;  ///< attention cases need 5 axes; 8 fills one cache line with the rank left over

  /// No axes.
  Shape() {  // a loop, because g++ clears a tensor's 88 bytes by a string instruction otherwise, at the price of two small buffers
#pragma GCC unroll 8
    for (int i = 0; i < kMaxRank; ++i) sizes_[i] = 0;
  }
  /// Throws ShapeError for more than `kMaxRank` axes, for a negative size, and for more elements than an Index counts.
  Shape(std::initializer_list<Index> sizes) : Shape() {
    require<ShapeError>(sizes.size() <= kMaxRank, "Shape: ", sizes.size(), " axes given, at most ", kMaxRank, " are supported");
    for (Index size : sizes) push_back(size);
  }
  /// `count` sizes read from `sizes`.
  template <class Integer>
  Shape(const Integer* sizes, std::size_t count) : Shape() {
    require<ShapeError>(count <= kMaxRank, "Shape: ", count, " axes given, at most ", kMaxRank, " are supported");
    for (std::size_t i = 0; i < count; ++i) push_back(static_cast<Index>(sizes[i]));
  }

  /// The same as `=` for a shape of that rank. Axis by axis: a vector would wait for the stores of numbers that made the shape.
  template <int Rank>
  void take(const Shape& other) {
#pragma GCC unroll 8
    for (int i = 0; i < Rank; ++i) sizes_[i] = other.sizes_[i];
    rank_ = Rank;
  }

  /// The number of axes.
  int rank() const { return rank_; }
  /// Size of axis `axis`; negative axes count from the end.
  Index operator[](int axis) const { return sizes_[axis < 0 ? axis + rank_ : axis]; }
  /// The same, to write; negative axes count from the end.
  Index& operator[](int axis) { return sizes_[axis < 0 ? axis + rank_ : axis]; }
  /// Adds an innermost axis. Throws ShapeError as the constructor does.
  void push_back(Index size) {
    require<ShapeError>(rank_ < kMaxRank && size >= 0, "Shape: an axis of size ", size, " cannot be added to a shape of rank ", rank_);
    require<ShapeError>(fits(size), "Shape: an axis of size ", size, " on top of ", *this, " makes more elements than can be counted");
    sizes_[rank_++] = size;
  }
  /// Are `times` such tensors at most PTRDIFF_MAX elements? Axes of size 0 count as 1, so that rows() and parts are safe, too.
  bool fits(Index times) const {
    constexpr Index kSmall =
        Index{1} << (sizeof(Index) * 4 - 1);  // two such numbers can be multiplied; a division costs as much as a row of a small layer
    Index product = times > 1 ? times : 1;
    for (Index size : *this) {
      if (size < 0 || ((product | size) >= kSmall && size > PTRDIFF_MAX / product)) return false;
      if (size > 1) product *= size;
    }
    return true;
  }

  /// Number of elements (1 for rank 0).
  Index size() const {
    Index product = 1;
    for (int i = 0; i < rank_; ++i) product *= sizes_[i];
    return product;
  }
  /// Size of the last axis; 1 without axes.
  Index features() const { return rank_ > 0 ? sizes_[rank_ - 1] : 1; }
  /// Product of the sizes of all axes but the last.
  Index rows() const {
    Index product = 1;
    for (int i = 0; i + 1 < rank_; ++i) product *= sizes_[i];
    return product;
  }

  /// Over the sizes, outermost first.
  /// @{
  const Index* begin() const { return sizes_; }
  const Index* end() const { return sizes_ + rank_; }
  /// @}
  /// Equal ranks and equal sizes.
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.sizes_[i] != b.sizes_[i]) return false;
    return true;
  }

  /// "8x32x32x3"; "scalar" for rank 0.
  std::string to_string() const {
    if (rank_ == 0) return "scalar";
    std::string result;
    for (int i = 0; i < rank_; ++i) {
      if (i > 0) result += 'x';
      result += std::to_string(sizes_[i]);
    }
    return result;
  }

 private:
  Index sizes_[kMaxRank];
  int rank_ = 0;
};

/// (images, height, width, channels), in the order in which they lie in memory.
inline Shape image_shape(Index images, Index height, Index width, Index channels) { return {images, height, width, channels}; }

/// (sequences, tokens, channels), in the order in which they lie in memory.
inline Shape token_shape(Index sequences, Index tokens, Index channels) { return {sequences, tokens, channels}; }

}  // namespace heed::inline HEED_ABI
