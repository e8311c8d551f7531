// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/io/model_file.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>

#include "model_words.hpp"
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

/// A net with all that is needed to use it.
struct LanguageModel {
  ModelOptions options;
  Vocabulary vocabulary;
  Net<float> net;

  LanguageModel(const ModelOptions& o, Vocabulary v) : options(o), vocabulary(std::move(v)), net(make_net<float>(o, vocabulary.size())) {}
};

/// Writes the net and, as metadata, what rebuilds it: see program::save_finite.
inline void save(const std::string& path, const LanguageModel& model) {
  program::save_finite(path, model.net, metadata_of({model.options, model.vocabulary.characters()}));
}

/// Reads what `save` wrote. Throws FileError for a file that is damaged, or of another program.
inline LanguageModel load(const heed::SafetensorsReader& file) {
  ModelWords words = read_words(file);
  require_room_for_net(file, words);
  LanguageModel model(words.options, Vocabulary(std::move(words.characters)));
  program::load_finite(file, model.net);
  return model;
}
/// The same from the file at `path`.
inline LanguageModel load(const std::string& path) { return load(heed::SafetensorsReader(path)); }

}  // namespace text
