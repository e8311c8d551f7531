// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/compose/sequential.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/max_pool2d.hpp>

#include "../program/metadata.hpp"
#include "options.hpp"

namespace image_folder {

inline constexpr Index kShrink = 8;  ///< three poolings: the map that attends has size / 8 tokens a side
inline constexpr Index kHeads = 4;
inline constexpr Index kMostSize = 256, kMostWidth = 256, kMostClasses = 10'000;

/// Throws std::invalid_argument for options that no net can be built of.
inline void check(const NetOptions& o) {
  heed::require(o.size >= 2 * kShrink && o.size <= kMostSize && o.size % kShrink == 0, "--size ", o.size, " must be a multiple of ",
      kShrink, " from ", 2 * kShrink, " to ", kMostSize);
  heed::require(o.width >= kHeads && o.width <= kMostWidth && o.width % kHeads == 0, "--width ", o.width, " must be a multiple of ", kHeads,
      " from ", kHeads, " to ", kMostWidth);
}

/// Logits (N, classes) of pictures (N, size, size, 3): three times [convolution 3x3, max-pool 2, batch norm, GELU], attention over the map that they leave,
/// global max-pool, dropout, linear.
inline auto make_net(const NetOptions& o, Index classes) {
  using namespace heed;
  const auto block = [](Index in, Index out) {
    return Sequential(named("conv", Conv2d<float>({.in_channels = in, .out_channels = out, .kernel_size = 3, .padding = 1, .bias = false})),
        named("pool", MaxPool2d<float>({.kernel_size = 2})), named("norm", BatchNorm2d<float>({.num_features = out})),
        named("gelu", Gelu<float>()));
  };
  const Index features = 4 * o.width, side = o.size / kShrink;
  return Sequential(named("block1", block(3, o.width)), named("block2", block(o.width, 2 * o.width)),
      named("block3", block(2 * o.width, features)),
      named("attention", AttentionFusion<float>({.features = features, .num_heads = kHeads, .height = side, .width = side})),
      named("pool", GlobalMaxPool2d<float>()), named("dropout", Dropout<float>({.p = 0.2})),
      named("head", Linear<float>({.in_features = features, .out_features = classes})));
}
using Net = decltype(make_net({}, 2));

/// A net with all that is needed to use it.
struct Model {
  NetOptions options;
  std::vector<std::string> class_names;
  heed::Normalization normalization;
  Net net;

  Model(const NetOptions& o, std::vector<std::string> names, heed::Normalization n)
      : options(o),
        class_names(std::move(names)),
        normalization(std::move(n)),
        net(make_net(options, static_cast<Index>(class_names.size()))) {}
};

/// The layout of model.safetensors that this program writes and reads.
inline constexpr std::string_view kFormat = "heed-image-folder", kFormatVersion = "1";

/// Writes the net and, as metadata, what rebuilds it: see program::save_finite.
inline void save(const std::string& path, const Model& model) {
  using program::as_json;
  program::save_finite(path, model.net,
      {{"format", std::string(kFormat)}, {"format_version", std::string(kFormatVersion)}, {"size", heed::text(model.options.size)},
          {"width", heed::text(model.options.width)}, {"mean", as_json(model.normalization.mean)},
          {"deviation", as_json(model.normalization.deviation)}, {"class_names", as_json(model.class_names)}});
}

/// Reads what `save` wrote. Throws FileError for a file that is damaged, or of another program.
inline Model load(const heed::SafetensorsReader& file) {
  const program::MetadataReader metadata(file, kFormat, kFormatVersion, "image_folder train");
  const NetOptions options{.size = metadata.whole("size", 2 * kShrink, kMostSize), .width = metadata.whole("width", kHeads, kMostWidth)};
  if (options.size % kShrink != 0) metadata.refuse("size", "is ", options.size, ", expected a multiple of ", kShrink);
  if (options.width % kHeads != 0) metadata.refuse("width", "is ", options.width, ", expected a multiple of ", kHeads);
  std::vector<std::string> names = metadata.strings("class_names");
  const Index classes = static_cast<Index>(names.size());
  if (classes < 2 || classes > kMostClasses) metadata.refuse("class_names", "has ", classes, " names, expected 2 to ", kMostClasses);
  // Before a net is built: the file must hold its largest matrices.
  const auto expect = [&](const std::string& name, const heed::Shape& shape) {
    const auto* entry = file.find(name);
    heed::require<heed::FileError>(entry && entry->shape == shape, file.path(), ": the metadata are of another model: expected ", name,
        " of ", shape, ", found ", entry ? entry->shape.to_string() : "none");
  };
  expect("attention.qkv.weight", {12 * options.width, 4 * options.width});
  expect("head.weight", {classes, 4 * options.width});
  Model model(options, std::move(names), metadata.normalization());
  program::load_finite(file, model.net);
  return model;
}
/// The same from the file at `path`.
inline Model load(const std::string& path) { return load(heed::SafetensorsReader(path)); }

}  // namespace image_folder
