// SPDX-License-Identifier: MIT
// The list of tensors belongs to the reader of the file.
// expect: heed: it belongs to the reader
#include <heed/io/safetensors.hpp>

std::size_t count(const char* path) {
  std::size_t found = 0;
#ifdef RIGHT
  const heed::SafetensorsReader reader(path);
  for (const auto& entry : reader.entries()) found += entry.name.size();
#else
  for (const auto& entry : heed::SafetensorsReader(path).entries()) found += entry.name.size();
#endif
  return found;
}
