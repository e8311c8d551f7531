// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <heed/core/layer.hpp>

namespace heed::inline HEED_ABI {

/// One layer of a summary.
struct LayerSummary {
  std::string path = {};             ///< "block1.conv1", empty for the model itself
  std::string kind = {};             ///< "Conv2d"
  Shape in = {}, out = {};           ///< rank 0 where the model does not say (a layer inside of a layer that runs it by itself)
  Index parameters = 0, frozen = 0;  ///< its own numbers (not its children's), and how many of them are not trained
  Index buffers = 0;                 ///< numbers that are saved but not trained
  double multiply_adds = 0;          ///< of one forward pass, its own
  bool has_children = false;         ///< whether it is composed of the layers behind it that lie deeper
  int depth = 0;                     ///< number of layers around it
  /// Of one forward pass: two for each multiply-add.
  double flops() const { return 2 * multiply_adds; }
};

/// What a model consists of and costs for one input.
struct ModelSummary {
  std::vector<LayerSummary> layers = {};          ///< in the order of the walk, the model itself first
  Shape in = {}, out = {};                        ///< shapes of x and y
  Index parameters = 0, frozen = 0, buffers = 0;  ///< numbers: trained or trainable, of these frozen, and saved but not trained
  double multiply_adds = 0;                       ///< of one forward pass
  Index activations = 0;         ///< numbers in the outputs of all innermost layers whose shape is known: about what training keeps
  std::size_t scalar_bytes = 0;  ///< of one number

  /// Of one forward pass: 2 for a multiply-add.
  double flops() const { return 2 * multiply_adds; }
  /// Of one training step: forward, gradients of inputs, gradients of parameters; without the last two for what is frozen.
  double training_flops() const { return training_flops_; }
  /// Of parameters and buffers.
  double parameter_bytes() const { return static_cast<double>(parameters + buffers) * static_cast<double>(scalar_bytes); }
  /// Of `activations`.
  double activation_bytes() const { return static_cast<double>(activations) * static_cast<double>(scalar_bytes); }

