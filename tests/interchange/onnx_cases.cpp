// SPDX-License-Identifier: MIT
// heed_onnx_cases DIR: writes one small ONNX file for each kind of layer and option, and beside it NAME.safetensors with inputs and heed's output.
// tests/interchange/check_onnx.py runs them in ONNX Runtime.
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/heed.hpp>
#include <heed/io/onnx.hpp>
#include <heed/io/safetensors.hpp>

namespace {

using heed::Index;
using heed::named;
using heed::Shape;
using heed::Tensor;

/// Numbers in ±`size`, different ones each time.
void draw(float* values, Index count, double size, double middle = 0) {
  static std::uint64_t draws = 0;
  const heed::CounterRandom random({7, draws++});
  for (Index i = 0; i < count; ++i) values[i] = static_cast<float>(middle + size * (2 * random.uniform(static_cast<std::uint64_t>(i)) - 1));
}
template <int Rank>
Tensor<float, Rank> drawn(const Shape& shape, double size = 2) {
  Tensor<float, Rank> x(shape);
  draw(x.data(), x.size(), size);
  return x;
}
/// No parameter may be at a value that hides it: biases of 0, scales of 1, statistics of a fresh batch norm.
template <class Model>
void draw_weights(Model& model) {
  for (auto& [name, parameter] : heed::named_parameters(model)) {
    const bool scale = parameter->shape().rank() == 1 && name.ends_with("weight");
    const double fan = static_cast<double>(parameter->size() / parameter->shape()[0]);
    draw(parameter->value(), parameter->size(), scale ? 0.5 : 1.5 / std::sqrt(fan), scale ? 1 : 0);
  }
  for (auto& [name, buffer] : heed::named_buffers(model)) draw(buffer->data(), buffer->size(), 0.5, name.ends_with("var") ? 1 : 0);
}

class Cases {
 public:
  explicit Cases(std::filesystem::path folder) : folder_(std::move(folder)) { std::filesystem::create_directories(folder_); }

  /// The model with drawn weights, on these inputs.
  template <class Model, class... Inputs>
  void add(const std::string& name, Model model, const Inputs&... x) {
    add_with(name, {}, model, x...);
  }
  template <class Model, class... Inputs>
  void add_with(const std::string& name, heed::io::OnnxOptions options, Model& model, const Inputs&... x) {
    draw_weights(model);
    options.input_names.clear();
    for (std::size_t i = 0; i < sizeof...(x); ++i) options.input_names.push_back(heed::text("input.", i));
    heed::io::write_onnx((folder_ / (name + ".onnx")).string(), model, std::vector<Shape>{x.shape()...}, options);
    heed::SafetensorsWriter writer;
    int number = 0;
    (writer.add(heed::text("input.", number++), x), ...);
    const auto y = model.forward(x...);
    writer.add("output", y);
    writer.set_metadata("channels_first", options.channels_first ? "true" : "false");
    writer.set_metadata("rows_alone", name.ends_with("whole_batch") ? "false" : "true");
    writer.write((folder_ / (name + ".safetensors")).string());
    ++count_;
  }
  int count() const { return count_; }

