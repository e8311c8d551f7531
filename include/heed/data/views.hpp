// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>

#include <heed/core/parallel.hpp>
#include <heed/data/augment.hpp>

namespace heed::inline HEED_ABI {

/// One way to look at a test image, and the weight of the logits that it gives.
struct View {
  Placement placement;  ///< where it looks
  double weight;        ///< of the logits; those of all views add up to 1
};

/// The views over which an evaluation averages its logits; the weights add up to 1. 1: the image. 2: the image and its mirror image.
/// 6: both of them at weight 1/4 each, and shifted along the diagonal by one pixel to either side (reflected at the border), at 1/8 each
/// (K. Jordan 2024). Throws std::invalid_argument for another count.
inline std::span<const View> views(int count) {
  static constexpr View kOne[] = {{{}, 1.0}};
  static constexpr View kTwo[] = {{{}, 0.5}, {{.flip = true}, 0.5}};
  static constexpr View kSix[] = {{{}, 0.25}, {{.flip = true}, 0.25}, {{.down = 1, .right = 1}, 0.125},
      {{.down = 1, .right = 1, .flip = true}, 0.125}, {{.down = -1, .right = -1}, 0.125}, {{.down = -1, .right = -1, .flip = true}, 0.125}};
  switch (count) {
    case 1:
      return kOne;
    case 2:
      return kTwo;
    case 6:
      return kSix;
    default:
      fail("views: ", count, " asked for, expected 1, 2 or 6");
  }
}

/// Writes to `out` how `view` sees a batch of normalised images (images, height, width, channels); the view of the plain image copies it.
/// The two must not overlap. Throws ShapeError unless the shapes are equal and the images larger than the shift.
template <class T>
void view_images(const TensorView<const T, 4>& images, const View& view, const TensorView<T, 4>& out) {
  require<ShapeError>(images.shape() == out.shape(), "view_images: images are ", images.shape(), ", the result has shape ", out.shape());
  if (images.empty()) return;
  const Shape shape{images.size(1), images.size(2), images.size(3)};
  const Placement& placement = view.placement;
  const auto fits = [](Index offset, Index size) { return -size < offset && offset < size; };
  require<ShapeError>(fits(placement.down, shape[0]) && fits(placement.right, shape[1]), "view_images: a shift by ", placement.down,
      " and ", placement.right, " does not fit images of ", shape);
  // x * 1 + -0 is x for every x; with + 0 it would not be for x = -0.
  Tensor<T, 2> factors({2, shape[2]});
  T *scale = factors.data(), *shift = scale + shape[2];
  std::fill_n(scale, shape[2], T(1));
  std::fill_n(shift, shape[2], T(-0.0));
  parallel_for(images.size(0), 16, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      place_image(images.data() + i * shape.size(), shape, placement, scale, shift, out.data() + i * shape.size());
  });
}

}  // namespace heed::inline HEED_ABI
