// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <heed/core/config.hpp>
#include <heed/io/atomic_file.hpp>
#include <heed/io/onnx_attention_emitters.hpp>
#include <heed/io/onnx_image_emitters.hpp>

namespace heed::inline HEED_ABI::io {

struct OnnxOptions {
  /// Maps, values of rank 4, come in and go out as (N, C, H, W), as those of PyTorch's exports do; false: as (N, H, W, C), as heed has them.
  bool channels_first = true;
  std::vector<std::string> input_names = {"input"};                ///< one for each input
  std::string output_name = "output";                              ///< of the file's output
  std::string graph_name = "heed";                                 ///< of the file's graph
  std::vector<std::pair<std::string, std::string>> metadata = {};  ///< words about the model, in the file's metadata_props
  OnnxEmitters emitters = {};                                      ///< for layers of your own; they come before heed's
};

/// The emitters of heed's layers by kind; docs/interchange.md lists the nodes that each makes.
inline OnnxEmitters onnx_emitters() {
  OnnxEmitters all = onnx_row_emitters();
  all.merge(onnx_image_emitters());
  all.merge(onnx_attention_emitters());
  return all;
}

/// `model` as an ONNX file in memory: a ModelProto of operator set 20 (ONNX 1.15), which computes what `forward(x)` does, in float32. `in` are
/// the shapes of the inputs; the size of the first axis, the batch, stays free in the file (0 is as good as 1), the others are fixed.
///
/// It knows no layer types: it reads what layers describe. Throws std::invalid_argument for a layer without counterpart (with its path and
/// kind), ShapeError for inputs that the model refuses.
template <class Model>
std::string onnx_bytes(const Model& model, std::vector<Shape> in, const OnnxOptions& options = {}) {
  constexpr int kOpset = 20;     // the first with Gelu
  constexpr int kIrVersion = 9;  // of that release
  require(in.size() == options.input_names.size(), "write_onnx: ", in.size(), " inputs, ", options.input_names.size(), " names of inputs");
  for (Shape& shape : in)
    if (shape.rank() > 0 && shape[0] == 0) shape[0] = 1;  // emitters divide by it
  const DescribedLayer root = [&] {
    if constexpr (requires { model.output_shape(in[0]); })
      if (in.size() == 1) return describe_layers(model, in[0]);
    if constexpr (requires { model.output_shape(in[0], in[1]); })
      if (in.size() == 2) return describe_layers(model, in[0], in[1]);
    if constexpr (requires { model.output_shape(in[0], in[1], in[2]); })
      if (in.size() == 3) return describe_layers(model, in[0], in[1], in[2]);
    fail("write_onnx: the model does not take ", in.size(), " inputs");
  }();
  OnnxEmitters emitters = options.emitters;
  emitters.merge(onnx_emitters());

  OnnxGraph graph(emitters, options.output_name);
  constexpr OnnxType type = std::is_integral_v<InputScalarOf<Model>> ? OnnxType::int64 : OnnxType::float32;
  std::vector<OnnxValue> inputs;
  for (std::size_t i = 0; i < in.size(); ++i) inputs.push_back(graph.input(options.input_names[i], in[i], type, options.channels_first));
  const OnnxValue output = graph.emit(root, inputs);
  require<ShapeError>(output.shape == root.out, "write_onnx: the graph's output is ", output.shape, ", the model's ", root.out);
  graph.output(output, options.channels_first);

  ProtobufWriter opset, file;
  opset.bytes(1, "").integer(2, kOpset);
  file.integer(1, kIrVersion)
      .bytes(2, "heed")
      .bytes(3, text(HEED_VERSION_MAJOR, '.', HEED_VERSION_MINOR, '.', HEED_VERSION_PATCH))
      .message(7, graph.message(options.graph_name))
      .message(8, opset);
  for (const auto& [key, value] : options.metadata) {
    ProtobufWriter entry;
    file.message(14, entry.bytes(1, key).bytes(2, value));
  }
  return file.encoded();
}

/// Writes `onnx_bytes` to `path`, all or nothing (see AtomicFile):
///
/// ```cpp
/// heed::io::write_onnx("net.onnx", model, heed::Shape{1, 32, 32, 3});
/// ```
///
/// Throws FileError, too, if the file cannot be written or would be larger than the 2 GiB that the format allows.
template <class Model>
void write_onnx(const std::string& path, const Model& model, const std::vector<Shape>& in, const OnnxOptions& options = {}) {
  const std::string bytes = onnx_bytes(model, in, options);
  require<FileError>(
      bytes.size() < std::size_t{1} << 31, path, ": the model takes ", bytes.size(), " bytes, ONNX files hold 2 GiB at most");
  write_file(path, bytes);
}
/// The same for models of one input.
template <class Model>
void write_onnx(const std::string& path, const Model& model, const Shape& in, const OnnxOptions& options = {}) {
  write_onnx(path, model, std::vector<Shape>{in}, options);
}

}  // namespace heed::inline HEED_ABI::io
