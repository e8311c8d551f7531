// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/io/described_layer.hpp>
#include <heed/io/protobuf.hpp>

namespace heed::inline HEED_ABI::io {

/// A value of an ONNX graph: its name, and its shape in heed's order (features last, batch first). `channels_first`: it lies as PyTorch's maps
/// do, (N, C, ...), since that is what ONNX convolutions take.
struct OnnxValue {
  std::string name;             ///< in the graph
  Shape shape;                  ///< (batch, ..., features), whatever lies in the file
  bool channels_first = false;  ///< lies as (N, C, ...)

  /// Where heed's axis lies in the graph's value; negative axes count from the end.
  Index axis(int heed_axis) const {
    const int a = heed_axis < 0 ? heed_axis + shape.rank() : heed_axis;
    if (!channels_first || a == 0) return a;
    return a == shape.rank() - 1 ? 1 : a + 1;
  }
};

/// An attribute of a node.
class OnnxAttribute {
 public:
  /// An attribute called `name` of ONNX's type INT, FLOAT, STRING or INTS.
  /// @{
  template <class Integer>
    requires std::is_integral_v<Integer> OnnxAttribute(std::string_view name, Integer value) {
      message_.bytes(1, name).integer(3, static_cast<std::int64_t>(value)).integer(20, 2);
    }
  OnnxAttribute(std::string_view name, double value) { message_.bytes(1, name).real(2, static_cast<float>(value)).integer(20, 1); }
  OnnxAttribute(std::string_view name, std::string_view value) { message_.bytes(1, name).bytes(4, value).integer(20, 3); }
  OnnxAttribute(std::string_view name, const char* value) : OnnxAttribute(name, std::string_view(value)) {}
  OnnxAttribute(std::string_view name, const std::vector<Index>& values) {
    message_.bytes(1, name);
    for (Index value : values) message_.integer(8, value);
    message_.integer(20, 7);
  }
  /// @}

  /// An AttributeProto of onnx.proto.
  const ProtobufWriter& message() const { return message_; }

 private:
  ProtobufWriter message_;
};

class OnnxGraph;
/// Turns one layer into nodes: adds them to the graph and returns the value that holds the layer's output. What a user's own layer needs to be
/// written: `[](OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) { ... }`.
using OnnxEmitter = std::function<OnnxValue(OnnxGraph&, const DescribedLayer&, std::span<const OnnxValue>)>;
/// Emitters by the layer's kind.
using OnnxEmitters = std::map<std::string, OnnxEmitter, std::less<>>;

/// The element types of ONNX values that occur here (TensorProto.DataType).
enum class OnnxType { float32 = 1, int64 = 7 };

/// A graph that grows node by node. Nodes are named by their layer's path ("block1.conv1"), those that a layer needs beside its main one by
/// path, slash and a word ("attention/scores"); each node's output has the node's name. Initialisers have the parameters' names.
class OnnxGraph {
 public:
  /// The output will be called `output`.
  OnnxGraph(const OnnxEmitters& emitters, std::string output) : emitters_(&emitters), output_name_(std::move(output)) {
    names_.insert(output_name_);
  }

  /// Adds the nodes of `layer`. Throws std::invalid_argument with its path and kind if no emitter is known for the kind.
  OnnxValue emit(const DescribedLayer& layer, std::span<const OnnxValue> inputs) {
    const auto found = emitters_->find(layer.kind);
    require(found != emitters_->end(), "write_onnx: ", layer.label(),
        " has no counterpart in ONNX that is known; give OnnxOptions::emitters one for this kind");
    return found->second(*this, layer, inputs);
  }
  /// The same for a layer with one input.
  OnnxValue emit(const DescribedLayer& layer, const OnnxValue& input) { return emit(layer, std::span(&input, 1)); }

  /// Adds a node and returns the name of its output. An empty `word` is the layer's main node.
  std::string node(const DescribedLayer& layer, std::string_view op_type, std::vector<std::string> inputs,
      std::vector<OnnxAttribute> attributes = {}, std::string_view word = {}) {
    return std::move(nodes(layer, op_type, std::move(inputs), std::move(attributes), {std::string(word)})[0]);
  }
  /// The same for a node of several outputs, each named by a word; the first word names the node.
  std::vector<std::string> nodes(const DescribedLayer& layer, std::string_view op_type, std::vector<std::string> inputs,
      std::vector<OnnxAttribute> attributes, const std::vector<std::string>& words) {
    std::vector<std::string> outputs;
    for (const std::string& word : words) outputs.push_back(unused(names_, name_of(layer, word)));
    add_node(name_of(layer, words[0]), op_type, std::move(inputs), outputs, std::move(attributes));
    return outputs;
  }

