// SPDX-License-Identifier: MIT
// The program that has both libraries. It knows nothing of heed.
#include <cstdio>
#include <cstring>

extern "C" {
const char* first_loops();
const char* second_loops();
int first_run(float* output, char* words, int room);
int second_run(float* output, char* words, int room);
}

int main() {
  float first[8] = {}, second[8] = {};
  char first_words[200] = {}, second_words[200] = {};
  const bool threw = first_run(first, first_words, 200) == 1 && second_run(second, second_words, 200) == 1;
  bool equal = true;
  for (int i = 0; i < 8; ++i) equal = equal && first[i] == 4 && second[i] == 4;  // 3 * 2 * 0.5 + 1
  std::printf("first: %s, %s\nsecond: %s, %s\n", first_loops(), first_words, second_loops(), second_words);
  return threw && equal && std::strcmp(first_loops(), "openmp") == 0 && std::strcmp(second_loops(), "serial") == 0 ? 0 : 1;
}
