// SPDX-License-Identifier: MIT
// JSON, which the metadata of models and checkpoints is made of: what was read is written, and read again as the same.
#include <heed/io/json.hpp>

#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text = "null";
  fuzz::refused_or_read_within(heed::Json::kMemoryFactor, size, [&] {
    const heed::Json json = heed::Json::parse(fuzz::text_of(data, size), "input");
    text = json.to_string();
  });
  fuzz::demand(heed::Json::parse(text, "input").to_string() == text);
  return 0;
}
