// SPDX-License-Identifier: MIT
// NumPy's files: those that are taken can be read as a tensor of their rank.
#include <heed/io/npy.hpp>

#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::File file(data, size);
  const auto load = [&]<class T, int Rank>(heed::Tensor<T, Rank>) {
    fuzz::refused_or_read_within(
        heed::io::npy_memory_factor<T>(), size, [&] { static_cast<void>(heed::io::load_npy<T, Rank>(file.path().string())); });
  };
  load(heed::Tensor<double, 1>());
  load(heed::Tensor<float, 2>());
  load(heed::Tensor<std::int64_t, 3>());
  load(heed::Tensor<std::uint8_t, 1>());
  return 0;
}
