// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/io/utf8.hpp>

#include "../program/metadata.hpp"
#include "options.hpp"

namespace text {

/// The longest context, in features: where tables that no file holds take as much memory as the file.
inline constexpr Index kMostContext = 256;

/// Options that the layers would refuse one by one get one sentence that names the program's own words.
inline void check(const ModelOptions& o) {
  heed::require(o.heads > 0 && o.features % (2 * o.heads) == 0, "--features ", o.features, " must be a multiple of twice --heads ", o.heads,
      ": each head has the same, even number of them");
  heed::require(o.kv_heads > 0 && o.heads % o.kv_heads == 0, "--heads ", o.heads, " must be a multiple of --kv-heads ", o.kv_heads);
  heed::require(o.context <= kMostContext * o.features, "--context ", o.context, " is more than ", kMostContext, " times --features ",
      o.features, ": the tables of positions would be the most of the model");
}

/// What a model's file says beside its tensors.
struct ModelWords {
  ModelOptions options;
  std::vector<std::string> characters;  ///< the vocabulary
};

/// The layout of model.safetensors that this program writes and reads.
inline constexpr std::string_view kFormat = "heed-text", kFormatVersion = "1";

/// The words as metadata: format, format_version, layers, features, heads, kv_heads, context, vocabulary.
inline heed::Metadata metadata_of(const ModelWords& words) {
  const ModelOptions& o = words.options;
  return {{"format", std::string(kFormat)}, {"format_version", std::string(kFormatVersion)}, {"layers", heed::text(o.layers)},
      {"features", heed::text(o.features)}, {"heads", heed::text(o.heads)}, {"kv_heads", heed::text(o.kv_heads)},
      {"context", heed::text(o.context)}, {"vocabulary", program::as_json(words.characters)}};
}

/// Reads what `metadata_of` gave: words that fit together, or a FileError.
inline ModelWords read_words(const heed::SafetensorsReader& file) {
  const program::MetadataReader metadata(file, kFormat, kFormatVersion, "text train");
  const std::string& path = file.path();
  const auto count = [&](std::string_view key) { return metadata.whole(key, 1, 65536); };  // more would not fit a machine
  const ModelOptions options{.layers = count("layers"),
      .features = count("features"),
      .heads = count("heads"),
      .kv_heads = count("kv_heads"),
      .context = count("context")};
  std::vector<std::string> characters = metadata.strings("vocabulary");
  for (const std::string& character : characters)
    if (character.empty() || heed::utf8_length(character) != character.size())
      metadata.refuse("vocabulary", "holds what is not one character");
  heed::require<heed::FileError>(!characters.empty(), path, ": the metadata's \"vocabulary\" is empty");
  try {
    check(options);
  } catch (const std::invalid_argument& error) {
    heed::fail<heed::FileError>(path, ": the metadata do not fit together: ", error.what());
  }
  return {options, std::move(characters)};
}

/// Throws FileError unless the file holds the largest matrices of the net of its words, so that it may be built.
inline void require_room_for_net(const heed::SafetensorsReader& file, const ModelWords& words) {
  const auto expect = [&](const std::string& name, const heed::Shape& shape) {
    const auto* entry = file.find(name);
    heed::require<heed::FileError>(entry && entry->shape == shape, file.path(), ": the metadata are of another model: expected ", name,
        " of ", shape, ", found ", entry ? entry->shape.to_string() : "none");
  };
  expect("embedding.weight", {static_cast<Index>(words.characters.size()), words.options.features});
  for (Index i = 0; i < words.options.layers; ++i)
    expect(
        heed::text("layers.", i, ".linear1.weight"), {4 * words.options.features, words.options.features});  // a third of a layer's numbers
}

}  // namespace text
