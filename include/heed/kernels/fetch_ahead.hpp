// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/shape.hpp>
#include <heed/core/simd.hpp>

namespace heed::inline HEED_ABI::kernels {

/// Rows that will be read or written soon. Tiles ask for one line of them in each step, so that their way from L3 lies behind multiply-adds (attention
/// 64x8x64x64, one thread of Granite Rapids: 46 -> 59 % of the peak forward, 52 -> 64 % backward; every other line gains half of it, all lines of a tile at
/// its start nothing, which fills the buffers that B's lines need).
class FetchAhead {
 public:
  /// Lines at equal distances, one a step.
  struct Lines {
    const char* line;
    Index step;

    HEED_INLINE void next() {
      ask_for<64, 2>(line);
      line += step;
    }
  };

  FetchAhead() {}  // NOLINT(modernize-use-equals-default): parts that are not there are not cleared

  template <class T>
  void add(const T* data, Index distance, Index rows, Index cols) {
    constexpr Index size = static_cast<Index>(sizeof(T));
    if (rows <= 0 || cols <= 0) return;
    const char* first = reinterpret_cast<const char*>(data);
    if (distance == cols)
      parts_[count_++] = {first, kLine, (rows * cols * size + kLine - 1) / kLine, kLine};  // one behind the other
    else
      parts_[count_++] = {first, distance * size, rows, cols * size};
  }
  bool empty() const { return part_ == count_; }
  /// The lines for the next steps: of as many rows, in one column of lines. Where nothing is left, one that is read anyway.
  HEED_INLINE Lines take(Index steps, const void* otherwise) {
    if (empty()) return {static_cast<const char*>(otherwise), 0};
    const Part& p = parts_[part_];
    const Lines lines{p.data + row_ * p.distance + offset_, p.distance};
    row_ += steps;
    if (row_ >= p.rows) row_ = 0, offset_ += kLine;
    if (offset_ >= p.width) offset_ = 0, ++part_;
    return lines;
  }

 private:
  static constexpr Index kLine = 64;
  struct Part {
    const char* data;
    Index distance, rows, width;  ///< in bytes, but for the rows
  };
  Part parts_[8];
  int count_ = 0, part_ = 0;
  Index row_ = 0, offset_ = 0;  ///< where in the present part
};

/// Whether a problem of so many numbers lies beyond L2: one inside loses 3 % with requests that find everything there.
template <class T>
bool fetching_pays(Index numbers) {
  return numbers * static_cast<Index>(sizeof(T)) > Index(1) << 21;
}

/// How many numbers ahead of its reads and writes a walk through memory asks; 0 (never) if all `numbers` of the problem lie in L2. Hardware
/// runs ahead of single streams by itself (asking halves their speed); it gives up where tiles of a few pixels and channels touch several rows in turns.
/// Depthwise 3x3 on one thread of Zen 4, 64x32x32x64, ms forward and weights' gradient: without 2.8, 3.1; 16 KB ahead 1.75, 1.89, 64 KB 1.68, 1.88, 256 KB
/// 1.75, 2.0 (256x31x31x24: 4.6, 4.2; 3.3, 4.0; 2.6, 3.1; 2.8, 3.1).
template <class T>
Index fetch_distance(Index numbers) {
  return fetching_pays<T>(numbers) ? (Index(1) << 16) / static_cast<Index>(sizeof(T)) : 0;
}

/// A walk (see RowStride) that asks for a line in each step.
template <class Walk>
struct FetchingWalk {
  static constexpr int steps = Walk::steps;
  Walk walk;
  FetchAhead::Lines lines;

  template <int Ahead>
  HEED_INLINE auto at(int i) const {
    return walk.template at<Ahead>(i);
  }
  HEED_INLINE void next() {
    walk.next();
    lines.next();
    if constexpr (steps == 2) lines.next();
    keep_in_register(lines.line);  // or g++ 12 spills the sums of a 14 x 2 tile
  }
};

}  // namespace heed::inline HEED_ABI::kernels
