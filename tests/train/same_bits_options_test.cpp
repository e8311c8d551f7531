// SPDX-License-Identifier: MIT
// As same_bits_test.cpp, for the layers, options, losses and optimisers that it leaves out, and for nets in double.
#include "same_bits.hpp"

using namespace heed;

namespace {

/// Options of the layers of images: (N, 15, 14, 3) to the logarithms of four probabilities.
auto image_net() {
  const SeedScope seed(1);
  const auto fusion = [](AttentionFusionOptions options) {
    options.features = 32, options.num_heads = 4, options.out_weight = Initializer::normal, options.out_weight_value = 0.1;
    return AttentionFusion<float>(options);
  };
  return Sequential(Conv2d<float>({.in_channels = 3, .out_channels = 24, .kernel_size = 3, .padding = 1, .input_gradient = false}),
      GroupNorm<float>({.num_groups = 6, .num_channels = 24, .affine = false}), Gelu<float>({.approximate = GeluApproximation::tanh}),
      MaxPool2d<float>({.kernel_size = 3, .stride = {1, 2}, .padding = 1, .dilation = 2, .ceil_mode = true}),  // (N, 13, 7, 24)
      BatchNorm2d<float>({.num_features = 24, .affine = false}), LayerNorm<float>({.normalized_shape = {7, 24}}),
      RMSNorm<float>({.normalized_shape = {13, 7, 24}, .eps = 1e-4}), Conv2d<float>({.in_channels = 24, .out_channels = 32}),
      LayerNorm<float>({.normalized_shape = {32}, .elementwise_affine = false}),
      RMSNorm<float>({.normalized_shape = {32}, .elementwise_affine = false}), LayerNorm<float>({.normalized_shape = {32}, .bias = false}),
      AvgPool2d<float>({.kernel_size = 2, .stride = 1, .padding = 1, .dilation = 2, .count_include_pad = false}),
      AvgPool2d<float>({.kernel_size = 2, .stride = {1, 2}, .ceil_mode = true, .divisor_override = 3}),  // (N, 12, 4, 32)
      BatchNorm2d<float>({.num_features = 32, .frozen_statistics = true}),
      PositionalEncoding<float>({.features = 32, .height = 12, .width = 4}),
      PositionalEncoding<float>({.features = 32, .height = 12, .width = 4, .kind = PositionKind::learned, .use = PositionUse::multiplied}),
      Residual(Sequential(Softmax<float>({.dim = 1}), LogSoftmax<float>({.dim = 1}))),
      Residual(Linear<float>({.in_features = 32, .out_features = 32}), Conv2d<float>({.in_channels = 32, .out_channels = 32})),
      fusion({.height = 12,
          .width = 4,
          .position = PositionKind::learned,
          .position_use = PositionUse::multiplied,
          .dropout = 0.1,
          .relative_bias = true,
          .qkv_bias = true}),
      fusion({.tokens = 48, .attention = AttentionKind::identity}), fusion({.tokens = 48, .attention = AttentionKind::uniform}),
      GlobalAvgPool2d<float>(), Linear<float>({.in_features = 32, .out_features = 4}), LogSoftmax<float>());
}

/// Options of the layers of sequences, and the composers that choose when the program runs: (N, 120, 20) to four classes. So long that attention cuts a head's
/// queries into parts.
auto sequence_net() {
  const SeedScope seed(2);
  const auto block = [] {
    return TransformerEncoderLayer<float>(
        {.d_model = 32, .nhead = 4, .dim_feedforward = 48, .dropout = 0.1, .layer_norm_eps = 1e-4, .bias = false, .alibi = true});
  };
  const RotaryEmbeddingOptions turned{.head_dim = 8, .rotary_dim = 4, .base = 100, .interleaved = true, .max_positions = 128};
  return Sequential(Conv1d<float>({.in_channels = 20,
                        .out_channels = 32,
                        .kernel_size = 3,
                        .padding = 2,
                        .dilation = 2,
                        .groups = 4,
                        .bias = false,
                        .input_gradient = false}),
      PositionalEncoding<float>({.features = 32, .tokens = 130, .base = 500}),
      QkvProjection<float>({.in_features = 32, .model_width = 16, .bias = false}),
      Linear<float>({.in_features = 48, .out_features = 32, .bias = false}), RotaryEmbedding<float>(turned),
      MultiHeadAttention<float>({.embed_dim = 32, .num_heads = 4, .causal = true}),
      MultiHeadAttention<float>({.embed_dim = 32, .num_heads = 4, .bias = false, .num_kv_heads = 1, .rotary = turned}),
      MultiHeadAttention<float>({.embed_dim = 32, .num_heads = 2, .alibi = true}),
      Residual(AnyLayer<float, 3, 3>(AttentionFusion<float>({.features = 32,
          .num_heads = 2,
          .tokens = 120,
          .dropout = 0.1,
          .relative_bias = true,
          .out_weight = Initializer::normal,
          .out_weight_value = 0.1}))),
      Stack(std::vector{block(), block()}),
      AvgPool1d<float>({.kernel_size = 2, .stride = 1, .padding = 1, .dilation = 2, .count_include_pad = false}),
      BatchNorm1d<float>({.num_features = 32, .shard_size = 2}),
      MaxPool1d<float>({.kernel_size = 2, .stride = 2, .padding = 1, .dilation = 2, .ceil_mode = true}),  // 61 tokens
      AvgPool1d<float>({.kernel_size = 2, .ceil_mode = true}), Conv1d<float>({.in_channels = 32, .out_channels = 32, .stride = 2}),
      GlobalAvgPool1d<float>(), Linear<float>({.in_features = 32, .out_features = 4}));
}

/// Many sequences so short that attention has kernels of its own with any instruction set: (N, 4, 20) to four classes.
auto short_net() {
  const SeedScope seed(3);
  return Sequential(Linear<float>({.in_features = 20, .out_features = 32}),
      AttentionFusion<float>({.features = 32, .num_heads = 4, .tokens = 4, .out_weight = Initializer::normal}),
      MultiHeadAttention<float>({.embed_dim = 32, .num_heads = 4, .dropout = 0.1}), Silu<float>({.alpha = 1.5}), GlobalMaxPool1d<float>(),
      Linear<float>({.in_features = 32, .out_features = 4}));
}

/// Another scalar: (N, 12, 12, 3) to four classes.
auto double_net() {
  const SeedScope seed(4);
  return Sequential(Conv2d<double>({.in_channels = 3, .out_channels = 16, .kernel_size = 3, .padding = 1}),
      BatchNorm2d<double>({.num_features = 16, .eps = 1e-4}), Gelu<double>(), MaxPool2d<double>({.kernel_size = 2}),
      Conv2d<double>({.in_channels = 16, .out_channels = 16, .kernel_size = 3, .padding = 1}),
      LayerNorm<double>({.normalized_shape = {16}}), Elu<double>({.alpha = 0.5}), LeakyRelu<double>({.negative_slope = 0.2}),
      Dropout<double>({.p = 0.1}),
      AttentionFusion<double>({.features = 16, .num_heads = 2, .height = 6, .width = 6, .dropout = 0.1, .out_weight = Initializer::normal}),
      Flatten<double, 4>(), Linear<double>({.in_features = 576, .out_features = 4}));
}

/// Muon for the matrices, Adam for the rest.
class MuonAndAdam {
 public:
  explicit MuonAndAdam(const std::vector<NamedParameter<float>>& parameters)
      : muon_(of_rank(parameters, true), {.learning_rate = 0.01}), adam_(of_rank(parameters, false), {.learning_rate = 0.01}) {}
  operator Optimizer<float>&() { return both_; }

