// SPDX-License-Identifier: MIT
// What a model of the example text says about itself, and whether its tensors are those of such a model.
#include "fuzz_target.hpp"
#include "text/model_words.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::refused_or_read_within(heed::SafetensorsReader::kMemoryFactor, size, [&] {
    const heed::SafetensorsReader file(std::string(fuzz::text_of(data, size)), "input");
    const text::ModelWords words = text::read_words(file);
    const text::ModelOptions& o = words.options;
    fuzz::demand(!words.characters.empty() && o.features % (2 * o.heads) == 0 && o.heads % o.kv_heads == 0);
    for (const auto& [key, value] : text::metadata_of(words)) fuzz::demand(file.metadata(key) && heed::is_utf8(value));
    text::require_room_for_net(file, words);
    // The net: a float for each number, of which the first half of the feed-forward net is a third; and the tables of cos and sin.
    const heed::Index matrices = o.layers * 12 * o.features * o.features, tables = o.layers * o.context * (o.features / o.heads);
    fuzz::demand(4 * static_cast<std::size_t>(matrices + tables) < heed::SafetensorsReader::kMemoryFactor * size);
  });
  return 0;
}
