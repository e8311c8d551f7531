// SPDX-License-Identifier: MIT
// A frame comes in, a class goes out: raw pictures of 3072 bytes on standard input, a line each on standard output, at once. The model is part of the program.
// It ends with 1 if the last frame is cut or an answer cannot be written.
#include <cstdio>

#include "classifier.hpp"

int main() {
  embed::Classifier classifier;
  static char in[4096], out[64];  // without them the C library would take memory for the two
  std::setvbuf(stdin, in, _IOFBF, sizeof in);
  std::setvbuf(stdout, out, _IOFBF, sizeof out);
  static unsigned char frame[embed::kPixels];
  std::size_t bytes;
  while ((bytes = std::fread(frame, 1, sizeof frame, stdin)) == sizeof frame) {
    const auto answer = classifier.classify(frame);
    std::printf("%d %.3f\n", answer.label, static_cast<double>(answer.confidence));
    if (std::fflush(stdout) != 0) return 1;
  }
  return bytes > 0 || std::ferror(stdin) ? 1 : 0;
}
