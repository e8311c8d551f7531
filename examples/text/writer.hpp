// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/train/metrics.hpp>

#include "language_model.hpp"

namespace text {

/// Continues a text, character by character. With the cache of keys and values each character runs through the net once; without, the whole
/// window runs again for every character, which gives the same text. When the window is full, its older half is forgotten.
class Writer {
 public:
  /// Looks at the model, which must outlive it.
  Writer(const LanguageModel& model, std::vector<std::int64_t> prompt, double temperature, std::uint64_t seed, bool cached)
      : model_(model), random_({seed, 0x77726974}), temperature_(temperature), cached_(cached), window_(std::move(prompt)) {
    const auto context = static_cast<std::size_t>(model.options.context);
    if (window_.size() > context) window_.erase(window_.begin(), window_.end() - static_cast<std::ptrdiff_t>(context));
  }

  /// The next character's number.
  std::int64_t next() {
    const Index context = model_.options.context;
    if (static_cast<Index>(window_.size()) > context) {
      window_.erase(window_.begin(), window_.end() - (context + 1) / 2);
      seen_ = 0;
    }
    const std::int64_t character = choose(cached_ ? continued() : whole());
    window_.push_back(character);
    return character;
  }

 private:
  using Logits = heed::Tensor<float, 3>;

  heed::TensorView<const std::int64_t, 2> from(std::size_t first) const {
    return {window_.data() + first, {1, static_cast<Index>(window_.size() - first)}};
  }
  Logits whole() const { return model_.net.forward(from(0)); }
  Logits continued() {
    if (seen_ == 0) state_ = model_.net.decode_state(1, model_.options.context);
    Logits logits = model_.net.decode(from(seen_), state_);
    seen_ = window_.size();
    return logits;
  }

  /// The likeliest character at temperature 0, else one drawn from softmax(logits / temperature).
  std::int64_t choose(const Logits& logits) {
    const Index characters = logits.features();
    const float* last = logits.data() + logits.size() - characters;
    const Index likeliest = heed::argmax(last, characters);
    if (temperature_ == 0) return likeliest;
    const auto weight = [&](Index c) {
      return std::exp((static_cast<double>(last[c]) - static_cast<double>(last[likeliest])) / temperature_);
    };
    double sum = 0;
    for (Index c = 0; c < characters; ++c) sum += weight(c);
    double rest = random_.uniform(drawn_++) * sum;
    for (Index c = 0; c < characters; ++c)
      if ((rest -= weight(c)) < 0) return c;
    return likeliest;  // rounding left a rest behind the last character
  }

  const LanguageModel& model_;
  heed::CounterRandom random_;
  double temperature_;
  bool cached_;
  std::vector<std::int64_t> window_;  ///< what the next prediction looks at
  std::size_t seen_ = 0;              ///< characters of the window that the state holds
  Net<float>::DecodeState state_;
  std::uint64_t drawn_ = 0;
};

}  // namespace text
