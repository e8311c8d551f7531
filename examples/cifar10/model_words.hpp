// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "../program/metadata.hpp"
#include "options.hpp"
#include "widths.hpp"

namespace cifar10 {

/// What a model's file says beside its tensors: how to build the net and what its images and classes are.
struct ModelWords {
  NetOptions options;
  heed::Normalization normalization;
  std::vector<std::string> class_names;
  std::string dataset;  ///< "cifar10" or "generated"
};

/// The layout of model.safetensors that this program writes and reads.
inline constexpr std::string_view kFormat = "heed-cifar10", kFormatVersion = "1";

/// The words as metadata: format, format_version, net, attention, logit_scale, attention_blocks, attention_after, feed_forward, relative_bias (0 or 1), mean,
/// deviation, class_names, dataset.
inline heed::Metadata metadata_of(const ModelWords& words) {
  using program::as_json;
  return {{"format", std::string(kFormat)}, {"format_version", std::string(kFormatVersion)}, {"net", words.options.net},
      {"attention", words.options.attention}, {"logit_scale", heed::Json(words.options.logit_scale).to_string()},
      {"attention_blocks", heed::text(words.options.attention_blocks)}, {"attention_after", heed::text(words.options.attention_after)},
      {"feed_forward", heed::text(words.options.feed_forward)}, {"relative_bias", words.options.relative_bias ? "1" : "0"},
      {"mean", as_json(words.normalization.mean)}, {"deviation", as_json(words.normalization.deviation)},
      {"class_names", as_json(words.class_names)}, {"dataset", words.dataset}};
}

/// Reads what `metadata_of` gave: each word is one that the program can work with, or there is a FileError.
inline ModelWords read_words(const heed::SafetensorsReader& file) {
  const program::MetadataReader metadata(file, kFormat, kFormatVersion, "cifar10 train");
  ModelWords words;
  NetOptions& net = words.options;
  net.net = metadata.one_of("net", kNets);
  net.attention = metadata.one_of("attention", kAttentions);
  net.logit_scale = metadata.number("logit_scale");
  // Files of before these words were there, and of other writers, have the usual block.
  const auto usual = [&](const char* key, Index least, Index most, Index value) {
    return metadata.has(key) ? metadata.whole(key, least, most) : value;
  };
  net.attention_blocks = usual("attention_blocks", 1, kMostAttentionBlocks, net.attention_blocks);
  net.attention_after = usual("attention_after", 1, blocks_of(net.net), net.attention_after);
  net.feed_forward = usual("feed_forward", 0, kWidestFeedForward, net.feed_forward);
  net.relative_bias = usual("relative_bias", 0, 1, net.relative_bias) == 1;
  words.normalization = metadata.normalization();
  words.class_names = metadata.strings("class_names", 10, "names");
  words.dataset = metadata.word("dataset");
  return words;
}

/// Throws FileError unless the file is long enough for the net of its words, so that it may be built.
inline void require_room_for_net(const heed::SafetensorsReader& file, const ModelWords& words) {
  constexpr std::size_t kNarrowest = 2;  // bytes of a weight: 16-bit numbers are read, too
  std::size_t bytes = 0;
  for (const auto& entry : file.entries()) bytes += entry.bytes;
  const std::size_t least = static_cast<std::size_t>(block_weights(words.options.net) + attention_weights(words.options)) * kNarrowest;
  heed::require<heed::FileError>(bytes >= least, file.path(), ": expected at least ", least, " bytes of tensors for ",
      words_of(words.options), ", found ", bytes, "; the metadata are those of another file");
}

}  // namespace cifar10
