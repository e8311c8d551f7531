// SPDX-License-Identifier: MIT
// What the page of examples/web must say of raw pictures of 3072 bytes on standard input: a line each of class, confidences, and attention received.
#include <cstdio>

#include <web/seer.hpp>

int main() {
  web::Seer seer;
  static unsigned char frame[embed::kPixels], rgba[embed::kSide * embed::kSide * 4];
  while (std::fread(frame, 1, sizeof frame, stdin) == sizeof frame) {
    for (int i = 0; i < embed::kSide * embed::kSide; ++i) {
      for (int c = 0; c < 3; ++c) rgba[4 * i + c] = frame[3 * i + c];
      rgba[4 * i + 3] = 255;
    }
    seer.look(rgba, embed::kSide, embed::kSide);
    std::printf("%d", seer.label());
    for (const float confidence : seer.confidences()) std::printf(" %.7f", static_cast<double>(confidence));
    for (heed::Index token = 0; token < embed::kTokens; ++token) std::printf(" %.7f", static_cast<double>(seer.received()[token]));
    std::puts("");
  }
}
