// SPDX-License-Identifier: MIT
// Training gives the same weights with any number of threads, on each back end, inside a caller's parallel region and beside another training. This
// file holds the nets of the common options; same_bits_options_test.cpp holds the others (tests/checks/same_bits.py: every layer and option is in one of them).
#include "same_bits.hpp"

using namespace heed;

namespace {

Conv2d<float> conv(const Conv2dOptions& options) { return Conv2d<float>(options); }

/// The layers of images: (N, 14, 13, 3) to four classes. Convolutions take each of their kernels: few channels, Winograd, groups of one and of several
/// channels, strides, dilation, 1x1, even kernels, padding on one side; norms and pools each of their options.
auto image_net() {
  const SeedScope seed(1);
  return Sequential(conv({.in_channels = 3, .out_channels = 20, .kernel_size = 3, .padding = 1}),
      MaxPool2d<float>({.kernel_size = 3, .stride = 1, .padding = 1}), BatchNorm2d<float>({.num_features = 20, .shard_size = 8}),
      Relu<float>(), Dropout<float>({.p = 0.2}),
      conv({.in_channels = 20, .out_channels = 24, .kernel_size = 3, .padding = 1, .algorithm = Conv2dAlgorithm::winograd_4x4}),
      MaxPool2d<float>({.kernel_size = 2}), BatchNorm2d<float>({.num_features = 24, .momentum = 0.3}), Gelu<float>(),
      conv({.in_channels = 24, .out_channels = 24, .kernel_size = 3, .padding = 1, .groups = 24}), LeakyRelu<float>(),
      conv({.in_channels = 24, .out_channels = 24, .kernel_size = 3, .padding = 1, .groups = 12, .bias = false}),
      BatchNorm2d<float>({.num_features = 24, .frozen_scale = true}), Elu<float>(), conv({.in_channels = 24, .out_channels = 33}),
      GroupNorm<float>({.num_groups = 3, .num_channels = 33}), Silu<float>(),
      conv({.in_channels = 33, .out_channels = 18, .kernel_size = 3, .padding = 2, .dilation = 2}),
      LayerNorm<float>({.normalized_shape = {18}}), Tanh<float>(),
      Residual(Sequential(
          conv({.in_channels = 18, .out_channels = 40, .kernel_size = 3, .padding = 1, .algorithm = Conv2dAlgorithm::winograd_2x2}),
          Sigmoid<float>(), conv({.in_channels = 40, .out_channels = 18}))),
      AvgPool2d<float>({.kernel_size = 2, .stride = 1}), conv({.in_channels = 18, .out_channels = 16, .kernel_size = 2, .stride = 2}),
      RMSNorm<float>({.normalized_shape = {16}}),
      AttentionFusion<float>({.features = 16, .num_heads = 2, .height = 3, .width = 2, .dropout = 0.1, .out_weight = Initializer::normal}),
      conv({.in_channels = 16, .out_channels = 16, .kernel_size = 3, .padding = 1, .algorithm = Conv2dAlgorithm::direct}),
      GlobalMaxPool2d<float>(), Linear<float>({.in_features = 16, .out_features = 4}));
}

/// The layers of sequences: (N, 21, 12) to four classes.
auto sequence_net() {
  const SeedScope seed(2);
  const auto block = [](bool first, FeedForwardActivation activation) {
    return TransformerEncoderLayer<float>({.d_model = 24,
        .nhead = 4,
        .dim_feedforward = 40,
        .dropout = 0.1,
        .activation = activation,
        .norm_first = first,
        .causal = first,
        .num_kv_heads = first ? 2 : 0,
        .rotary = first ? std::optional(RotaryEmbeddingOptions{}) : std::nullopt});
  };
  return Sequential(Conv1d<float>({.in_channels = 12, .out_channels = 24, .kernel_size = 3, .padding = {2, 0}}),
      PositionalEncoding<float>({.features = 24, .tokens = 21, .kind = PositionKind::learned}), block(true, FeedForwardActivation::gelu),
      BatchNorm1d<float>({.num_features = 24}), block(false, FeedForwardActivation::relu),
      MaxPool1d<float>({.kernel_size = 3, .stride = 2}),
      MultiHeadAttention<float>({.embed_dim = 24, .num_heads = 3, .dropout = 0.2, .add_bias_kv = true, .add_zero_attn = true}),
      AvgPool1d<float>({.kernel_size = 2}), Softmax<float>(), LogSoftmax<float>(), SequencePool<float>({.features = 24}),
      Linear<float>({.in_features = 24, .out_features = 4}));
}

/// Nine pairs of sequences of 17 tokens, with masks of every kind.
struct TwoSequences {
  Tensor<std::int64_t, 2> tokens{{9, 17}};
  Tensor<float, 3> k = numbers<3>({9, 17, 10}, 4), v = numbers<3>({9, 17, 14}, 5), few = numbers<3>({9, 17, 12}, 6);
  Tensor<bool, 2> attend{{17, 17}}, keys{{9, 17}};
  std::vector<Index> lengths{17, 16, 15, 14, 13, 12, 11, 10, 9};
  std::vector<float> slopes{0.1f, 0.2f, 0.3f, 0.4f};

