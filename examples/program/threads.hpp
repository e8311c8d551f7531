// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include <heed/core/context.hpp>

namespace program {

/// While it lives, what heed runs takes as many threads as --threads says; 0, without the option, as many as there are.
class Threads {
 public:
  explicit Threads(int threads) {
    if (threads > 0) scope_.emplace(threads);
  }

 private:
  std::optional<heed::ThreadScope> scope_;
};

}  // namespace program