  /// The layer's parameter, buffer or constant `name` as an initialiser under its full name.
  std::string parameter(const DescribedLayer& layer, std::string_view name) {
    const DescribedTensor& tensor = layer.tensor(name);
    std::string full = layer.path_of(name);
    const auto [place, fresh] = parameters_.emplace(full, tensor.data);
    require(place->second == tensor.data, "write_onnx: two parameters are named ", full, "; each needs a name of its own");
    if (fresh) {
      require(names_.insert(full).second, "write_onnx: ", layer.label(), ": the name ", full, " is taken");
      const std::vector<float> values = tensor.floats();
      add_initializer(full, OnnxType::float32, tensor.shape, values.data(), values.size() * sizeof(float));
    }
    return full;
  }
  /// Numbers that belong to `layer`, named by a word.
  std::string floats(const DescribedLayer& layer, std::string_view word, const Shape& shape, const std::vector<float>& values) {
    std::string name = unused(names_, name_of(layer, word));
    add_initializer(name, OnnxType::float32, shape, values.data(), values.size() * sizeof(float));
    return name;
  }
  /// One number, named by itself and shared by all nodes that use it: "0.5".
  std::string scalar(double value) {
    const auto rounded = static_cast<float>(value);
    return shared(text(rounded), OnnxType::float32, Shape(), &rounded, sizeof rounded);
  }
  /// Whole numbers, shared likewise: "[0,49,96]".
  std::string integers(const std::vector<Index>& values) {
    std::string name;
    for (Index value : values) name += text(name.empty() ? "[" : ",", value);
    const std::vector<std::int64_t> wide(values.begin(), values.end());
    return shared(name + "]", OnnxType::int64, Shape{static_cast<Index>(values.size())}, wide.data(), wide.size() * sizeof(std::int64_t));
  }

  /// The value as (N, C, ...), or as heed has it; a Transpose where it lies otherwise, once a value. Up to two axes both are the same.
  OnnxValue channels_first(const OnnxValue& value) { return laid_out(value, true); }
  /// The same the other way: (N, ..., C).
  OnnxValue channels_last(const OnnxValue& value) { return laid_out(value, false); }

  /// The value in another shape: the batch stays whatever it is, `shape[0]` is not read. It lies as heed has it.
  OnnxValue reshape(const DescribedLayer& layer, const OnnxValue& value, const Shape& shape, std::string_view word) {
    OnnxValue last = channels_last(value);
    if (last.shape == shape) return last;
    std::vector<Index> target(shape.begin(), shape.end());
    target[0] = 0;  // of a Reshape: take over
    return {node(layer, "Reshape", {last.name, integers(target)}, {}, word), shape};
  }
  /// The value with its axes in the order `order` of heed's; it lies as heed has it.
  OnnxValue transpose(const DescribedLayer& layer, const OnnxValue& value, const std::vector<Index>& order, std::string_view word) {
    const OnnxValue last = channels_last(value);
    Shape shape;
    for (Index axis : order) shape.push_back(last.shape[static_cast<int>(axis)]);
    return {node(layer, "Transpose", {last.name}, {{"perm", order}}, word), shape};
  }

  /// Declares an input and returns its value. `images`: a value of rank 4 is (N, C, H, W) in the graph.
  OnnxValue input(const std::string& name, const Shape& shape, OnnxType type, bool images) {
    require(names_.insert(name).second, "write_onnx: two inputs or an input and the output are named ", name);
    OnnxValue value{name, shape, images && shape.rank() == 4};
    inputs_.push_back(value_info(name, value, type));
    return value;
  }
  /// Makes `value` the graph's output, laid out as inputs are.
  void output(OnnxValue value, bool images) {
    value = images && value.shape.rank() == 4 ? channels_first(value) : channels_last(value);
    bool computed = false;
    for (Node& node : nodes_) {
      for (std::string& out : node.outputs)
        if (out == value.name) out = output_name_, computed = true;
      for (std::string& in : node.inputs)
        if (in == value.name && computed) in = output_name_;
    }
    if (!computed) add_node(output_name_, "Identity", {value.name}, {output_name_}, {});  // the model is the identity
    outputs_.push_back(value_info(output_name_, value, OnnxType::float32));
  }

