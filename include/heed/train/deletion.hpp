// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/data/shuffle.hpp>
#include <heed/train/attention_map.hpp>
#include <heed/train/metrics.hpp>

namespace heed::inline HEED_ABI {

/// How often a classifier is right when the pixels behind some tokens are blanked: those of the tokens that counted most, as many random ones, and those
/// that counted least. If the relevance says what the model looks at, accuracy falls most in the first case and least in the last.
struct DeletionCheck {
  Index deleted = 0;                                  ///< tokens an image
  double clean = 0, top = 0, random = 0, bottom = 0;  ///< accuracies, 0 ... 1
};

struct DeletionOptions {
  double share = 0.2;      ///< of the tokens; at least one is deleted
  std::uint64_t seed = 0;  ///< of the tokens that are deleted at random, for comparison
  Index batch_size = 250;  ///< images a forward pass
};

namespace detail {
/// Pixels [begin, end) of an axis of `size` pixels that belong to token `i`.
struct PixelRange {
  Index begin, end;
};
inline PixelRange token_pixels(const TokenGrid& grid, Index i, Index size) {
  const double centre = grid.first + static_cast<double>(i) * grid.step;
  const auto edge = [&](double place) {
    return std::clamp(static_cast<Index>(std::lround(place * static_cast<double>(size))), Index{0}, size);
  };
  return {edge(centre - grid.step / 2), edge(centre + grid.step / 2)};
}
}  // namespace detail

/// Judges `model` by normalised images (images, height, width, channels) with labels, whole and with a share of their tokens blanked to 0, the mean colour.
/// `relevance` is (images, rows of tokens, columns of tokens), see attention_relevance; the grids say where these tokens lie on the image. Of equal tokens the first counts
/// as the more relevant one. Throws ShapeError or std::invalid_argument.
template <class Model, class T>
DeletionCheck deletion_check(const Model& model, const TensorView<const T, 4>& images, std::span<const int> labels,
    const TensorView<const T, 3>& relevance, const TokenGrid& rows, const TokenGrid& columns, const DeletionOptions& options = {}) {
  const Index count = images.size(0), height = images.size(1), width = images.size(2), across = relevance.size(2);
  const Index tokens = relevance.size(1) * across;
  require<ShapeError>(relevance.size(0) == count && static_cast<Index>(labels.size()) == count, "deletion_check: images are ",
      images.shape(), ", the relevance is ", relevance.shape(), ", labels are ", labels.size(), "; expected as many of each");
  require(count > 0 && tokens > 0, "deletion_check: images are ", images.shape(), " and the relevance ", relevance.shape());
  require(options.share > 0 && options.share <= 1, "deletion_check: share is ", options.share, ", expected above 0, at most 1");
  require(options.batch_size > 0, "deletion_check: batch_size is ", options.batch_size);
  DeletionCheck result{.deleted = std::max(Index{1}, static_cast<Index>(options.share * static_cast<double>(tokens)))};

  Index correct[4] = {};
  Tensor<T, 4> seen;
  std::vector<Index> order(static_cast<std::size_t>(tokens));
  for (Index first = 0; first < count; first += options.batch_size) {
    const Index last = std::min(first + options.batch_size, count);
    const auto batch = images.slice(first, last);
    for (int which = 0; which < 4; ++which) {
      seen.resize(batch.shape());
      std::copy_n(batch.data(), batch.size(), seen.data());
      for (Index i = first; i < last && which > 0; ++i) {
        const T* score = &relevance(i, 0, 0);
        std::iota(order.begin(), order.end(), Index{0});
        const auto less = [&](Index a, Index b) { return score[b] < score[a]; };
        if (which == 2)
          shuffle_order(order, options.seed, i);
        else
          std::stable_sort(order.begin(), order.end(), less);
        if (which == 3) std::reverse(order.begin(), order.end());
        for (Index k = 0; k < result.deleted; ++k) {
          const Index token = order[static_cast<std::size_t>(k)];
          const detail::PixelRange down = detail::token_pixels(rows, token / across, height);
          const detail::PixelRange along = detail::token_pixels(columns, token % across, width);
          for (Index y = down.begin; y < down.end; ++y)
            std::fill(&seen(i - first, y, along.begin, 0), &seen(i - first, y, along.begin, 0) + (along.end - along.begin) * images.size(3),
                T(0));
        }
      }
      correct[which] +=
          count_correct<T>(model.forward(seen), labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first)));
    }
  }
  const auto share = [&](Index right) { return static_cast<double>(right) / static_cast<double>(count); };
  result.clean = share(correct[0]), result.top = share(correct[1]), result.random = share(correct[2]), result.bottom = share(correct[3]);
  return result;
}

}  // namespace heed::inline HEED_ABI
