// SPDX-License-Identifier: MIT
#include <fmt/core.h>

#include <heed/io/onnx.hpp>

#include "../program/output_file.hpp"
#include "stored_model.hpp"

namespace cifar10 {

/// The net for images that are normalised as the metadata say (of a pixel's 0 ... 1 minus mean, divided by deviation): images (N, 3, 32, 32) to
/// logits (N, 10).
int export_onnx(const ExportOptions& options) {
  program::check_output(options.onnx, "--onnx", options.overwrite, {options.folder});
  const StoredModel model = load(options.folder);
  heed::io::write_onnx(options.onnx, model.net, heed::Shape{1, 32, 32, 3},
      {.input_names = {"images"}, .output_name = "logits", .graph_name = model.options.net, .metadata = metadata_of(model)});
  fmt::print("{} as ONNX: {}\n", words_of(model.options), options.onnx);
  return 0;
}

}  // namespace cifar10
