// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <heed/core/fingerprint.hpp>
#include <heed/data/dataset.hpp>

namespace heed::inline HEED_ABI {

/// A fingerprint of all examples of a data set, to tell two data sets apart: 16 hexadecimal digits, the Fingerprint of the size, the number of classes, the
/// images' shape, the bytes of a pixel, and, for each example in order, its label and the value of the Fingerprint of its pixels' bytes. Each example is
/// fetched once, in parallel; the result does not depend on the number of threads. Throws what the data set throws.
template <Dataset D>
std::string dataset_hash(const D& dataset) {
  using P = DatasetPixel<D>;
  const Index count = dataset.size();
  const Shape shape = dataset.image_shape();
  const auto pixels = static_cast<std::size_t>(shape.size());

  std::vector<std::uint64_t> images(static_cast<std::size_t>(count));
  detail::ErrorKeeper errors;
  parallel_for(count, 64, [&](Index begin, Index end) {
    errors.run(begin, [&] {
      std::vector<P> buffer(pixels);
      for (Index i = begin; i < end; ++i)
        images[static_cast<std::size_t>(i)] = Fingerprint().bytes(image_pixels(dataset, i, buffer.data()), pixels * sizeof(P)).value();
    });
  });
  errors.rethrow();

  Fingerprint all;
  all.number(static_cast<std::uint64_t>(count)).number(static_cast<std::uint64_t>(dataset.classes())).shape(shape).number(sizeof(P));
  for (Index i = 0; i < count; ++i) all.number(static_cast<std::uint64_t>(dataset.label(i))).number(images[static_cast<std::size_t>(i)]);
  return all.text();
}

}  // namespace heed::inline HEED_ABI
