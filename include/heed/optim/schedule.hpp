// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>

#include <heed/core/error.hpp>
#include <heed/core/shape.hpp>

namespace heed::inline HEED_ABI {

/// A schedule is a pure function from the number of the step (0, 1, ...) to a factor of every learning rate: `optimizer.step(schedule(step))`.
/// It has no state, so a resumed run needs only the number of the step. Any callable of this kind will do. Steps beyond the last keep
/// the last factor. Schedules with options out of range throw std::invalid_argument when they are called.
template <class S>
concept Schedule = requires(const S& schedule, Index step) {
  { schedule(step) } -> std::convertible_to<double>;
};

/// The path from one factor to another.
enum class Decay { linear, cosine };

namespace detail {
/// From `a` (share 0) to `b` (share 1) on a straight line or on half a cosine wave.
inline double between(double a, double b, double share, Decay decay) {
  share = std::clamp(share, 0.0, 1.0);
  if (decay == Decay::cosine) share = (1 - std::cos(3.14159265358979323846 * share)) / 2;
  return a + (b - a) * share;
}
}  // namespace detail

/// 1 at every step.
struct ConstantSchedule {
  /// The factor at step `step`.
  double operator()(Index) const { return 1; }
};

/// Linear warm-up through (0, `start_factor`) and (`warmup_steps`, 1), then down to (`steps`, `end_factor`).
struct WarmupSchedule {
  Index steps = 0;              ///< of the whole run; must be given
  Index warmup_steps = 0;       ///< [0, steps]
  double start_factor = 0.05;   ///< a first step with 0 would be lost
  double end_factor = 0;        ///< at step `steps`, one behind the last, and beyond
  Decay decay = Decay::linear;  ///< the way down

  /// The factor at step `step`, 0, 1, ... Throws std::invalid_argument for values outside of the ranges above.
  double operator()(Index step) const {
    require(steps > 0 && warmup_steps >= 0 && warmup_steps <= steps, "WarmupSchedule: steps (", steps,
        ") must be positive, and warmup_steps (", warmup_steps, ") lie in [0, steps]");
    require(start_factor >= 0 && end_factor >= 0, "WarmupSchedule: start_factor (", start_factor, ") and end_factor (", end_factor,
        ") must not be negative");
    if (step < warmup_steps)
      return detail::between(start_factor, 1, static_cast<double>(step) / static_cast<double>(warmup_steps), Decay::linear);
    if (step >= steps) return end_factor;  // also where the warm-up was the whole run
    const double left = static_cast<double>(steps - warmup_steps);
    return detail::between(1, end_factor, static_cast<double>(step - warmup_steps) / left, decay);
  }
};

/// Multiplied by `gamma` after every `step_size` steps (torch's StepLR).
struct StepSchedule {
  Index step_size = 1;  ///< positive
  double gamma = 0.1;   ///< not negative

  /// The factor at step `step`, 0, 1, ... Throws std::invalid_argument for values outside of the ranges above.
  double operator()(Index step) const {
    require(
        step_size > 0 && gamma >= 0, "StepSchedule: step_size (", step_size, ") must be positive, and gamma (", gamma, ") not negative");
    return std::pow(gamma, static_cast<double>(step / step_size));
  }
};

/// One cycle (Smith and Topin 2018): from 1 / `div_factor` up to 1 during `pct_start` of the steps, then down to
/// 1 / (`div_factor` `final_div_factor`) at the last one, as torch's OneCycleLR with two phases. The momentum does not cycle.
struct OneCycleSchedule {
  Index steps = 0;                ///< of the whole run; must be given
  double pct_start = 0.3;         ///< share of the steps, [0, 1]
  double div_factor = 25;         ///< positive
  double final_div_factor = 1e4;  ///< positive
  Decay decay = Decay::cosine;    ///< both ways

  /// The factor at step `step`, 0, 1, ... Throws std::invalid_argument for values outside of the ranges above.
  double operator()(Index step) const {
    require(steps > 0 && pct_start >= 0 && pct_start <= 1, "OneCycleSchedule: steps (", steps, ") must be positive, and pct_start (",
        pct_start, ") lie in [0, 1]");
    require(div_factor > 0 && final_div_factor > 0, "OneCycleSchedule: div_factor (", div_factor, ") and final_div_factor (",
        final_div_factor, ") must be positive");
    const double start = 1 / div_factor, s = static_cast<double>(step), last = static_cast<double>(steps - 1);
    const double peak = pct_start * static_cast<double>(steps) - 1;
    if (s < peak) return detail::between(start, 1, s / peak, decay);
    return detail::between(1, start / final_div_factor, last > peak ? (s - peak) / (last - peak) : 0.0, decay);
  }
};

static_assert(Schedule<ConstantSchedule> && Schedule<WarmupSchedule> && Schedule<StepSchedule> && Schedule<OneCycleSchedule>);

}  // namespace heed::inline HEED_ABI