 private:
  static std::vector<NamedParameter<float>> of_rank(std::vector<NamedParameter<float>> parameters, bool matrices) {
    std::erase_if(parameters, [&](const NamedParameter<float>& own) { return (own.parameter->shape().rank() > 1) != matrices; });
    return parameters;
  }

  Muon<float> muon_;
  Adam<float> adam_;
  JointOptimizer<float> both_{{&muon_, &adam_}};
};

template <class T>
void add(const Tensor<T, 3>& x, Tensor<T, 3>& y) {
  for (Index i = 0; i < y.size(); ++i) y[i] += x[i];
}

/// What no chain of layers holds: a projection of two inputs, attention aligned at the end with learned slopes and a one-sided bias, attention with the bias of a
/// map, a norm without running statistics, and a loss of questions. Two steps by hand.
Outcome by_hand() {
  const SeedScope seed(5);
  BatchNorm1d<float> norm({.num_features = 32, .track_running_stats = false});
  ScaledDotProductAttention<float> wide({.num_heads = 4, .dropout = 0.1});
  RelativePositionBias<float> map({.num_heads = 4, .height = 8, .width = 12});
  OutputProjection<float> out(
      {.context_features = 32, .input_features = 32, .out_features = 24, .weight = Initializer::normal, .weight_value = 0.2});
  RelativePositionBias<float> sided({.num_heads = 4, .max_distance = 40, .num_buckets = 8, .bidirectional = false});
  RelativePositionBias<float> clipped({.num_heads = 4, .max_distance = 9});
  ScaledDotProductAttention<float> aligned(
      {.num_heads = 4, .scale = 0.3, .causal = true, .alignment = CausalAlignment::bottom_right, .dropout = 0.2});
  OutputProjection<float> plain({.context_features = 24, .input_features = 24, .out_features = 24, .bias = false});
  const Tensor<float, 1> slopes = alibi_slopes<float>(4);
  const auto x = numbers<3>({6, 96, 32}, 6), q = numbers<3>({6, 70, 24}, 7);
  Tensor<float, 3> answers({6, 70, 24});
  for (Index i = 0; i < answers.size(); ++i) answers[i] = i % 3 == 0 ? 1.0f : 0.0f;
  const BCEWithLogitsLoss<float> loss({.weight = {0.7}, .pos_weight = std::vector<double>(24, 2.0)});

  std::vector<NamedParameter<float>> parameters;
  const auto own = [&](const char* name, auto& layer) {
    for (auto& [inner, parameter] : named_parameters(layer)) parameters.push_back({text(name, '.', inner), parameter});
  };
  own("norm", norm), own("map", map), own("out", out), own("sided", sided), own("clipped", clipped), own("plain", plain);
  Adam<float> optimizer(parameters, {.learning_rate = 0.01, .weight_decay = 0.1});
  Outcome outcome;
  const auto keep = [&](const Tensor<float, 3>& part) {
    outcome.output.insert(outcome.output.end(), part.data(), part.data() + part.size());
  };
  for (std::uint64_t step = 0; step < 2; ++step) {
    const StepScope scope(7, step);
    optimizer.zero_gradients();
    BatchNorm1d<float>::Cache norm_cache;
    ScaledDotProductAttention<float>::Cache wide_cache, aligned_cache;
    RelativePositionBias<float>::Cache map_cache, sided_cache, clipped_cache;
    OutputProjection<float>::Cache out_cache, plain_cache;
    const auto n = norm.forward(x, norm_cache);
    const AttentionMask<float> of_map{.bias = map.forward(96, 96, map_cache)};
    const auto context = wide.forward(n, n, n, of_map, wide_cache);
    const auto y = out.forward(context, n, out_cache);
    const AttentionMask<float> of_sided{.bias = sided.forward(70, 96, sided_cache, 26), .slopes = slopes.span()};
    const auto seen = aligned.forward(q, y, y, of_sided, aligned_cache);
    const AttentionMask<float> of_clipped{.bias = clipped.forward(70, 70, clipped_cache)};
    ScaledDotProductAttention<float>::Cache last_cache;
    const auto last = wide.forward(seen, q, q, of_clipped, last_cache);
    const auto z = plain.forward(last, seen, plain_cache);
    Tensor<float, 3> dz;
    outcome.losses.push_back(loss(z, answers, dz));

    auto [d_last, d_seen] = plain.backward(dz, plain_cache);
    auto [d_of_seen, d_q, d_q_too] = wide.backward(d_last, last_cache, {.d_bias = clipped.d_bias(clipped_cache)});
    clipped.backward(clipped_cache);
    add(d_of_seen, d_seen);
    Tensor<float, 1> d_slopes({4});
    auto [dq, dk, dv] = aligned.backward(d_seen, aligned_cache, {.d_bias = sided.d_bias(sided_cache), .d_slopes = d_slopes.data()});
    sided.backward(sided_cache);
    add(dk, dv);
    auto [d_context, dn] = out.backward(dv, out_cache);
    auto [d_as_q, d_as_k, d_as_v] = wide.backward(d_context, wide_cache, {.d_bias = map.d_bias(map_cache)});
    map.backward(map_cache);
    add(d_as_q, dn), add(d_as_k, dn), add(d_as_v, dn);
    const auto dx = norm.backward(dn, norm_cache);
    optimizer.step();
    keep(z), keep(dx), keep(d_q), keep(d_q_too), keep(dq);
    outcome.output.insert(outcome.output.end(), d_slopes.data(), d_slopes.data() + d_slopes.size());
  }
  outcome.weights =
      text(weights_hash(norm), weights_hash(map), weights_hash(out), weights_hash(sided), weights_hash(clipped), weights_hash(plain));
  return outcome;
}

const std::vector<double> kWeights{1, 0.5, 2, 1.5};

Outcome image_training() {
  return trained<MuonAndAdam>(image_net(), numbers<4>({17, 15, 14, 3}, 9), NLLLoss<float>({.weight = kWeights, .ignore_index = 2}),
      {.decay = 0.9, .warm_up = true});
}
Outcome sequence_training() {
  return trained<Adam<float>>(sequence_net(), numbers<3>({5, 120, 20}, 10),
      CrossEntropyLoss<float>({.label_smoothing = 0.1, .weight = kWeights, .ignore_index = 2, .reduction = Reduction::sum}), {.decay = 0.9},
      AdamOptions{.learning_rate = 0.01, .weight_decay = 0.05});
}
Outcome short_training() {
  return trained<Sgd<float>>(short_net(), numbers<3>({300, 4, 20}, 11), CrossEntropyLoss<float>(), {.decay = 0.9});
}
Outcome double_training() {
  return trained<AdamW<double>>(double_net(), numbers<4, double>({15, 12, 12, 3}, 12), CrossEntropyLoss<double>(), {.decay = 0.9});
}

const std::vector<Training> kTrainings{{"options of images", image_training}, {"options of sequences", sequence_training},
    {"short sequences", short_training}, {"double", double_training}, {"options by hand", by_hand}};

}  // namespace