  /// GraphProto.
  ProtobufWriter message(const std::string& name) const {
    ProtobufWriter graph;
    for (const Node& node : nodes_) {
      ProtobufWriter encoded;
      for (const std::string& in : node.inputs) encoded.bytes(1, in);
      for (const std::string& out : node.outputs) encoded.bytes(2, out);
      encoded.bytes(3, node.name).bytes(4, node.op_type);
      for (const OnnxAttribute& attribute : node.attributes) encoded.message(5, attribute.message());
      graph.message(1, encoded);
    }
    graph.bytes(2, name);
    for (const ProtobufWriter& initializer : initializers_) graph.message(5, initializer);
    for (const ProtobufWriter& input : inputs_) graph.message(11, input);
    for (const ProtobufWriter& output : outputs_) graph.message(12, output);
    return graph;
  }

 private:
  struct Node {
    std::string name, op_type;
    std::vector<std::string> inputs, outputs;
    std::vector<OnnxAttribute> attributes;
  };

  void add_node(const std::string& name, std::string_view op_type, std::vector<std::string> inputs, std::vector<std::string> outputs,
      std::vector<OnnxAttribute> attributes) {
    nodes_.push_back({unused(node_names_, name), std::string(op_type), std::move(inputs), std::move(outputs), std::move(attributes)});
  }

  static std::string name_of(const DescribedLayer& layer, std::string_view word) {
    const std::string& name = layer.path.empty() ? layer.kind : layer.path;
    return word.empty() ? name : text(name, '/', word);
  }
  /// `name`, or with a number behind it if it is taken.
  static std::string unused(std::set<std::string>& taken, const std::string& name) {
    std::string result = name;
    for (int number = 2; !taken.insert(result).second; ++number) result = text(name, '/', number);
    return result;
  }

  std::string shared(const std::string& name, OnnxType type, const Shape& shape, const void* data, std::size_t bytes) {
    const auto found = shared_.find(name);
    if (found != shared_.end()) return found->second;
    const std::string own = unused(names_, name);
    add_initializer(own, type, shape, data, bytes);
    return shared_[name] = own;
  }
  void add_initializer(const std::string& name, OnnxType type, const Shape& shape, const void* data, std::size_t bytes) {
    ProtobufWriter tensor;
    for (Index size : shape) tensor.integer(1, size);
    tensor.integer(2, static_cast<int>(type)).bytes(8, name).bytes(9, {static_cast<const char*>(data), bytes});
    initializers_.push_back(std::move(tensor));
  }

  OnnxValue laid_out(const OnnxValue& value, bool first) {
    const int rank = value.shape.rank();
    if (rank < 3) return {value.name, value.shape, false};
    if (value.channels_first == first) return value;
    const auto known = other_layout_.find(value.name);
    if (known != other_layout_.end()) return {known->second, value.shape, first};
    std::vector<Index> order{0};
    if (first) order.push_back(rank - 1);
    for (Index axis = first ? 1 : 2; axis < (first ? rank - 1 : rank); ++axis) order.push_back(axis);
    if (!first) order.push_back(1);
    const std::string name = unused(names_, text(value.name, first ? "/channels_first" : "/channels_last"));
    add_node(name, "Transpose", {value.name}, {name}, {{"perm", order}});
    other_layout_[value.name] = name;
    other_layout_[name] = value.name;
    return {name, value.shape, first};
  }

  /// ValueInfoProto with the first axis free.
  static ProtobufWriter value_info(const std::string& name, const OnnxValue& value, OnnxType type) {
    std::vector<Index> sizes(static_cast<std::size_t>(value.shape.rank()));
    for (int axis = 0; axis < value.shape.rank(); ++axis) sizes[static_cast<std::size_t>(value.axis(axis))] = value.shape[axis];
    ProtobufWriter shape;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      ProtobufWriter size;
      if (i == 0)
        size.bytes(2, "N");
      else
        size.integer(1, sizes[i]);
      shape.message(1, size);
    }
    ProtobufWriter tensor, kind, info;
    tensor.integer(1, static_cast<int>(type)).message(2, shape);
    kind.message(1, tensor);
    info.bytes(1, name).message(2, kind);
    return info;
  }

  const OnnxEmitters* emitters_;
  std::string output_name_;
  std::vector<Node> nodes_;
  std::vector<ProtobufWriter> initializers_, inputs_, outputs_;
  std::set<std::string> names_, node_names_;  // of values and initialisers; of nodes
  std::map<std::string, const void*> parameters_;
  std::map<std::string, std::string> shared_, other_layout_;
};

}  // namespace heed::inline HEED_ABI::io
