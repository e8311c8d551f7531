// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <type_traits>

#include <heed/core/random.hpp>
#include <heed/data/shuffle.hpp>

namespace heed::inline HEED_ABI {

/// How images are mirrored (left and right change places).
enum class Flip {
  none,
  random,       ///< each image in each epoch with probability 1/2
  alternating,  ///< each image at random in epoch 0, then the other way round every epoch: two epochs show both sides of every image
};

/// What training changes about its images. Every choice is a pure function of (seed, epoch, image), whatever the batch and the thread.
struct Augmentation {
  Index translate = 0;     ///< shift by up to this many pixels up, down, left and right; what comes in at the border is reflected
  Flip flip = Flip::none;  ///< mirroring, done before the shift
  Index cutout = 0;        ///< side of a square of zeros, somewhere inside the image: the mean colour under a normalisation, else black
};

/// One choice made: pixel (y, x) of the result is pixel (y + down, x + right) of the image (mirrored if `flip`), continued beyond its
/// border by reflection that does not repeat the edge (... 2 1 | 0 1 2 ...); the square of side `cut` at (cut_top, cut_left) is 0.
struct Placement {
  Index down = 0, right = 0;                 ///< pixels
  bool flip = false;                         ///< mirrored left to right
  Index cut = 0, cut_top = 0, cut_left = 0;  ///< pixels; a `cut` of 0 deletes nothing
};

/// Throws std::invalid_argument if the augmentation does not fit images of `shape` {height, width, channels}: reflection reaches at most to
/// the opposite edge, and a cut lies inside.
inline void check_augmentation(const Augmentation& augmentation, const Shape& shape) {
  const Index smallest = shape[0] < shape[1] ? shape[0] : shape[1];
  require(augmentation.translate >= 0 && augmentation.translate < smallest, "Augmentation: translate is ", augmentation.translate,
      ", expected 0 to ", smallest - 1, " for images of ", shape);
  require(augmentation.cutout >= 0 && augmentation.cutout <= smallest, "Augmentation: cutout is ", augmentation.cutout, ", expected 0 to ",
      smallest, " for images of ", shape);
}

/// The choice for one image of shape {height, width, channels} in one epoch.
/// Alternating flip after K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024); the cut of DeVries and Taylor (2017), but
/// wholly inside the image, so that its area is the same for all.
inline Placement place(const Augmentation& augmentation, const Shape& shape, std::uint64_t seed, Index epoch, Index image) {
  const auto key = [](auto part) { return static_cast<std::uint64_t>(part); };
  const CounterRandom random{key(DataStream::placement), seed, key(epoch), key(image)};
  const auto below = [&](std::uint64_t counter, Index count) { return static_cast<Index>(random.below(counter, key(count))); };
  Placement result;
  if (augmentation.translate > 0) {
    result.down = below(0, 2 * augmentation.translate + 1) - augmentation.translate;
    result.right = below(1, 2 * augmentation.translate + 1) - augmentation.translate;
  }
  if (augmentation.flip == Flip::random) result.flip = below(2, 2) == 1;
  if (augmentation.flip == Flip::alternating) {
    const CounterRandom first{key(DataStream::first_flip), seed, key(image)};
    result.flip = (first.below(0, 2) + key(epoch)) % 2 == 1;
  }
  if (augmentation.cutout > 0) {
    result.cut = augmentation.cutout;
    result.cut_top = below(3, shape[0] - augmentation.cutout + 1);
    result.cut_left = below(4, shape[1] - augmentation.cutout + 1);
  }
  return result;
}

/// Position `x`, at most `size - 1` outside of 0 ... size - 1, reflected into it without repeating the edge.
constexpr Index reflect(Index x, Index size) { return x < 0 ? -x : x >= size ? 2 * (size - 1) - x : x; }

namespace detail {
/// Rows of one image. `Channels` is the number of channels if it is known, else 0: with three the inner loop is unrolled.
template <Index Channels, class P, class T, class Factor>
void place_rows(const P* image, const Shape& shape, const Placement& placement, const Factor* scale, const Factor* shift, T* out) {
  constexpr Index kColumns = 64;  // columns whose source is looked up at a time; one round for the widths of small images
  const Index height = shape[0], width = shape[1], channels = Channels > 0 ? Channels : shape[2];
  Factor known_scale[Channels > 0 ? Channels : 1], known_shift[Channels > 0 ? Channels : 1];
  if constexpr (Channels > 0) {  // copies that the compiler can keep in registers: writing to `out` cannot change them
    for (Index c = 0; c < Channels; ++c) known_scale[c] = scale[c], known_shift[c] = shift[c];
    scale = known_scale;
    shift = known_shift;
  }
  Index source[kColumns];
  for (Index left = 0; left < width; left += kColumns) {
    const Index columns = width - left < kColumns ? width - left : kColumns;
    for (Index i = 0; i < columns; ++i) {
      const Index x = reflect(left + i + placement.right, width);
      source[i] = (placement.flip ? width - 1 - x : x) * channels;
    }
    for (Index y = 0; y < height; ++y) {
      const P* row = image + reflect(y + placement.down, height) * width * channels;
      T* pixel = out + (y * width + left) * channels;
      for (Index i = 0; i < columns; ++i, pixel += channels)
        for (Index c = 0; c < channels; ++c) pixel[c] = static_cast<T>(static_cast<Factor>(row[source[i] + c]) * scale[c] + shift[c]);
    }
  }
  for (Index y = placement.cut_top; y < placement.cut_top + placement.cut; ++y) {
    T* first = out + (y * width + placement.cut_left) * channels;
    for (Index i = 0; i < placement.cut * channels; ++i) first[i] = T(0);
  }
}
}  // namespace detail

/// Writes one image of shape {height, width, channels} to `out`, shifted, mirrored and cut as `placement` says, each value times
/// scale[channel] plus shift[channel]. Shifts are smaller than the image. P is the pixel type of the image, T that of the result; the wider one
/// of them is computed in.
template <class P, class T>
void place_image(const P* image, const Shape& shape, const Placement& placement, const std::common_type_t<P, T>* scale,
    const std::common_type_t<P, T>* shift, T* out) {
  switch (shape[2]) {
    case 1:
      return detail::place_rows<1>(image, shape, placement, scale, shift, out);
    case 3:
      return detail::place_rows<3>(image, shape, placement, scale, shift, out);
    default:
      return detail::place_rows<0>(image, shape, placement, scale, shift, out);
  }
}

}  // namespace heed::inline HEED_ABI
