// SPDX-License-Identifier: MIT
// The files of the example cifar10: what a model says about itself, and where a checkpoint stands.
#include <cmath>

#include "cifar10/checkpoint_words.hpp"
#include "cifar10/model_words.hpp"
#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto each = [&](const auto& read) {
    fuzz::refused_or_read_within(heed::SafetensorsReader::kMemoryFactor, size,
        [&] { read(heed::SafetensorsReader(std::string(fuzz::text_of(data, size)), "input")); });
  };
  each([&](const heed::SafetensorsReader& file) {
    const cifar10::ModelWords words = cifar10::read_words(file);
    fuzz::demand(words.class_names.size() == 10 && words.normalization.mean.size() == 3);
    const heed::PixelScale<std::uint8_t, float> scale(words.normalization, 3);
    for (const auto& values : {scale.scale, scale.shift})
      for (const float value : values) fuzz::demand(std::isfinite(value));
    for (const auto& [key, value] : cifar10::metadata_of(words)) {
      const bool may_lack = key.starts_with("attention_") || key == "feed_forward" || key == "relative_bias";
      fuzz::demand((file.metadata(key) || may_lack) && heed::is_utf8(value));
    }
    cifar10::require_room_for_net(file, words);
    fuzz::demand(size > 60'000);  // 16-bit numbers of the smallest net
    fuzz::demand(2 * static_cast<std::size_t>(cifar10::attention_weights(words.options)) < size);
  });
  each([](const heed::SafetensorsReader& file) {
    const heed::Json recipe(heed::Json::Object{{"net", "demo"}, {"learning-rate", 0.006}});
    const cifar10::Position position = cifar10::read_position(file, recipe, 3, 195);
    fuzz::demand(position.epoch.epoch >= 0 && position.epoch.epoch <= 3 && position.epoch.steps >= 0 && position.epoch.steps <= 195);
    fuzz::demand(position.records >= 0 && position.epoch.loss_sum >= 0);
    const heed::Index batch = 256;  // what the next step does
    fuzz::demand(position.images + (position.epoch.images + batch) > 0 && position.epoch.correct + batch > 0);
  });
  return 0;
}
