// SPDX-License-Identifier: MIT
#include "nets.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/max_pool2d.hpp>

#include "scale.hpp"
#include "widths.hpp"

namespace cifar10 {

namespace {

using heed::named;

constexpr Index kClasses = 10;

/// A 3x3 convolution without bias whose first outputs copy the inputs; further outputs start as usual.
template <class T>
heed::Conv2d<T> conv3x3(Index in, Index out, heed::Conv2dAlgorithm how) {
  heed::Conv2d<T> conv({.in_channels = in, .out_channels = out, .kernel_size = 3, .padding = 1, .bias = false, .algorithm = how});
  if (out < in) return conv;
  const Index filter = in * 9;
  std::fill_n(conv.weight().value(), in * filter, T(0));
  for (Index c = 0; c < in; ++c) conv.weight().value()[c * filter + c * 9 + 4] = T(1);
  return conv;
}

template <class T>
heed::BatchNorm2d<T> norm(Index features) {
  return heed::BatchNorm2d<T>({.num_features = features, .frozen_scale = true});
}

template <class T>
auto pool() {
  return heed::MaxPool2d<T>({.kernel_size = 2});
}

template <class T>
auto whitening() {
  heed::Conv2d<T> conv({.in_channels = 3, .out_channels = kWhitened, .kernel_size = 2, .input_gradient = false});
  conv.weight().freeze();
  std::fill_n(conv.bias().value(), kWhitened, T(0));
  return conv;
}

template <class T>
using Part = heed::AnyLayer<T, 4>;

// Weights are drawn in the order of statements, last layer first, and so from one seed the same with every compiler: arguments are evaluated in
// an order of the compiler's choice.

template <class T>
Part<T> block(Index in, Index out, heed::Conv2dAlgorithm how) {
  auto norm2 = norm<T>(out);
  auto conv2 = conv3x3<T>(out, out, how);
  auto norm1 = norm<T>(out);
  auto conv1 = conv3x3<T>(in, out, how);
  return Part<T>(heed::Sequential(named("conv1", std::move(conv1)), named("pool", pool<T>()), named("norm1", std::move(norm1)),
      named("gelu1", heed::Gelu<T>()), named("conv2", std::move(conv2)), named("norm2", std::move(norm2)),
      named("gelu2", heed::Gelu<T>())));
}
template <class T>
Part<T> short_block(Index in, Index out, heed::Conv2dAlgorithm how) {
  auto norm1 = norm<T>(out);
  auto conv = conv3x3<T>(in, out, how);
  return Part<T>(heed::Sequential(
      named("conv", std::move(conv)), named("pool", pool<T>()), named("norm", std::move(norm1)), named("gelu", heed::Gelu<T>())));
}

template <class T, class L>
L from_zero(L layer) {
  std::fill_n(layer.weight().value(), layer.weight().size(), T(0));
  std::fill_n(layer.bias().value(), layer.bias().size(), T(0));
  return layer;
}

/// What mixes the tokens of a map: attention, or what is compared with it.
template <class T>
Part<T> token_mixer(const NetOptions& options, Index side, Index width, Index heads, heed::Conv2dAlgorithm how) {
  using heed::AttentionKind;
  const std::string& kind = options.attention;
  if (kind == "convolution") {
    // About as much work as attention: (5 width² + 2 tokens width) tokens multiply-adds against 10 inner width tokens of a 3x3 and a 1x1
    // convolution; a multiple of 8 channels. Starts as the identity, as attention does.
    const Index inner = std::max<Index>((5 * width + 2 * side * side) / 80 * 8, 8);
    auto conv2 = from_zero<T>(heed::Conv2d<T>({.in_channels = inner, .out_channels = width}));
    auto conv1 = heed::Conv2d<T>({.in_channels = width, .out_channels = inner, .kernel_size = 3, .padding = 1, .algorithm = how});
    return Part<T>(heed::Residual(heed::Sequential(named("norm", heed::LayerNorm<T>({.normalized_shape = {width}})),
        named("conv1", std::move(conv1)), named("gelu", heed::Gelu<T>()), named("conv2", std::move(conv2)))));
  }
  const AttentionKind a = kind == "identity" ? AttentionKind::identity : kind == "uniform" ? AttentionKind::uniform : AttentionKind::full;
  heed::require(
      a != AttentionKind::full || kind == "full", "'", kind, "' is no kind of attention: full, none, identity, uniform, convolution");
  return Part<T>(heed::AttentionFusion<T>(
      {.features = width, .num_heads = heads, .height = side, .width = side, .attention = a, .relative_bias = options.relative_bias}));
}

/// X + W₂ GELU(W₁ LN(X)), which starts as the identity.
template <class T>
Part<T> feed_forward(Index width, Index hidden) {
  auto linear2 = from_zero<T>(heed::Linear<T>({.in_features = hidden, .out_features = width}));
  auto linear1 = heed::Linear<T>({.in_features = width, .out_features = hidden});
  return Part<T>(heed::Residual(heed::Sequential(named("norm", heed::LayerNorm<T>({.normalized_shape = {width}})),
      named("linear1", std::move(linear1)), named("gelu", heed::Gelu<T>()), named("linear2", std::move(linear2)))));
}

/// All that stands between two blocks of the net, on a map of `side` x `side` tokens.
template <class T>
Part<T> attention(const NetOptions& options, Index side, Index width, Index heads, heed::Conv2dAlgorithm how) {
  std::vector<Part<T>> all;
  for (Index i = 0; i < options.attention_blocks; ++i) {
    auto mixer = token_mixer<T>(options, side, width, heads, how);
    all.push_back(options.feed_forward == 0 ? std::move(mixer)
                                            : Part<T>(heed::Sequential(named("mixer", std::move(mixer)),
                                                  named("feed_forward", feed_forward<T>(width, options.feed_forward * width)))));
  }
  return all.size() == 1 ? std::move(all.front()) : Part<T>(heed::Stack(std::move(all)));
}

}  // namespace

template <class T>
Net<T> make_net(const NetOptions& options, const std::string& convolution) {
  const auto found = std::find(kConvolutions.begin(), kConvolutions.end(), convolution);
  heed::require(
      found != kConvolutions.end(), "'", convolution, "' is no way to compute convolutions: automatic, direct, winograd_2x2, winograd_4x4");
  const auto how = static_cast<heed::Conv2dAlgorithm>(found - kConvolutions.begin());
  const Index blocks = blocks_of(options.net), after = options.attention_after;
  heed::require(
      1 <= after && after <= blocks, "attention behind block ", after, " of the net ", options.net, ", which has blocks 1 to ", blocks);
  heed::require(options.attention_blocks >= 1 && options.feed_forward >= 0, "there must be at least one attention block, found ",
      options.attention_blocks, ", and no negative width of the feed-forward part, found ", options.feed_forward);

  const Widths w = widths_of(options.net);
  const auto width = [&](Index k) { return w.behind[static_cast<std::size_t>(k)]; };
  const auto make_block = [&](Index k) {
    return named("block" + std::to_string(k), (options.net == "article" ? short_block<T> : block<T>)(width(k - 1), width(k), how));
  };
  auto block2 = make_block(2), block1 = make_block(1);
  auto whiten = whitening<T>();
  std::vector<heed::Named<Part<T>>> parts{std::move(block1), std::move(block2)};
  std::optional<Part<T>> mixing;
  if (options.attention != "none") mixing = attention<T>(options, map_side(options), width(after), w.heads, how);
  heed::Linear<T> head({.in_features = width(blocks), .out_features = kClasses});
  if (blocks == 3) parts.push_back(make_block(3));
  if (mixing) parts.insert(parts.begin() + after, named("attention", std::move(*mixing)));

  const auto join = [&](auto... numbers) {
    return Net<T>(heed::Sequential(named("whiten", std::move(whiten)), named("gelu", heed::Gelu<T>()), std::move(parts[numbers])...,
        named("pool", heed::GlobalMaxPool2d<T>()), named("head", std::move(head)), named("scale", Scale<T>(options.logit_scale))));
  };
  return parts.size() == 2 ? join(0u, 1u) : parts.size() == 3 ? join(0u, 1u, 2u) : join(0u, 1u, 2u, 3u);
}

template Net<float> make_net<float>(const NetOptions&, const std::string&);
template Net<double> make_net<double>(const NetOptions&, const std::string&);

}  // namespace cifar10