 private:
  std::filesystem::path folder_;
  int count_ = 0;
};

void rows(Cases& cases) {
  using namespace heed;
  const auto matrix = drawn<2>({3, 5});
  const auto tokens = drawn<3>({2, 7, 6});
  const auto image = drawn<4>({2, 5, 3, 6});
  cases.add("linear_matrix", Linear<float>({.in_features = 5, .out_features = 4}), matrix);
  cases.add("linear_without_bias", Linear<float>({.in_features = 5, .out_features = 4, .bias = false}), matrix);
  cases.add("linear_tokens", Linear<float>({.in_features = 6, .out_features = 1}), tokens);
  cases.add("linear_image_without_bias", Linear<float>({.in_features = 6, .out_features = 4, .bias = false}), image);
  cases.add("qkv_projection", QkvProjection<float>({.in_features = 6, .model_width = 4}), tokens);
  cases.add("output_projection", OutputProjection<float>({.context_features = 4, .input_features = 6, .out_features = 5}),
      drawn<3>({2, 7, 4}), tokens);
  const auto wide = drawn<2>({9, 33}, 8);
  cases.add("relu", Relu<float>(), wide);
  cases.add("gelu", Gelu<float>(), wide);
  cases.add("gelu_tanh", Gelu<float>({.approximate = GeluApproximation::tanh}), wide);
  cases.add("silu_image", Silu<float>(), image);
  cases.add("swish", Silu<float>({.alpha = 1.7}), wide);
  for (const int dim : {-1, 1}) cases.add(text("softmax_", dim), Softmax<float>({.dim = dim}), image);
  cases.add("softmax_whole_batch", Softmax<float>({.dim = 0}), wide);
  cases.add("log_softmax", LogSoftmax<float>(), wide);
  cases.add("log_softmax_height", LogSoftmax<float>({.dim = -3}), image);
  cases.add("elu", Elu<float>({.alpha = 0.6}), wide);
  cases.add("leaky_relu_image", LeakyRelu<float>({.negative_slope = 0.3}), image);
  cases.add("sigmoid", Sigmoid<float>(), wide);
  cases.add("tanh_tokens", Tanh<float>(), tokens);
  cases.add("rms_norm", RMSNorm<float>({.normalized_shape = {6}, .eps = 1e-3}), tokens);
  cases.add("rms_norm_two_axes", RMSNorm<float>({.normalized_shape = {7, 6}}), tokens);
  cases.add("rms_norm_plain", RMSNorm<float>({.normalized_shape = {6}, .elementwise_affine = false}), image);
  Tensor<std::int64_t, 2> numbers({3, 4});
  for (Index i = 0; i < numbers.size(); ++i) numbers[i] = i * i % 7;
  cases.add("embedding", Embedding<float>({.num_embeddings = 7, .embedding_dim = 5}), numbers);
  cases.add("embedding_net",
      Sequential(Embedding<float>({.num_embeddings = 7, .embedding_dim = 6}), PositionalEncoding<float>({.features = 6, .tokens = 5}),
          Linear<float>({.in_features = 6, .out_features = 7})),
      numbers);
  cases.add("dropout", Dropout<float>({.p = 0.5}), tokens);
  cases.add("flatten_image", Flatten<float>(), image);
  cases.add("flatten_tokens", Flatten<float, 3>(), tokens);
  cases.add("layer_norm", LayerNorm<float>({.normalized_shape = {6}, .eps = 1e-3}), tokens);
  cases.add("layer_norm_two_axes", LayerNorm<float>({.normalized_shape = {7, 6}, .bias = false}), tokens);
  cases.add("layer_norm_plain", LayerNorm<float>({.normalized_shape = {6}, .elementwise_affine = false}), image);
  for (const PositionKind kind : {PositionKind::sine, PositionKind::learned})
    for (const PositionUse use : {PositionUse::added, PositionUse::multiplied}) {
      const std::string name =
          text("positions_", kind == PositionKind::sine ? "sine" : "learned", use == PositionUse::added ? "_added" : "_multiplied");
      cases.add(name + "_tokens", PositionalEncoding<float>({.features = 6, .tokens = 9, .kind = kind, .use = use}), tokens);
      cases.add(name + "_map", PositionalEncoding<float>({.features = 6, .height = 5, .width = 3, .kind = kind, .use = use}), image);
    }
  cases.add("positions_map_as_tokens", PositionalEncoding<float>({.features = 6, .height = 7, .width = 1}), tokens);
  cases.add("positions_all_tokens", PositionalEncoding<float>({.features = 6, .tokens = 7}), tokens);
  cases.add("empty_stack", Stack<Linear<float>>({}), tokens);
  cases.add("sequential_names",
      Sequential(named("input", Linear<float>({.in_features = 6, .out_features = 6})), named("tanh", Silu<float>()),
          named("output", Linear<float>({.in_features = 6, .out_features = 2}))),
      tokens);
}

void images(Cases& cases) {
  using namespace heed;
  const auto image = drawn<4>({2, 7, 5, 6});
  const auto one = drawn<4>({1, 1, 1, 1});
  cases.add("conv2d", Conv2d<float>({.in_channels = 6, .out_channels = 4, .kernel_size = 3, .padding = 1}), image);
  cases.add("conv2d_rectangle",
      Conv2d<float>({.in_channels = 6, .out_channels = 4, .kernel_size = {3, 2}, .stride = {2, 1}, .padding = {1, 0}, .bias = false}),
      image);
  cases.add("conv2d_sides", Conv2d<float>({.in_channels = 6, .out_channels = 4, .kernel_size = {2, 3}, .padding = {0, 1, 3, 2}}), image);
  cases.add(
      "conv2d_groups", Conv2d<float>({.in_channels = 6, .out_channels = 4, .kernel_size = {3, 2}, .dilation = {2, 3}, .groups = 2}), image);
  cases.add("conv2d_depthwise", Conv2d<float>({.in_channels = 6, .out_channels = 6, .kernel_size = 3, .padding = 1, .groups = 6}), image);
  cases.add("conv2d_one_pixel", Conv2d<float>({.in_channels = 1, .out_channels = 1}), one);
  cases.add("max_pool2d", MaxPool2d<float>({.kernel_size = 2}), image);
  cases.add("max_pool2d_overlapping", MaxPool2d<float>({.kernel_size = {3, 2}, .stride = {2, 1}, .padding = {1, 1}}), image);
  cases.add("max_pool2d_ceil", MaxPool2d<float>({.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true}), drawn<4>({2, 8, 6, 3}));
  cases.add("max_pool2d_dilated",
      MaxPool2d<float>({.kernel_size = {3, 2}, .stride = 2, .padding = 1, .dilation = {2, 3}, .ceil_mode = true}), image);
  cases.add("avg_pool2d", AvgPool2d<float>({.kernel_size = {2, 3}}), image);
  for (const bool counted : {false, true}) {
    const std::string name = counted ? "_counted" : "_uncounted";
    cases.add(
        "avg_pool2d_padded" + name, AvgPool2d<float>({.kernel_size = 3, .stride = 2, .padding = 1, .count_include_pad = counted}), image);
    cases.add("avg_pool2d_ceil" + name,
        AvgPool2d<float>({.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = counted}),
        drawn<4>({2, 8, 6, 3}));
  }
  cases.add("max_pool2d_wide_border", MaxPool2d<float>({.kernel_size = 2, .stride = 2, .padding = 3, .dilation = 5}), image);
  for (const bool counted : {false, true})
    cases.add(text("avg_pool2d_dilated_", counted),
        AvgPool2d<float>({.kernel_size = {3, 2},
            .stride = 2,
            .padding = {2, 1, 0, 1},
            .dilation = {2, 3},
            .ceil_mode = true,
            .count_include_pad = counted}),
        image);
  cases.add("avg_pool2d_divisor", AvgPool2d<float>({.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true, .divisor_override = 5}),
      drawn<4>({2, 8, 6, 3}));
  const auto sequence = drawn<3>({2, 9, 6});
  cases.add("conv1d",
      Conv1d<float>({.in_channels = 6, .out_channels = 4, .kernel_size = 3, .stride = 2, .padding = 1, .dilation = 2, .groups = 2}),
      sequence);
  cases.add(
      "conv1d_causal", Conv1d<float>({.in_channels = 6, .out_channels = 4, .kernel_size = 3, .padding = {2, 0}, .bias = false}), sequence);
  cases.add("max_pool1d", MaxPool1d<float>({.kernel_size = 3, .stride = 2, .padding = {1, 0}, .ceil_mode = true}), sequence);
  cases.add("avg_pool1d", AvgPool1d<float>({.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true}), sequence);
  cases.add("global_avg_pool1d", GlobalAvgPool1d<float>(), sequence);
  cases.add("global_max_pool1d", GlobalMaxPool1d<float>(), sequence);
  cases.add("sequence_net",
      Sequential(Conv1d<float>({.in_channels = 6, .out_channels = 4, .kernel_size = 3, .padding = 1}),
          BatchNorm1d<float>({.num_features = 4}), Relu<float>(), MaxPool1d<float>({.kernel_size = 2}),
          Linear<float>({.in_features = 4, .out_features = 5})),
      sequence);
  cases.add("global_avg_pool2d", GlobalAvgPool2d<float>(), image);
  cases.add("global_max_pool2d", GlobalMaxPool2d<float>(), image);
  cases.add("batch_norm2d", BatchNorm2d<float>({.num_features = 6, .eps = 1e-3}), image);
  cases.add("batch_norm2d_plain", BatchNorm2d<float>({.num_features = 6, .affine = false}), image);
  cases.add("batch_norm2d_frozen_scale", BatchNorm2d<float>({.num_features = 6, .frozen_scale = true}), image);
  cases.add("batch_norm2d_whole_batch", BatchNorm2d<float>({.num_features = 6, .track_running_stats = false}), image);
  cases.add("batch_norm1d_rows", BatchNorm1d<float>({.num_features = 5}), drawn<2>({4, 5}));
  cases.add("batch_norm1d_tokens", BatchNorm1d<float>({.num_features = 6}), drawn<3>({2, 7, 6}));
  cases.add("batch_norm1d_whole_batch", BatchNorm1d<float>({.num_features = 6, .track_running_stats = false}), drawn<3>({2, 7, 6}));
  cases.add("group_norm", GroupNorm<float>({.num_groups = 2, .num_channels = 6, .eps = 1e-3}), image);
  cases.add("group_norm_instances", GroupNorm<float>({.num_groups = 6, .num_channels = 6}), image);
  cases.add("group_norm_tokens", GroupNorm<float>({.num_groups = 1, .num_channels = 6}), drawn<3>({2, 7, 6}));
  cases.add("group_norm_rows", GroupNorm<float>({.num_groups = 2, .num_channels = 6, .eps = 1e-2, .affine = false}), drawn<2>({4, 6}));
  // Layouts change between the layers, and x of the residual is read in both.
  cases.add("layouts",
      Sequential(named("conv", Conv2d<float>({.in_channels = 6, .out_channels = 4, .kernel_size = 3, .padding = 1})),
          named("block", Residual(Sequential(named("norm", LayerNorm<float>({.normalized_shape = {4}})),
                             named("conv", Conv2d<float>({.in_channels = 4, .out_channels = 4})), named("gelu", Gelu<float>())))),
          named("last", Residual(Linear<float>({.in_features = 4, .out_features = 4}))), named("pool", GlobalMaxPool2d<float>())),
      image);
  cases.add("residual_shortcut",
      Sequential(Residual(Sequential(Conv2d<float>({.in_channels = 6, .out_channels = 8, .kernel_size = 3, .stride = 2, .padding = 1}),
                              Relu<float>(), Conv2d<float>({.in_channels = 8, .out_channels = 8, .kernel_size = 3, .padding = 1})),
                     Conv2d<float>({.in_channels = 6, .out_channels = 8, .stride = 2})),
          GlobalAvgPool2d<float>()),
      image);
  io::OnnxOptions channels_last{.channels_first = false};
  Sequential net(
      Conv2d<float>({.in_channels = 6, .out_channels = 4, .kernel_size = 3}), Relu<float>(), MaxPool2d<float>({.kernel_size = 2}));
  cases.add_with("channels_last", channels_last, net, image);
}

void attention(Cases& cases) {
  using namespace heed;
  const auto tokens = drawn<3>({2, 7, 6});
  const auto map = drawn<4>({2, 3, 5, 6});
  io::OnnxOptions as_is{.channels_first = false};
  struct Named {
    const char* name;
    ScaledDotProductAttentionOptions options;
  };
  for (const Named& c : {Named{"plain", {.num_heads = 3}}, Named{"scale", {.num_heads = 1, .scale = -0.3}},
           Named{"softcap", {.num_heads = 3, .softcap = 0.7}}, Named{"causal", {.num_heads = 2, .causal = true}},
           Named{"causal_bottom_right", {.num_heads = 2, .causal = true, .alignment = CausalAlignment::bottom_right}}}) {
    ScaledDotProductAttention<float> layer(c.options);
    cases.add(text("sdpa_", c.name), layer, tokens, drawn<3>({2, 9, 6}), drawn<3>({2, 9, 6}));
    cases.add(text("sdpa_", c.name, "_more_queries"), layer, tokens, drawn<3>({2, 4, 6}), drawn<3>({2, 4, 12}));
    cases.add_with(text("sdpa_", c.name, "_heads"), as_is, layer, drawn<4>({2, 3, 4, 5}), drawn<4>({2, 3, 6, 5}), drawn<4>({2, 3, 6, 2}));
  }
  ScaledDotProductAttention<float> grouped({.num_heads = 6, .num_kv_heads = 2, .causal = true});
  cases.add("sdpa_grouped", grouped, drawn<3>({2, 5, 24}), drawn<3>({2, 6, 8}), drawn<3>({2, 6, 6}));
  cases.add_with("sdpa_grouped_heads", as_is, grouped, drawn<4>({2, 6, 5, 4}), drawn<4>({2, 2, 6, 4}), drawn<4>({2, 2, 6, 3}));

  for (int bits = 0; bits < 16; ++bits) {
    const MultiHeadAttentionOptions o{.embed_dim = 6,
        .num_heads = bits % 3 + 1,
        .bias = (bits & 1) == 0,
        .add_bias_kv = (bits & 2) != 0,
        .add_zero_attn = (bits & 4) != 0,
        .causal = (bits & 8) != 0};
    cases.add(text("mha_self_", bits), MultiHeadAttention<float>(o), tokens);
  }
  cases.add("mha_cross", MultiHeadAttention<float>({.embed_dim = 6, .num_heads = 2}), tokens, drawn<3>({2, 4, 6}), drawn<3>({2, 4, 6}));
  cases.add("mha_cross_widths",
      MultiHeadAttention<float>({.embed_dim = 6, .num_heads = 3, .add_bias_kv = true, .kdim = 5, .vdim = 4, .causal = true}), tokens,
      drawn<3>({2, 9, 5}), drawn<3>({2, 9, 4}));

  for (const bool interleaved : {false, true}) {
    const std::string form = interleaved ? "_pairs" : "_halves";
    RotaryEmbedding<float> rotary({.head_dim = 6, .rotary_dim = 4, .base = 10, .interleaved = interleaved, .max_positions = 12});
    cases.add("rotary" + form, rotary, drawn<3>({2, 7, 18}));
    cases.add_with("rotary_heads" + form, as_is, rotary, drawn<4>({2, 3, 7, 6}));
    cases.add("rotary_whole" + form, RotaryEmbedding<float>({.head_dim = 6, .base = 10, .interleaved = interleaved}), tokens);
    cases.add("mha_rotary" + form,
        MultiHeadAttention<float>({.embed_dim = 24,
            .num_heads = 6,
            .add_bias_kv = true,
            .causal = true,
            .num_kv_heads = 2,
            .rotary = RotaryEmbeddingOptions{.base = 10, .interleaved = interleaved}}),
        drawn<3>({2, 7, 24}));
  }
  for (int bits = 0; bits < 8; ++bits)
    cases.add(text("mha_alibi_", bits),
        MultiHeadAttention<float>({.embed_dim = 24,
            .num_heads = 6,
            .add_bias_kv = (bits & 1) != 0,
            .causal = (bits & 2) != 0,
            .num_kv_heads = bits & 4 ? 2 : 6,
            .alibi = true}),
        drawn<3>({2, 7, 24}));
  cases.add("mha_grouped_cross", MultiHeadAttention<float>({.embed_dim = 24, .num_heads = 6, .kdim = 5, .vdim = 4, .num_kv_heads = 3}),
      drawn<3>({2, 7, 24}), drawn<3>({2, 4, 5}), drawn<3>({2, 4, 4}));
  cases.add("encoder_grouped_rotary",
      TransformerEncoderLayer<float>({.d_model = 16,
          .nhead = 4,
          .dim_feedforward = 9,
          .norm_first = true,
          .causal = true,
          .num_kv_heads = 1,
          .rotary = RotaryEmbeddingOptions{}}),
      drawn<3>({2, 7, 16}));
  for (const AttentionKind kind : {AttentionKind::full, AttentionKind::identity, AttentionKind::uniform}) {
    const std::string name = text("fusion_", kind == AttentionKind::full       ? "full"
                                             : kind == AttentionKind::identity ? "identity"
                                                                               : "uniform");
    cases.add(name + "_map", AttentionFusion<float>({.features = 6, .num_heads = 3, .height = 3, .width = 5, .attention = kind}), map);
    cases.add(name + "_tokens",
        AttentionFusion<float>({.features = 6,
            .num_heads = 2,
            .tokens = 8,
            .position = PositionKind::learned,
            .position_use = PositionUse::multiplied,
            .attention = kind,
            .qkv_bias = true}),
        tokens);
  }
  cases.add(
      "fusion_relative_map", AttentionFusion<float>({.features = 6, .num_heads = 3, .height = 3, .width = 5, .relative_bias = true}), map);
  cases.add("fusion_relative_tokens", AttentionFusion<float>({.features = 6, .num_heads = 2, .tokens = 8, .relative_bias = true}), tokens);
  for (int bits = 0; bits < 16; ++bits) {
    const TransformerEncoderLayerOptions o{.d_model = 6,
        .nhead = bits % 3 + 1,
        .dim_feedforward = 9,
        .activation = bits & 1 ? FeedForwardActivation::gelu : FeedForwardActivation::relu,
        .norm_first = (bits & 2) != 0,
        .bias = (bits & 4) == 0,
        .causal = (bits & 8) != 0};
    cases.add(text("encoder_", bits), TransformerEncoderLayer<float>(o), tokens);
  }
  std::vector<TransformerEncoderLayer<float>> blocks(
      2, TransformerEncoderLayer<float>({.d_model = 6, .nhead = 2, .dim_feedforward = 5, .norm_first = true}));
  cases.add("encoder_stack",
      Sequential(named("blocks", Stack(std::move(blocks))), named("norm", LayerNorm<float>({.normalized_shape = {6}})),
          named("pool", SequencePool<float>({.features = 6})), named("head", Linear<float>({.in_features = 6, .out_features = 4}))),
      tokens);
  cases.add("sequence_pool", SequencePool<float>({.features = 6}), tokens);
  cases.add("sequence_pool_map", SequencePool<float, 4>({.features = 6}), map);
  cases.add("one_token", MultiHeadAttention<float>({.embed_dim = 6, .num_heads = 2, .causal = true}), drawn<3>({1, 1, 6}));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "heed_onnx_cases DIR\n"), 2;
  try {
    Cases cases(argv[1]);
    rows(cases);
    images(cases);
    attention(cases);
    std::printf("%d models in %s\n", cases.count(), argv[1]);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "heed_onnx_cases: %s\n", error.what()), 1;
  }
  return 0;
}
