// SPDX-License-Identifier: MIT
#include <cmath>
#include <vector>

#include <heed/optim/schedule.hpp>

#include "catch.hpp"

using namespace heed;

TEST_CASE("the constant schedule") {
  CHECK(ConstantSchedule{}(0) == 1);
  CHECK(ConstantSchedule{}(1000000) == 1);
}

TEST_CASE("warm-up and linear decay go through the three named points") {
  const WarmupSchedule s{.steps = 100, .warmup_steps = 20, .start_factor = 0.05, .end_factor = 0.02};
  CHECK(s(0) == Approx(0.05).margin(1e-15));
  CHECK(s(10) == Approx(0.525));
  CHECK(s(20) == 1);
  CHECK(s(60) == Approx(0.51));
  CHECK(s(99) == Approx(0.02 + 0.98 / 80));
  CHECK(s(100) == Approx(0.02));
  CHECK(s(5000) == Approx(0.02));
  for (Index step = 0; step < 20; ++step) CHECK(s(step) < s(step + 1));
  for (Index step = 20; step < 100; ++step) CHECK(s(step) > s(step + 1));
}

TEST_CASE("warm-up and cosine decay") {
  const WarmupSchedule s{.steps = 30, .warmup_steps = 10, .start_factor = 0, .end_factor = 0.1, .decay = Decay::cosine};
  CHECK(s(0) == 0);
  CHECK(s(5) == Approx(0.5));
  CHECK(s(10) == 1);
  CHECK(s(15) == Approx(0.1 + 0.9 * (1 + std::cos(3.141592653589793 / 4)) / 2));
  CHECK(s(20) == Approx(0.55));
  CHECK(s(30) == Approx(0.1));
  CHECK(s(31) == Approx(0.1));
}

TEST_CASE("warm-up schedules without warm-up, without decay, and of one step") {
  CHECK(WarmupSchedule{.steps = 10}(0) == 1);
  CHECK(WarmupSchedule{.steps = 10}(5) == Approx(0.5));
  const WarmupSchedule only_warmup{.steps = 4, .warmup_steps = 4, .start_factor = 0.2};
  CHECK(only_warmup(0) == Approx(0.2));
  CHECK(only_warmup(2) == Approx(0.6));
  CHECK(only_warmup(3) == Approx(0.8));
  CHECK(only_warmup(4) == 0);
  CHECK(only_warmup(5) == 0);
  CHECK(WarmupSchedule{.steps = 1}(0) == 1);
}

TEST_CASE("the step schedule is torch's StepLR") {
  const StepSchedule s{.step_size = 3, .gamma = 0.5};
  const double expected[] = {1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25};
  for (Index step = 0; step < 8; ++step) CHECK(s(step) == expected[step]);
}

// The numbers were printed by torch.optim.lr_scheduler.OneCycleLR with max_lr = 1.
TEST_CASE("the one-cycle schedule is torch's OneCycleLR") {
  const auto agrees = [](const OneCycleSchedule& schedule, const std::vector<double>& rates) {
    for (std::size_t step = 0; step < rates.size(); ++step)
      CHECK(schedule(static_cast<Index>(step)) == Approx(rates[step]).epsilon(1e-12).margin(1e-16));
    CHECK(schedule(static_cast<Index>(rates.size()) + 5) == Approx(rates.back()));
  };
  agrees({.steps = 10}, {0.04, 0.52, 1, 0.950484632013474, 0.811745653949763, 0.611262021936289, 0.388741978063711, 0.188258346050237,
                            0.0495193679865263, 4e-06});
  agrees({.steps = 10, .pct_start = 0.5, .div_factor = 10, .final_div_factor = 100, .decay = Decay::linear},
      {0.1, 0.325, 0.55, 0.775, 1, 0.8002, 0.6004, 0.4006, 0.2008, 0.001});
  agrees({.steps = 7, .pct_start = 0.25},
      {0.04, 0.994415435450912, 0.866526469811169, 0.611262021936289, 0.317332218498851, 0.0868842653195513, 4e-06});
}

TEST_CASE("one-cycle schedules of one step and without a rise are numbers") {
  CHECK(OneCycleSchedule{.steps = 2, .pct_start = 0.5}(0) == 1);
  CHECK(OneCycleSchedule{.steps = 1}(0) == Approx(1 / 25.0 / 1e4));
  CHECK(OneCycleSchedule{.steps = 10, .pct_start = 0.05, .decay = Decay::linear}(0) == Approx(1 - 0.5 / 9.5 * (1 - 4e-6)));
  CHECK(OneCycleSchedule{.steps = 10, .pct_start = 0}(9) == Approx(1 / 25.0 / 1e4));
  for (Index step : {9, 12}) CHECK(OneCycleSchedule{.steps = 10, .pct_start = 1}(step) == 1);  // no way down
}

TEST_CASE("schedules that lack a number or have one out of range say so at the first call") {
  CHECK_THROWS_WITH(
      WarmupSchedule{.warmup_steps = 2}(0), "WarmupSchedule: steps (0) must be positive, and warmup_steps (2) lie in [0, steps]");
  CHECK_THROWS_AS((WarmupSchedule{.steps = 3, .warmup_steps = 4}(0)), std::invalid_argument);
  CHECK_THROWS_AS((WarmupSchedule{.steps = 3, .warmup_steps = -1}(0)), std::invalid_argument);
  CHECK_THROWS_WITH((WarmupSchedule{.steps = 3, .start_factor = std::nan("")}(0)), contains("start_factor (nan)"));
  CHECK_THROWS_WITH((WarmupSchedule{.steps = 3, .end_factor = -1}(0)), contains("end_factor (-1) must not be negative"));
  CHECK_THROWS_WITH(StepSchedule{.step_size = 0}(0), "StepSchedule: step_size (0) must be positive, and gamma (0.1) not negative");
  CHECK_THROWS_AS(StepSchedule{.gamma = -0.5}(0), std::invalid_argument);
  CHECK_THROWS_WITH(OneCycleSchedule{}(0), "OneCycleSchedule: steps (0) must be positive, and pct_start (0.3) lie in [0, 1]");
  CHECK_THROWS_AS((OneCycleSchedule{.steps = 5, .pct_start = 30}(0)), std::invalid_argument);
  CHECK_THROWS_WITH(
      (OneCycleSchedule{.steps = 5, .div_factor = 0}(0)), contains("div_factor (0) and final_div_factor (10000) must be positive"));
  CHECK_THROWS_AS((OneCycleSchedule{.steps = 5, .final_div_factor = 0}(0)), std::invalid_argument);
}