TEST_CASE("neither threads nor back end change a bit, whatever the options") { check_threads_and_backends(kTrainings); }

TEST_CASE("two models training at once are trained as each alone, whatever the options") {
  check_at_once(kTrainings[0], kTrainings[1]);
  check_at_once(kTrainings[3], kTrainings[4]);
}

#if defined(_OPENMP)
TEST_CASE("training inside a caller's parallel region leaves the same bits, whatever the options") { check_parallel_region(kTrainings); }
#endif

TEST_CASE("options of images do not let one see the others of its batch") { check_any_batch(image_net(), numbers<4>({9, 15, 14, 3}, 13)); }

TEST_CASE("options of sequences do not let one see the others of its batch") {
  check_any_batch(sequence_net(), numbers<3>({6, 120, 20}, 14));
}

TEST_CASE("a short sequence does not see the others of its batch") { check_any_batch(short_net(), numbers<3>({20, 4, 20}, 15)); }

TEST_CASE("in double one image does not see the others of its batch") {
  check_any_batch(double_net(), numbers<4, double>({9, 12, 12, 3}, 16));
}

TEST_CASE("options by hand do not let one see the others of its batch") {
  const SeedScope seed(5);
  const ScaledDotProductAttention<float> wide({.num_heads = 4});
  const RelativePositionBias<float> map({.num_heads = 4, .height = 8, .width = 12}),
      sided({.num_heads = 4, .max_distance = 40, .num_buckets = 8, .bidirectional = false});
  const OutputProjection<float> out(
      {.context_features = 32, .input_features = 32, .out_features = 24, .weight = Initializer::normal, .weight_value = 0.2});
  const ScaledDotProductAttention<float> aligned(
      {.num_heads = 4, .scale = 0.3, .causal = true, .alignment = CausalAlignment::bottom_right});
  const Tensor<float, 1> slopes = alibi_slopes<float>(4);
  const auto all_x = numbers<3>({6, 96, 32}, 6), all_q = numbers<3>({6, 70, 24}, 7);
  check_any_range(6, [&](Index begin, Index end) {
    const auto x = all_x.slice(begin, end);
    RelativePositionBias<float>::Cache map_cache, sided_cache;
    const AttentionMask<float> of_map{.bias = map.forward(96, 96, map_cache)};
    const auto y = out.forward(wide.forward(x, x, x, of_map), x);
    const AttentionMask<float> of_sided{.bias = sided.forward(70, 96, sided_cache, 26), .slopes = slopes.span()};
    return aligned.forward(all_q.slice(begin, end), y, y, of_sided);
  });
}
