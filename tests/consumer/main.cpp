// SPDX-License-Identifier: MIT
// A user's first program: it includes the library, runs a loop on threads, and says on which instruction set.
#include <heed/heed.hpp>

#include <cstdio>

int main() {
  heed::Tensor<float, 2> x({1000, 3});
  heed::parallel_for(x.rows(), 100, [&](heed::Index begin, heed::Index end) {
    for (heed::Index row = begin; row < end; ++row)
      for (heed::Index c = 0; c < x.features(); ++c) x(row, c) = 1;
  });
  const float sum = x.matrix().sum();
  std::printf("%d.%d: sum %g on %d threads of %s, %s\n", HEED_VERSION_MAJOR, HEED_VERSION_MINOR, static_cast<double>(sum),
      heed::thread_count(), heed::backend_name(heed::backend()).data(), heed::isa_name());
  return sum == 3000 ? 0 : 1;
}
