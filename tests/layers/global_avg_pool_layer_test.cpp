// SPDX-License-Identifier: MIT
#include <heed/layers/global_avg_pool1d.hpp>
#include <heed/layers/global_avg_pool2d.hpp>

#include "reference/global_pool_rules.hpp"

TEST_CASE("global average pools of images and of sequences are one") {
  reference::check_global_pools<heed::GlobalAvgPool2d, heed::GlobalAvgPool1d>();
}