  double training_flops_ = 0;  ///< see training_flops()
};

/// Describes `model` for inputs of shape `in` (one image: {1, 32, 32, 3}), without running it.
///
/// It knows no layer types. Shapes are those that the composers ask of their children (see ShapeObserver). A parameter of two or more axes
/// is a matrix that multiplies every row of the layer's output once: size multiply-adds a row, which is right for linear layers and
/// convolutions of any kind (weight (out, in / groups, height, width), rows = images x height x width of the output); tables that are looked up cost
/// nothing. Where a layer does not say what
/// it asks of its children, their rows are those of its output. Products of activations with each other (attention) are what the layer
/// says in `activation_products`. Additions, norms, activations and pooling are not counted: they are less than a hundredth.
template <class Model>
ModelSummary summarize(const Model& model, const Shape& in) {
  using T = typename Model::scalar;

  struct Seen {
    std::string path = {};
    Shape in = {}, out = {};
    double products;
  };
  struct Shapes final : ShapeObserver {
    std::vector<Seen> all;
    void seen(const Shape& from, const Shape& to, double products) override { all.push_back({layer_path(), from, to, products}); }
  };
  struct Walk final : Visitor<T> {
    std::vector<LayerSummary> layers{1};
    std::vector<std::size_t> open{0};
    std::vector<std::vector<Index>> matrices{1};  // sizes of each layer's parameters of two or more axes
    std::vector<Index> trained_matrices{0};
    using Visitor<T>::parameter;
    using Visitor<T>::buffer;
    void kind(std::string_view name) override { layers[open.back()].kind = name; }
    void enter(std::string_view name) override {
      Visitor<T>::enter(name);
      layers[open.back()].has_children = true;
      layers.push_back({.path = this->path(), .depth = static_cast<int>(open.size())});
      matrices.emplace_back();
      trained_matrices.push_back(0);
      open.push_back(layers.size() - 1);
    }
    void leave() override {
      Visitor<T>::leave();
      open.pop_back();
    }
    using Visitor<T>::table;
    void table(std::string_view, const Parameter<T>& p) override {
      LayerSummary& layer = layers[open.back()];
      layer.parameters += p.size();
      if (p.frozen()) layer.frozen += p.size();
    }
    void parameter(std::string_view name, const Parameter<T>& p) override {
      table(name, p);
      if (p.shape().rank() >= 2) matrices[open.back()].push_back(p.size());
      if (p.shape().rank() >= 2 && !p.frozen()) trained_matrices[open.back()] += p.size();
    }
    void buffer(std::string_view, const Tensor<T, 1>& b) override { layers[open.back()].buffers += b.size(); }
  };

  ModelSummary summary{.in = in, .scalar_bytes = sizeof(T)};
  Shapes shapes;
  summary.out = model.output_shape(in);
  {
    double products = 0;
    if constexpr (requires { model.activation_products(in); }) products = model.activation_products(in);
    shapes.all.push_back({"", in, summary.out, products});
  }
  Walk walk;
  model.describe(walk);

  std::vector<double> rows(walk.layers.size());
  bool trained_before = false;  // the first layers need no gradient of their input
  for (std::size_t i = 0; i < walk.layers.size(); ++i) {
    LayerSummary& layer = walk.layers[i];
    const auto found = std::find_if(shapes.all.begin(), shapes.all.end(), [&](const Seen& s) { return s.path == layer.path; });
    double products = 0;
    if (found != shapes.all.end()) {
      layer.in = found->in;
      layer.out = found->out;
      products = found->products;
      rows[i] = static_cast<double>(layer.out.rows());
    } else {  // the nearest layer around it that has a shape stands before it
      for (std::size_t j = i; j-- > 0;)
        if (walk.layers[j].depth < layer.depth && layer.path.starts_with(walk.layers[j].path)) {
          rows[i] = rows[j];
          break;
        }
    }
    double own = 0;
    for (Index size : walk.matrices[i]) own += static_cast<double>(size) * rows[i];
    layer.multiply_adds = own + products;
    const double trained = static_cast<double>(walk.trained_matrices[i]) * rows[i];
    summary.training_flops_ += 2 * (layer.multiply_adds + trained + products + (trained_before ? layer.multiply_adds : 0));
    if (layer.parameters > layer.frozen) trained_before = true;
    summary.parameters += layer.parameters;
    summary.frozen += layer.frozen;
    summary.buffers += layer.buffers;
    summary.multiply_adds += layer.multiply_adds;
  }
  for (std::size_t i = 0; i < walk.layers.size(); ++i) {
    const LayerSummary& layer = walk.layers[i];
    bool innermost = layer.out.rank() > 0;  // of the layers whose shape is known
    for (std::size_t j = i + 1; j < walk.layers.size() && walk.layers[j].depth > layer.depth; ++j)
      innermost = innermost && walk.layers[j].out.rank() == 0;
    if (innermost) summary.activations += layer.out.size();
  }
  summary.layers = std::move(walk.layers);
  return summary;
}

namespace detail {
/// "1.23 M": three digits and a unit.
inline std::string short_number(double value, const char* unit = "") {
  constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T"};
  int prefix = 0;
  while (value >= 999.5 && prefix < 4) value /= 1000, ++prefix;
  char digits[40];
  const int places = (prefix == 0 && value == static_cast<double>(static_cast<long long>(value))) || value >= 99.95 ? 0
                     : value >= 9.995                                                                               ? 1
                                                                                                                    : 2;
  std::snprintf(digits, sizeof digits, "%.*f", places, value);
  return text(digits, *kPrefixes[prefix] || *unit ? " " : "", kPrefixes[prefix], unit);
}
/// 1234567 as "1,234,567".
inline std::string grouped(Index value) {
  std::string result = std::to_string(value);
  for (std::size_t i = result.size(); i > 3 && result[i - 4] != '-';) result.insert(i -= 3, ",");
  return result;
}
}  // namespace detail

/// The summary as a table of text: layers that hold numbers or change the shape, and the sums.
inline std::string summary_table(const ModelSummary& summary) {
  struct Row {
    std::string cells[5];
  };
  std::vector<Row> rows{{{"layer", "kind", "output", "parameters", "FLOPs"}}};
  const auto shape_of = [](const Shape& shape) { return shape.rank() == 0 ? std::string() : shape.to_string(); };
  // A composite of which no child has a shape is one row, with what its children hold.
  std::vector<bool> hidden(summary.layers.size());
  for (std::size_t i = 1; i < summary.layers.size(); ++i) {
    const LayerSummary& layer = summary.layers[i];
    if (hidden[i]) continue;
    Index parameters = layer.parameters, frozen = layer.frozen;
    double flops = layer.flops();
    bool shapes_inside = false;
    std::size_t end = i + 1;
    for (; end < summary.layers.size() && summary.layers[end].depth > layer.depth; ++end)
      shapes_inside = shapes_inside || summary.layers[end].out.rank() > 0;
    if (layer.has_children && shapes_inside && layer.parameters == 0 && layer.multiply_adds == 0) continue;  // its children are rows
    if (layer.has_children && !shapes_inside)
      for (std::size_t j = i + 1; j < end; ++j) {
        hidden[j] = true;
        parameters += summary.layers[j].parameters;
        frozen += summary.layers[j].frozen;
        flops += summary.layers[j].flops();
      }
    std::string count = parameters == 0 ? std::string() : detail::grouped(parameters);
    if (frozen > 0) count += frozen == parameters ? std::string(" frozen") : text(" (", detail::grouped(frozen), " frozen)");
    rows.push_back({{layer.path, layer.kind, shape_of(layer.out), count, flops > 0 ? detail::short_number(flops) : ""}});
  }
  std::size_t width[5] = {};
  for (const Row& row : rows)
    for (int c = 0; c < 5; ++c) width[c] = std::max(width[c], row.cells[c].size());
  std::string table;
  const auto line = [&](const Row& row) {
    std::string one;
    for (int c = 0; c < 5; ++c) {
      const std::string gap(width[c] - row.cells[c].size(), ' ');
      if (c > 0) one += "  ";
      one += c < 3 ? text(row.cells[c], gap) : text(gap, row.cells[c]);
    }
    one.resize(one.find_last_not_of(' ') + 1);
    table += one;
    table += '\n';
  };
  const auto rule = [&] { table += text(std::string(width[0] + width[1] + width[2] + width[3] + width[4] + 8, '-'), '\n'); };
  for (std::size_t r = 0; r < rows.size(); ++r) {
    line(rows[r]);
    if (r == 0) rule();
  }
  rule();
  using detail::grouped, detail::short_number;
  return text(table, "input ", summary.in, ", output ", summary.out, "; ", grouped(summary.parameters), " parameters (",
      grouped(summary.frozen), " frozen), ", short_number(summary.parameter_bytes(), "B"), " with buffers\n",
      short_number(summary.flops(), "FLOP"), " forward, ", short_number(summary.training_flops(), "FLOP"), " to train on, ",
      short_number(summary.activation_bytes(), "B"), " of activations, for this input\n");
}

}  // namespace heed::inline HEED_ABI