  TwoSequences() {
    for (Index i = 0; i < tokens.size(); ++i) tokens[i] = i * 13 % 50;
    for (Index i = 0; i < attend.size(); ++i) attend[i] = i % 5 != 2;
    for (Index i = 0; i < keys.size(); ++i) keys[i] = i % 17 < 11 + i / 17 % 5;
  }
};

/// What no chain of layers holds: looked-up tokens, attention between two sequences of grouped heads under every mask at once, its bias learned, and the other
/// losses. Two steps by hand.
Outcome by_hand() {
  const SeedScope seed(3);
  Embedding<float> table({.num_embeddings = 50, .embedding_dim = 24, .padding_idx = 0});
  MultiHeadAttention<float> attention({.embed_dim = 24, .num_heads = 4, .dropout = 0.1, .kdim = 10, .vdim = 14});
  RelativePositionBias<float> position({.num_heads = 4, .max_distance = 12, .num_buckets = 8});
  ScaledDotProductAttention<float> grouped({.num_heads = 4, .num_kv_heads = 2, .softcap = 3, .causal = true});
  const TwoSequences in;

  std::vector<NamedParameter<float>> parameters;
  const auto add = [&](const char* name, auto& layer) {
    for (auto& [inner, parameter] : named_parameters(layer)) parameters.push_back({text(name, '.', inner), parameter});
  };
  add("table", table), add("attention", attention), add("position", position);
  AdamW<float> optimizer(parameters, {.learning_rate = 0.01, .amsgrad = true});
  Outcome outcome;
  for (std::uint64_t step = 0; step < 2; ++step) {
    const StepScope scope(7, step);
    optimizer.zero_gradients();
    Embedding<float>::Cache table_cache;
    MultiHeadAttention<float>::Cache cache;
    ScaledDotProductAttention<float>::Cache grouped_cache;
    RelativePositionBias<float>::Cache position_cache;
    const auto x = table.forward(in.tokens, table_cache);
    const auto bias = position.forward(17, 17, position_cache);
    const AttentionMask<float> mask{
        .attend = in.attend, .attend_keys = in.keys, .bias = bias, .key_lengths = in.lengths, .slopes = in.slopes};
    const auto y = attention.forward(x, in.k, in.v, mask, cache);
    const auto z = grouped.forward(y, in.few, in.few, grouped_cache);
    auto dz = Tensor<float, 3>(z.shape());
    outcome.losses.push_back(MSELoss<float>()(z, numbers<3>(z.shape(), 8), dz));
    auto [dy, d_few, d_few_v] = grouped.backward(dz, grouped_cache);
    auto [dx, dk, dv] = attention.backward_cross(dy, cache, {.d_bias = position.d_bias(position_cache)});
    position.backward(position_cache);
    table.backward(dx, table_cache);
    optimizer.step();
    for (const auto* part : std::initializer_list<const Tensor<float, 3>*>{&y, &z, &dk, &dv, &d_few, &d_few_v})
      outcome.output.insert(outcome.output.end(), part->data(), part->data() + part->size());
  }
  outcome.weights = text(weights_hash(table), weights_hash(attention), weights_hash(position));
  return outcome;
}

Tensor<float, 4> images() { return numbers<4>({19, 14, 13, 3}, 9); }
Tensor<float, 3> sequences() { return numbers<3>({23, 21, 12}, 10); }

Outcome image_training() {
  return trained<AdamW<float>>(
      image_net(), images(), CrossEntropyLoss<float>({.label_smoothing = 0.1}), {.decay = 0.9}, AdamWOptions{.learning_rate = 0.01});
}
Outcome sequence_training() {
  return trained<Sgd<float>>(sequence_net(), sequences(), CrossEntropyLoss<float>({.label_smoothing = 0.1}), {.decay = 0.9},
      SgdOptions{.learning_rate = 0.1, .momentum = 0.9, .nesterov = true});
}

const std::vector<Training> kTrainings{{"images", image_training}, {"sequences", sequence_training}, {"by hand", by_hand}};

}  // namespace

TEST_CASE("neither threads nor back end change a bit of what training leaves") { check_threads_and_backends(kTrainings); }

TEST_CASE("two models training at once in two threads are trained as each alone") { check_at_once(kTrainings[0], kTrainings[1]); }

#if defined(_OPENMP)
TEST_CASE("training inside a caller's parallel region leaves the same bits") { check_parallel_region(kTrainings); }
#endif

TEST_CASE("one image is seen alike alone, in a batch of any size and anywhere in it") { check_any_batch(image_net(), images()); }

TEST_CASE("one sequence is seen alike alone, in a batch of any size and anywhere in it") { check_any_batch(sequence_net(), sequences()); }

TEST_CASE("what no chain of layers holds sees each of a batch alike alone, among others and anywhere") {
  const SeedScope seed(3);
  const Embedding<float> table({.num_embeddings = 50, .embedding_dim = 24, .padding_idx = 0});
  const MultiHeadAttention<float> attention({.embed_dim = 24, .num_heads = 4, .kdim = 10, .vdim = 14});
  const ScaledDotProductAttention<float> grouped({.num_heads = 4, .num_kv_heads = 2, .softcap = 3, .causal = true});
  const TwoSequences in;
  check_any_range(9, [&](Index begin, Index end) {
    const AttentionMask<float> mask{.attend = in.attend,
        .attend_keys = in.keys.slice(begin, end),
        .key_lengths = std::span(in.lengths).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
        .slopes = in.slopes};
    const auto y = attention.forward(table.forward(in.tokens.slice(begin, end)), in.k.slice(begin, end), in.v.slice(begin, end), mask);
    return grouped.forward(y, in.few.slice(begin, end), in.few.slice(begin, end));
  });
}
