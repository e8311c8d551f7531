// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include <heed/compose/predictor.hpp>

#include "net.hpp"

namespace embed {

/// The net with the weights that were compiled in. All memory is taken by the constructor; `classify` takes none, throws nothing and opens nothing.
class Classifier {
 public:
  struct Answer {
    int label = 0;
    float confidence = 0;  ///< softmax of the logits, 0 ... 1
  };

  Classifier() : net_(with_weights(make_net())), predictor_(net_, {1, kSide, kSide, kChannels}, 1) {
    predictor_.freeze();  // the weights stay as they are: no prediction looks whether they changed
  }

  /// `pixels`: 32 x 32 x 3 bytes, row by row, red, green, blue.
  Answer classify(const unsigned char* pixels) noexcept {
    for (heed::Index i = 0; i < kPixels; ++i) image_[i] = static_cast<float>((pixels[i] / 255.0 - kMean) / kDeviation);
    if (!predictor_.predict(image_, logits_.view())) return {};  // only for other shapes
    const auto best = std::max_element(logits_.data(), logits_.data() + kClasses) - logits_.data();
    float sum = 0;
    for (heed::Index c = 0; c < kClasses; ++c) sum += confidences_[c] = std::exp(logits_[c] - logits_[best]);
    if (!(sum >= 1)) return {};  // logits that are no numbers: the best adds 1
    for (heed::Index c = 0; c < kClasses; ++c) confidences_[c] /= sum;
    return {static_cast<int>(best), confidences_[best]};
  }
  /// The last answer's softmax of the logits, of all classes.
  std::span<const float, kClasses> confidences() const { return confidences_; }

 private:
  using Net = decltype(make_net());

  /// In the order of `named_parameters`, as train.cpp writes them.
  static Net with_weights(Net net) {
    static constexpr float weights[] = {
#include "weights.inc"
    };
    const float* next = weights;
    for (const auto& [name, parameter] : heed::named_parameters(net)) {
      std::copy_n(next, parameter->size(), parameter->value());
      next += parameter->size();
    }
    return net;
  }

  const Net net_;
  heed::Predictor<Net> predictor_;
  heed::Tensor<float, 4> image_{{1, kSide, kSide, kChannels}};
  heed::Tensor<float, 2> logits_{{1, kClasses}};
  float confidences_[kClasses] = {};
};

}  // namespace embed
