// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include <heed/train/attention_map.hpp>

#include "../embed/classifier.hpp"
#include "../program/picture.hpp"

namespace web {

using heed::Index;

/// The classifier of examples/embed, watched: what it answers, and where it looked.
class Seer {
 public:
  /// Looks at the largest centred square of a picture of `height` x `width` pixels (red, green, blue, opacity), shrunk to the size that the net takes.
  void look(const std::uint8_t* rgba, Index height, Index width) {
    input_ = program::centred(program::picture_on_white(rgba, height, width), embed::kSide);
    {
      const Watch watch(attention_);
      label_ = classifier_.classify(input_.data()).label;
    }
    received_ = heed::attention_received<float>(attention_);
  }

  /// What the net saw: kSide x kSide pixels of red, green and blue.
  const std::uint8_t* input() const { return input_.data(); }
  int label() const { return label_; }
  /// Of all classes; they add up to 1.
  std::span<const float, embed::kClasses> confidences() const { return classifier_.confidences(); }
  /// (1, heads, queries, keys): row [0, h, q] is what token q takes from each token in head h.
  const heed::Tensor<float, 4>& attention() const { return attention_; }
  /// (1, keys): the mean over heads and queries.
  const heed::Tensor<float, 2>& received() const { return received_; }

 private:
  /// Keeps the weights of the one layer that attends.
  class Watch final : public heed::AttentionObserver {
   public:
    explicit Watch(heed::Tensor<float, 4>& kept) : kept_(kept) {}
    using AttentionObserver::seen;
    void seen(const heed::TensorView<const float, 4>& weights) override { std::copy_n(weights.data(), kept_.size(), kept_.data()); }

   private:
    heed::Tensor<float, 4>& kept_;
  };

  embed::Classifier classifier_;
  program::Picture input_{embed::kSide, embed::kSide};
  int label_ = 0;
  heed::Tensor<float, 4> attention_{{1, embed::kHeads, embed::kTokens, embed::kTokens}};
  heed::Tensor<float, 2> received_{{1, embed::kTokens}};
};

}  // namespace web
