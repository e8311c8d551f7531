// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "protobuf_reference.hpp"

namespace reference {

/// An ONNX file read field by field, with the numbers of onnx.proto: what the tests of the writer look at.
struct OnnxFile {
  struct Attribute {
    int type = 0;  ///< AttributeProto.AttributeType: 1 float, 2 int, 3 string, 7 ints
    float f = 0;
    std::int64_t i = 0;
    std::string s;
    std::vector<std::int64_t> ints;
  };
  struct Node {
    std::string name, op;
    std::vector<std::string> inputs, outputs;
    std::map<std::string, Attribute> attributes;
    const Attribute& attribute(const std::string& key) const { return attributes.at(key); }
    std::vector<std::int64_t> ints(const std::string& key) const { return attributes.at(key).ints; }
  };
  struct Tensor {
    std::vector<std::int64_t> dims;
    int type = 0;  ///< TensorProto.DataType: 1 float, 7 int64
    std::string raw;
    std::vector<float> floats() const { return numbers<float>(1); }
    std::vector<std::int64_t> integers() const { return numbers<std::int64_t>(7); }

   private:
    template <class T>
    std::vector<T> numbers(int expected) const {
      std::size_t count = 1;
      for (std::int64_t size : dims) count *= static_cast<std::size_t>(size);
      if (type != expected || raw.size() != count * sizeof(T)) throw std::runtime_error("onnx: a tensor of another type or size");
      std::vector<T> values(count);
      std::memcpy(values.data(), raw.data(), raw.size());
      return values;
    }
  };
  struct Value {
    std::string name;
    int type = 0;
    std::vector<std::string> dims;  ///< names, or sizes as text
  };

  std::int64_t ir_version = 0, opset = 0;
  std::string producer, domain, graph_name;
  std::map<std::string, std::string> metadata;
  std::vector<Node> nodes;
  std::map<std::string, Tensor> initializers;
  std::vector<Value> inputs, outputs;

  explicit OnnxFile(std::string_view bytes) {
    for (const ProtobufField& f : protobuf_fields(bytes)) {
      if (f.number == 1) ir_version = signed_of(f);
      if (f.number == 2) producer = f.bytes;
      if (f.number == 7) read_graph(f.bytes);
      if (f.number == 8)
        for (const ProtobufField& o : protobuf_fields(f.bytes)) (o.number == 1 ? void(domain = o.bytes) : void(opset = signed_of(o)));
      if (f.number == 14) {
        std::string key, value;
        for (const ProtobufField& o : protobuf_fields(f.bytes)) (o.number == 1 ? key : value) = o.bytes;
        metadata[key] = value;
      }
    }
    check();
  }

  /// The node of that name; throws if there is none.
  const Node& node(const std::string& name) const {
    for (const Node& node : nodes)
      if (node.name == name) return node;
    throw std::runtime_error("onnx: no node is named " + name);
  }
  /// The kinds of all nodes in their order: "Conv Relu".
  std::string ops() const {
    std::string result;
    for (const Node& node : nodes) result += (result.empty() ? "" : " ") + node.op;
    return result;
  }
  std::set<std::string> initializer_names() const {
    std::set<std::string> names;
    for (const auto& [name, tensor] : initializers) names.insert(name);
    return names;
  }

 private:
  static std::int64_t signed_of(const ProtobufField& f) { return static_cast<std::int64_t>(f.integer); }

  void read_graph(std::string_view bytes) {
    for (const ProtobufField& f : protobuf_fields(bytes)) {
      if (f.number == 1) nodes.push_back(read_node(f.bytes));
      if (f.number == 2) graph_name = f.bytes;
      if (f.number == 5) read_initializer(f.bytes);
      if (f.number == 11) inputs.push_back(read_value(f.bytes));
      if (f.number == 12) outputs.push_back(read_value(f.bytes));
    }
  }
  static Node read_node(std::string_view bytes) {
    Node node;
    for (const ProtobufField& f : protobuf_fields(bytes)) {
      if (f.number == 1) node.inputs.emplace_back(f.bytes);
      if (f.number == 2) node.outputs.emplace_back(f.bytes);
      if (f.number == 3) node.name = f.bytes;
      if (f.number == 4) node.op = f.bytes;
      if (f.number != 5) continue;
      Attribute a;
      std::string name;
      for (const ProtobufField& o : protobuf_fields(f.bytes)) {
        if (o.number == 1) name = o.bytes;
        if (o.number == 2) a.f = o.real();
        if (o.number == 3) a.i = signed_of(o);
        if (o.number == 4) a.s = o.bytes;
        if (o.number == 8) a.ints.push_back(signed_of(o));
        if (o.number == 20) a.type = static_cast<int>(o.integer);
      }
      node.attributes[name] = a;
    }
    return node;
  }
  void read_initializer(std::string_view bytes) {
    Tensor tensor;
    std::string name;
    for (const ProtobufField& f : protobuf_fields(bytes)) {
      if (f.number == 1) tensor.dims.push_back(signed_of(f));
      if (f.number == 2) tensor.type = static_cast<int>(f.integer);
      if (f.number == 8) name = f.bytes;
      if (f.number == 9) tensor.raw = f.bytes;
    }
    if (!initializers.emplace(name, tensor).second) throw std::runtime_error("onnx: two initialisers are named " + name);
  }
  static Value read_value(std::string_view bytes) {
    Value value;
    for (const ProtobufField& f : protobuf_fields(bytes)) {
      if (f.number == 1) value.name = f.bytes;
      if (f.number != 2) continue;
      for (const ProtobufField& kind : protobuf_fields(f.bytes))  // TypeProto.tensor_type
        for (const ProtobufField& t : protobuf_fields(kind.bytes)) {
          if (t.number == 1) value.type = static_cast<int>(t.integer);
          if (t.number != 2) continue;
          for (const ProtobufField& dim : protobuf_fields(t.bytes))
            for (const ProtobufField& d : protobuf_fields(dim.bytes))
              value.dims.push_back(d.number == 1 ? std::to_string(d.integer) : std::string(d.bytes));
        }
    }
    return value;
  }

  /// What every graph must hold to: values are computed once and before they are read, names are given once, nothing is left over.
  void check() const {
    std::set<std::string> known, names, read;
    const auto once = [](std::set<std::string>& set, const std::string& name, const char* what) {
      if (name.empty() || !set.insert(name).second) throw std::runtime_error(std::string("onnx: ") + what + " \"" + name + '"');
    };
    for (const Value& input : inputs) once(known, input.name, "a second input");
    for (const auto& [name, tensor] : initializers) once(known, name, "a second value");
    for (const Node& node : nodes) {
      once(names, node.name, "a second node");
      for (const std::string& input : node.inputs) {
        if (!known.count(input)) throw std::runtime_error("onnx: " + node.name + " reads " + input + ", which is not computed yet");
        read.insert(input);
      }
      for (const std::string& output : node.outputs) once(known, output, "a second value");
    }
    for (const Value& output : outputs) {
      if (!known.count(output.name)) throw std::runtime_error("onnx: nothing computes the output " + output.name);
      read.insert(output.name);
    }
    for (const auto& [name, tensor] : initializers)
      if (!read.count(name)) throw std::runtime_error("onnx: nothing reads " + name);
  }
};

}  // namespace reference
