// SPDX-License-Identifier: MIT
// The embedded program takes memory when it makes its classifier, and none for frames and answers.
#define main embed_main
#include <embed/embed.cpp>
#undef main

#include <string>

#include "../count_allocations.hpp"

int main() {
#if HEED_TEST_INTERPOSES
  { const embed::Classifier first; }  // the pool is filled
  const long made = allocations_of([] { const embed::Classifier classifier; });
  for (const int frames : {0, 20}) {
    const std::string in = std::to_string(frames) + ".frames", out = std::to_string(frames) + ".answers";
    if (std::FILE* file = std::fopen(in.c_str(), "wb")) {
      for (long i = 0; i < frames * embed::kPixels; ++i) std::fputc(static_cast<int>((i * 7 + i / embed::kPixels * 31) % 256), file);
      std::fclose(file);
    }
    if (!std::freopen(in.c_str(), "rb", stdin) || !std::freopen(out.c_str(), "w", stdout)) return 1;
    int code = 0;
    const long asked = allocations_of([&] { code = embed_main(); });
    std::fprintf(stderr, "%d frames: memory was asked for %ld times, %ld of them by the classifier's constructor\n", frames, asked, made);
    std::remove(in.c_str());
    std::remove(out.c_str());
    if (code != 0 || asked != made) return 1;
  }
  return 0;
#else
  std::puts("allocations cannot be counted here");
  return 77;
#endif
}
