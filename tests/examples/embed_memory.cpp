// SPDX-License-Identifier: MIT
// The embedded classifier takes no memory once it is made.
#include <cstdio>

#include <embed/classifier.hpp>

#include "../count_allocations.hpp"

int main() {
#if HEED_TEST_INTERPOSES
  embed::Classifier classifier;
  static unsigned char frame[embed::kPixels];
  int labels = 0;
  const long asked = allocations_of([&] {
    for (int i = 0; i < 20; ++i) {
      for (int p = 0; p < embed::kPixels; ++p) frame[p] = static_cast<unsigned char>((p * 7 + i * 31) % 256);
      labels += classifier.classify(frame).label;
    }
  });
  std::printf("memory was asked for %ld times in 20 frames (labels add up to %d)\n", asked, labels);
  return asked == 0 ? 0 : 1;
#else
  std::puts("allocations cannot be counted here");
  return 77;
#endif
}
