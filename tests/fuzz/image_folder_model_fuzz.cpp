// SPDX-License-Identifier: MIT
// Models of the example image_folder: the net, its classes and its scale of pixels, all of one kind, and finite.
#include <cmath>

#include "fuzz_target.hpp"
#include "image_folder/net.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::refused_or_read_within(heed::SafetensorsReader::kMemoryFactor, size, [&] {
    image_folder::Model model = image_folder::load(heed::SafetensorsReader(std::string(fuzz::text_of(data, size)), "input"));
    const heed::Index classes = static_cast<heed::Index>(model.class_names.size()), side = model.options.size;
    fuzz::demand(model.net.output_shape({1, side, side, 3}) == heed::Shape{1, classes});
    for (const std::string& name : model.class_names) fuzz::demand(heed::is_utf8(name));
    const heed::PixelScale<std::uint8_t, float> scale(model.normalization, 3);
    for (const auto& values : {scale.scale, scale.shift})
      for (const float value : values) fuzz::demand(std::isfinite(value));
    for (const auto& [name, parameter] : heed::named_parameters(model.net))
      fuzz::demand(heed::first_anomaly(parameter->value(), parameter->size()) < 0);
  });
  return 0;
}
