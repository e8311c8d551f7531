// SPDX-License-Identifier: MIT
// Reads each file of the folders that are given, as libFuzzer would: a target's corpus and what broke it once.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <vector>

#include <heed/io/atomic_file.hpp>

#include "fuzz_target.hpp"

int main(int argc, char** argv) {
  long files = 0;
  for (int i = 1; i < argc; ++i) {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i]))
      if (entry.is_regular_file()) found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    for (const auto& path : found) {
      const std::string bytes = heed::read_file(path.string());
      std::vector<std::uint8_t> data(bytes.begin(), bytes.end());
      data.shrink_to_fit();
      std::printf("%s\n", path.filename().string().c_str());
      std::fflush(stdout);  // the name of the one that breaks is the last
      LLVMFuzzerTestOneInput(data.data(), data.size());
      ++files;
    }
  }
  std::printf("%ld files read or refused\n", files);
  return files > 0 ? 0 : 1;
}
