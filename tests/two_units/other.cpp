// SPDX-License-Identifier: MIT
#include "everything.hpp"

const void* pool_of_other_unit() { return &heed::BufferPool::instance(); }

double sum_in_other_unit() {
  double sum = 0;
  heed::parallel_sum(heed::Index(1000), heed::Index(10), heed::Index(1), &sum,
      [](heed::Index begin, heed::Index end, double* partial) { *partial += static_cast<double>(end - begin); });
  return sum;
}
