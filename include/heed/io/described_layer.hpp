// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/core/layer.hpp>
#include <heed/io/dtype.hpp>

namespace heed::inline HEED_ABI::io {

/// A parameter, a buffer or a constant of a described model: a view, valid as long as the model.
struct DescribedTensor {
  std::string name;  ///< its own, "weight"
  Shape shape;       ///< as the parameter's
  Dtype dtype;       ///< float or double
  const void* data;  ///< the model's own

  /// The numbers as floats, the nearest ones.
  std::vector<float> floats() const {
    std::vector<float> result(static_cast<std::size_t>(shape.size()));
    heed::detail::convert_numbers(dtype, static_cast<const unsigned char*>(data), result.size(), result.data());
    return result;
  }
};

/// What a layer tells about itself (see Visitor), kept as a tree: what writers of other formats read instead of layer types.
struct DescribedLayer {
  std::string path, kind;                                    ///< "block1.conv1", empty for the model itself; "Conv2d"
  std::vector<std::pair<std::string, std::string>> options;  ///< names and values, as the layer described them
  std::vector<DescribedTensor> tensors;                      ///< parameters, buffers and constants that are not empty
  std::vector<DescribedLayer> children;                      ///< in the order of the walk
  Shape out = {};  ///< for the given inputs; rank 0 where the model does not say (a layer inside of a layer that runs it by itself)

  /// For messages: "layer block1.conv1 (Conv2d)".
  std::string label() const { return path.empty() ? text("the model (", kind, ")") : text("layer ", path, " (", kind, ")"); }
  /// "block1.conv1.weight".
  std::string path_of(std::string_view name) const { return path.empty() ? std::string(name) : text(path, '.', name); }

  /// The option `name`; throws std::invalid_argument if the layer does not describe it, or if it is no such thing.
  const std::string& option(std::string_view name) const {
    for (const auto& [key, value] : options)
      if (key == name) return value;
    fail(label(), " describes no option ", name);
  }
  /// Whether the layer describes the option `name`.
  bool has_option(std::string_view name) const {
    return std::any_of(options.begin(), options.end(), [&](const auto& o) { return o.first == name; });
  }
  /// The option as a number, a whole number, or a boolean; throws as `option` does.
  /// @{
  double number(std::string_view name) const {
    const std::string& value = option(name);
    char* end = nullptr;
    const double result = std::strtod(value.c_str(), &end);
    require(!value.empty() && *end == '\0', label(), ": option ", name, " is \"", value, "\", expected a number");
    return result;
  }
  Index integer(std::string_view name) const {
    const std::vector<Index> values = integers(name);
    require(values.size() == 1, label(), ": option ", name, " is \"", option(name), "\", expected one whole number");
    return values[0];
  }
  bool flag(std::string_view name) const {
    /// @}
    const std::string& value = option(name);
    require(value == "true" || value == "false", label(), ": option ", name, " is \"", value, "\", expected true or false");
    return value == "true";
  }
  /// The whole numbers of "3", "3x3" and "0,1,2,1".
  std::vector<Index> integers(std::string_view name) const {
    const std::string& value = option(name);
    std::vector<Index> result;
    for (const char *at = value.data(), *end = at + value.size(); at <= end; ++at) {
      Index number = 0;
      const auto [stop, error] = std::from_chars(at, end, number);
      require(error == std::errc() && (stop == end || *stop == 'x' || *stop == ','), label(), ": option ", name, " is \"", value,
          "\", expected whole numbers");
      result.push_back(number);
      at = stop;
    }
    return result;
  }

  /// Null if there is none of that name.
  const DescribedTensor* find(std::string_view name) const {
    const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const DescribedTensor& t) { return t.name == name; });
    return found == tensors.end() ? nullptr : &*found;
  }
  /// Throws std::invalid_argument if there is none of that name.
  const DescribedTensor& tensor(std::string_view name) const {
    const DescribedTensor* found = find(name);
    require(found != nullptr, label(), " describes no ", name);
    return *found;
  }
  /// Whether there is a child of that name.
  bool has_child(std::string_view name) const {
    return std::any_of(children.begin(), children.end(), [&](const DescribedLayer& c) { return c.path == path_of(name); });
  }
  /// The child of that name ("linear1"). Throws std::invalid_argument if there is none.
  const DescribedLayer& child(std::string_view name) const {
    const std::string wanted = path_of(name);
    const auto found = std::find_if(children.begin(), children.end(), [&](const DescribedLayer& c) { return c.path == wanted; });
    require(found != children.end(), label(), " describes no child ", name);
    return *found;
  }
};

/// The tree of `model`, with the shapes of its layers for inputs of the shapes `in`. Throws ShapeError for inputs that the model refuses.
template <class Model, class... Shapes>
DescribedLayer describe_layers(const Model& model, const Shapes&... in) {
  using T = typename Model::scalar;

  struct Seen final : ShapeObserver {
    std::vector<std::pair<std::string, Shape>> outputs;
    void seen(const Shape&, const Shape& out, double) override { outputs.emplace_back(layer_path(), out); }
  };
  struct Walk final : Visitor<T> {
    DescribedLayer root;
    std::vector<DescribedLayer*> open{&root};
    Seen shapes;
    using Visitor<T>::parameter;
    using Visitor<T>::buffer;
    using Visitor<T>::option;
    void kind(std::string_view name) override { open.back()->kind = name; }
    void option(std::string_view name, const std::string& value) override { open.back()->options.emplace_back(name, value); }
    void parameter(std::string_view name, const Parameter<T>& p) override { add(name, p.shape(), p.value()); }
    void buffer(std::string_view name, const Tensor<T, 1>& b) override { add(name, b.shape(), b.data()); }
    void constant(std::string_view name, const Shape& shape, const T* values) override { add(name, shape, values); }
    void enter(std::string_view name) override {
      Visitor<T>::enter(name);
      DescribedLayer child;
      child.path = this->path();
      for (const auto& [path, out] : shapes.outputs)
        if (path == child.path) child.out = out;
      open.back()->children.push_back(std::move(child));
      open.push_back(&open.back()->children.back());  // an open layer's siblings are complete, so it does not move
    }
    void leave() override {
      Visitor<T>::leave();
      open.pop_back();
    }
    void add(std::string_view name, const Shape& shape, const T* values) {
      if (shape.rank() > 0 && shape.size() > 0) open.back()->tensors.push_back({std::string(name), shape, dtype_of<T>(), values});
    }
  };

  Walk walk;
  walk.root.out = model.output_shape(in...);
  model.describe(walk);
  return std::move(walk.root);
}

}  // namespace heed::inline HEED_ABI::io
