// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <utility>

#include "../program/metadata.hpp"
#include "data_source.hpp"
#include "model_words.hpp"
#include "nets.hpp"

namespace cifar10 {

/// A net with all that is needed to use it.
struct StoredModel : ModelWords {
  Net<float> net;
};

/// Writes the net with its metadata: see program::save_finite.
inline void save(const std::string& path, const StoredModel& model) { program::save_finite(path, model.net, metadata_of(model)); }

/// Reads what `save` wrote. Throws FileError for a file that is damaged, or of another program or net.
inline StoredModel load(const heed::SafetensorsReader& file, const std::string& convolution = "automatic") {
  ModelWords words = read_words(file);
  require_room_for_net(file, words);
  Net<float> net = make_net<float>(words.options, convolution);
  StoredModel model{std::move(words), std::move(net)};
  program::load_finite(file, model.net);
  return model;
}
/// The same from the file at `path`.
inline StoredModel load(const std::string& path, const std::string& convolution = "automatic") {
  return load(heed::SafetensorsReader(path), convolution);
}

/// Throws FileError unless the model of the file at `path` was trained on these data.
inline void require_own_data(const StoredModel& model, const std::string& path, const DataSource& data) {
  heed::require<heed::FileError>(data.name() == model.dataset, path, ": the model was trained on \"", model.dataset, "\", ", data.folder,
      " holds \"", data.name(), "\"; name the other folder with --data");
  heed::require<heed::FileError>(class_names(data.images.test) == model.class_names, path,
      ": the model was trained on other classes than those of ", data.folder, "; name the other folder with --data");
}

}  // namespace cifar10
