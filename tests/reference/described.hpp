// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <heed/core/layer.hpp>

namespace reference {

/// The options as `describe` tells them.
template <class L>
std::string described(const L& layer) {
  struct Seen : heed::Visitor<typename L::scalar> {
    std::string all;
    using heed::Visitor<typename L::scalar>::option;
    void kind(std::string_view name) override { all += std::string(name) + ' '; }
    void option(std::string_view name, const std::string& value) override { all += std::string(name) + '=' + value + ' '; }
  } seen;
  layer.describe(seen);
  return seen.all;
}

}  // namespace reference
