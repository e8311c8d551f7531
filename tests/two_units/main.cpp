// SPDX-License-Identifier: MIT
// Two units that include everything: it links (no function is defined twice), and both see the same pool.
#include "everything.hpp"

#include <cstdio>

int main() {
  const bool same_pool = pool_of_other_unit() == &heed::BufferPool::instance();
  const double other = sum_in_other_unit();
  std::printf("two units: %s pool, sums %g\n", same_pool ? "one" : "not one", other);
  return same_pool && other == 1000 ? 0 : 1;
}
