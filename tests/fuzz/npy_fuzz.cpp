// SPDX-License-Identifier: MIT
// NumPy's files: those that are taken can be read as a tensor of their rank.
#include <heed/io/npy.hpp>

#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::File file(data, size);
  const std::string path = file.path().string();
  fuzz::refused_or_read([&] { static_cast<void>(heed::io::load_npy<double, 1>(path)); });
  fuzz::refused_or_read([&] { static_cast<void>(heed::io::load_npy<float, 2>(path)); });
  fuzz::refused_or_read([&] { static_cast<void>(heed::io::load_npy<std::int64_t, 3>(path)); });
  return 0;
}
