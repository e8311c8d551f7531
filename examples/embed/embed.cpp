// SPDX-License-Identifier: MIT
// A frame comes in, a class goes out: raw pictures of 3072 bytes on standard input, a line each on standard output. The model is part of the program.
#include <cstdio>

#include "classifier.hpp"

int main() {
  embed::Classifier classifier;
  static unsigned char frame[embed::kPixels];
  while (std::fread(frame, 1, sizeof frame, stdin) == sizeof frame) {
    const auto answer = classifier.classify(frame);
    std::printf("%d %.3f\n", answer.label, static_cast<double>(answer.confidence));
  }
}
