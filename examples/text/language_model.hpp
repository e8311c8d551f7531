// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/io/json.hpp>
#include <heed/io/model_file.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>

#include "options.hpp"
#include "vocabulary.hpp"

namespace text {

/// Logits (N, T, characters) of the character behind each of the characters x (N, T): embedding, causal pre-norm transformer layers with
/// rotary positions and grouped heads of keys and values, norm, linear.
template <class T>
auto make_net(const ModelOptions& o, Index characters) {
  using namespace heed;
  std::vector<TransformerEncoderLayer<T>> layers;
  for (Index i = 0; i < o.layers; ++i)
    layers.emplace_back(TransformerEncoderLayerOptions{.d_model = o.features,
        .nhead = o.heads,
        .dim_feedforward = 4 * o.features,
        .dropout = 0,
        .activation = FeedForwardActivation::gelu,
        .norm_first = true,
        .causal = true,
        .num_kv_heads = o.kv_heads,
        .rotary = RotaryEmbeddingOptions{.max_positions = o.context}});
  Embedding<T> embedding({.num_embeddings = characters, .embedding_dim = o.features});
  return Sequential(named("embedding", std::move(embedding)), named("layers", Stack(std::move(layers))),
      named("norm", LayerNorm<T>({.normalized_shape = {o.features}})),
      named("head", Linear<T>({.in_features = o.features, .out_features = characters})));
}
template <class T>
using Net = decltype(make_net<T>({}, 1));

/// Options that the layers would refuse one by one get one sentence that names the program's own words.
inline void check(const ModelOptions& o) {
  heed::require(o.heads > 0 && o.features % (2 * o.heads) == 0, "--features ", o.features, " must be a multiple of twice --heads ", o.heads,
      ": each head has the same, even number of them");
  heed::require(o.kv_heads > 0 && o.heads % o.kv_heads == 0, "--heads ", o.heads, " must be a multiple of --kv-heads ", o.kv_heads);
}

/// A net with all that is needed to use it.
struct LanguageModel {
  ModelOptions options;
  Vocabulary vocabulary;
  Net<float> net;

  LanguageModel(const ModelOptions& o, Vocabulary v) : options(o), vocabulary(std::move(v)), net(make_net<float>(o, vocabulary.size())) {}
};

/// The layout of model.safetensors that this program writes and reads.
inline constexpr std::string_view kFormat = "heed-text", kFormatVersion = "1";

/// Writes the net and, as metadata, what rebuilds it. Appears whole or not at all. Throws FileError.
inline void save(const std::string& path, const LanguageModel& model) {
  heed::Json characters{heed::Json::Array()};
  for (const std::string& character : model.vocabulary.characters()) characters.push_back(character);
  const ModelOptions& o = model.options;
  heed::io::save(path, model.net,
      {{"format", std::string(kFormat)}, {"format_version", std::string(kFormatVersion)}, {"layers", heed::text(o.layers)},
          {"features", heed::text(o.features)}, {"heads", heed::text(o.heads)}, {"kv_heads", heed::text(o.kv_heads)},
          {"context", heed::text(o.context)}, {"vocabulary", characters.to_string()}});
}

/// Reads what `save` wrote. Throws FileError for a file that is missing, damaged, or of another program.
inline LanguageModel load(const std::string& path) {
  const heed::SafetensorsReader file(path);
  const auto word = [&](std::string_view key) {
    const std::string* value = file.metadata(key);
    if (!value)
      heed::fail<heed::FileError>(path, ": expected \"", key, "\" in the metadata, found nothing; was the file written by text train?");
    return *value;
  };
  const auto parsed = [&](std::string_view key) { return heed::Json::parse(word(key), heed::text(path, ": metadata \"", key, "\"")); };
  heed::require<heed::FileError>(word("format") == kFormat && word("format_version") == kFormatVersion, path, ": the metadata's format is ",
      heed::detail::quoted_name(word("format")), ", expected ", kFormat, ' ', kFormatVersion);
  const auto count = [&](std::string_view key) {
    const heed::Json value = parsed(key);
    // More than this would not fit a machine; the tensors' shapes are compared later.
    const bool fits = value.is_number() && value.as_number() >= 1 && value.as_number() <= 65536;
    if (!fits || value.as_number() != std::floor(value.as_number()))
      heed::fail<heed::FileError>(
          path, ": the metadata's \"", key, "\" is ", heed::detail::quoted_name(word(key)), ", expected a whole number");
    return static_cast<Index>(value.as_number());
  };
  const ModelOptions options{.layers = count("layers"),
      .features = count("features"),
      .heads = count("heads"),
      .kv_heads = count("kv_heads"),
      .context = count("context")};
  std::vector<std::string> characters;
  const heed::Json list = parsed("vocabulary");
  if (!list.is_array()) heed::fail<heed::FileError>(path, ": the metadata's \"vocabulary\" is ", list.kind(), ", expected an array");
  for (const heed::Json& character : list.as_array()) {
    const bool one =
        character.is_string() && !character.as_string().empty() && heed::utf8_length(character.as_string()) == character.as_string().size();
    if (!one) heed::fail<heed::FileError>(path, ": the metadata's \"vocabulary\" holds what is not one character");
    characters.push_back(character.as_string());
  }
  heed::require<heed::FileError>(!characters.empty(), path, ": the metadata's \"vocabulary\" is empty");
  try {
    check(options);
  } catch (const std::invalid_argument& error) {
    heed::fail<heed::FileError>(path, ": the metadata do not fit together: ", error.what());
  }
  LanguageModel model(options, Vocabulary(std::move(characters)));
  heed::io::load(file, model.net);
  for (const auto& [name, parameter] : heed::named_parameters(model.net))
    for (Index i = 0; i < parameter->size(); ++i)
      heed::require<heed::FileError>(std::isfinite(parameter->value()[i]), path, ": tensor ", name, " holds ", parameter->value()[i],
          ", expected finite numbers; the training that wrote it ran away");
  return model;
}

}  // namespace text
