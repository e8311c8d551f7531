// SPDX-License-Identifier: MIT
// safetensors: every tensor of a file that is taken can be read to its last element.
#include <vector>

#include <heed/io/safetensors.hpp>

#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::refused_or_read_within(heed::SafetensorsReader::kMemoryFactor, size, [&] {
    const heed::SafetensorsReader file(std::string(fuzz::text_of(data, size)), "input");
    std::size_t bytes = 0;
    for (const auto& entry : file.entries()) {
      fuzz::demand(file.find(entry.name) != nullptr && file.bytes(entry).size() == entry.bytes);
      bytes += entry.bytes;
      const auto numbers = file.values<double>(entry.name);
      fuzz::demand(static_cast<heed::Index>(numbers.size()) == entry.shape.size());
      fuzz::refused_or_read([&] { static_cast<void>(file.values<std::uint8_t>(entry.name)); });  // not all are such numbers
      fuzz::refused_or_read([&] { static_cast<void>(file.tensor<float, 2>(entry.name)); });
    }
    fuzz::demand(bytes < size);
    for (const auto& [key, value] : file.metadata()) fuzz::demand(file.metadata(key) != nullptr && value.size() < size);
  });
  return 0;
}
