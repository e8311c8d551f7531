// SPDX-License-Identifier: MIT
// The program that has both libraries, and knows nothing of heed. main LOOPS ISA: those that the second one must say ("any" instruction set).
#include <cstdio>
#include <cstring>

extern "C" {
const char* first_loops();
const char* second_loops();
const char* first_isa();
const char* second_isa();
int first_run(float* output, char* words, int room);
int second_run(float* output, char* words, int room);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  float first[8] = {}, second[8] = {};
  char first_words[200] = {}, second_words[200] = {};
  const bool threw = first_run(first, first_words, 200) == 1 && second_run(second, second_words, 200) == 1;
  bool equal = true;
  for (int i = 0; i < 8; ++i) equal = equal && first[i] == 4 && second[i] == 4;  // 3 * 2 * 0.5 + 1
  std::printf(
      "first: %s, %s, %s\nsecond: %s, %s, %s\n", first_loops(), first_isa(), first_words, second_loops(), second_isa(), second_words);
  const bool own = std::strcmp(first_loops(), "openmp") == 0 && std::strcmp(second_loops(), argv[1]) == 0;
  return threw && equal && own && (std::strcmp(argv[2], "any") == 0 || std::strcmp(second_isa(), argv[2]) == 0) ? 0 : 1;
}
