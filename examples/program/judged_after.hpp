// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string_view>

#include <heed/train/evaluate.hpp>

namespace program {

/// What `judge()` makes of `images` ("the held-out pictures") after an epoch. Throws AnomalyError, with the epoch and a cure, for a model that gives them no numbers.
template <class Judge>
heed::Evaluation judged_after(heed::Index epoch, std::string_view images, const Judge& judge) {
  try {
    const heed::Evaluation result = judge();
    heed::require<heed::AnomalyError>(std::isfinite(result.loss), "the loss is ", result.loss);
    return result;
  } catch (const heed::AnomalyError& error) {
    heed::fail<heed::AnomalyError>(images, " cannot be judged after epoch ", epoch, ", a smaller --learning-rate may help: ", error.what());
  }
}

}  // namespace program
