// SPDX-License-Identifier: MIT
#include <heed/layers/global_max_pool1d.hpp>
#include <heed/layers/global_max_pool2d.hpp>

#include "reference/global_pool_rules.hpp"

TEST_CASE("global max pools of images and of sequences are one") {
  reference::check_global_pools<heed::GlobalMaxPool2d, heed::GlobalMaxPool1d>();
}
