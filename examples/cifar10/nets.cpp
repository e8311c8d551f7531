// SPDX-License-Identifier: MIT
#include "nets.hpp"

#include <algorithm>
#include <optional>

#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
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
  return heed::BatchNorm2d<T>({.num_features = features, .momentum = 0.4, .frozen_scale = true});
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
auto block(Index in, Index out, heed::Conv2dAlgorithm how) {
  return heed::Sequential(named("conv1", conv3x3<T>(in, out, how)), named("pool", pool<T>()), named("norm1", norm<T>(out)),
      named("gelu1", heed::Gelu<T>()), named("conv2", conv3x3<T>(out, out, how)), named("norm2", norm<T>(out)),
      named("gelu2", heed::Gelu<T>()));
}
template <class T>
auto short_block(Index in, Index out, heed::Conv2dAlgorithm how) {
  return heed::Sequential(
      named("conv", conv3x3<T>(in, out, how)), named("pool", pool<T>()), named("norm", norm<T>(out)), named("gelu", heed::Gelu<T>()));
}

/// The block behind the second one, or what is compared with it; nothing for "none".
template <class T>
std::optional<heed::AnyLayer<T, 4>> attention_block(
    const std::string& kind, Index width, Index heads, heed::Conv2dAlgorithm how_convolved) {
  using heed::AttentionKind;
  if (kind == "none") return std::nullopt;
  if (kind == "convolution") {
    // About as much work as attention: (5 width² + 2 tokens width) tokens multiply-adds against 10 inner width tokens of a 3x3 and a 1x1
    // convolution; a multiple of 8 channels. Starts as the identity, as attention does.
    const Index inner = std::max<Index>((5 * width + 2 * kMapSide * kMapSide) / 80 * 8, 8);
    heed::Conv2d<T> last({.in_channels = inner, .out_channels = width});
    std::fill_n(last.weight().value(), last.weight().size(), T(0));
    std::fill_n(last.bias().value(), width, T(0));
    return heed::AnyLayer<T, 4>(heed::Residual(heed::Sequential(named("norm", heed::LayerNorm<T>({.normalized_shape = {width}})),
        named("conv1",
            heed::Conv2d<T>({.in_channels = width, .out_channels = inner, .kernel_size = 3, .padding = 1, .algorithm = how_convolved})),
        named("gelu", heed::Gelu<T>()), named("conv2", std::move(last)))));
  }
  const AttentionKind how = kind == "identity" ? AttentionKind::identity : kind == "uniform" ? AttentionKind::uniform : AttentionKind::full;
  heed::require(
      how != AttentionKind::full || kind == "full", "'", kind, "' is no kind of attention: full, none, identity, uniform, convolution");
  return heed::AnyLayer<T, 4>(
      heed::AttentionFusion<T>({.features = width, .num_heads = heads, .height = kMapSide, .width = kMapSide, .attention = how}));
}

/// One after another, with the attention block where it is given.
template <class T, class Stem, class Tail>
Net<T> assemble(Stem stem, std::optional<heed::AnyLayer<T, 4>> attention, Tail tail) {
  const auto join = [](auto... named_layers) { return Net<T>(heed::Sequential(std::move(named_layers)...)); };
  if (!attention) return std::apply(join, std::tuple_cat(std::move(stem), std::move(tail)));
  return std::apply(join, std::tuple_cat(std::move(stem), std::make_tuple(named("attention", std::move(*attention))), std::move(tail)));
}

template <class T>
auto head(Index width, double logit_scale) {
  return std::make_tuple(named("pool", heed::GlobalMaxPool2d<T>()),
      named("head", heed::Linear<T>({.in_features = width, .out_features = kClasses})), named("scale", Scale<T>(logit_scale)));
}

}  // namespace

template <class T>
Net<T> make_net(const NetOptions& options, const std::string& convolution) {
  const auto found = std::find(kConvolutions.begin(), kConvolutions.end(), convolution);
  heed::require(
      found != kConvolutions.end(), "'", convolution, "' is no way to compute convolutions: automatic, direct, winograd_2x2, winograd_4x4");
  const auto how = static_cast<heed::Conv2dAlgorithm>(found - kConvolutions.begin());
  const auto stem = [] { return std::make_tuple(named("whiten", whitening<T>()), named("gelu", heed::Gelu<T>())); };
  const Widths w = widths_of(options.net);
  if (options.net == "article") {
    auto first = std::tuple_cat(stem(),
        std::make_tuple(named("block1", short_block<T>(kWhitened, w.first, how)), named("block2", short_block<T>(w.first, w.second, how))));
    auto attention = attention_block<T>(options.attention, w.second, w.heads, how);
    return assemble<T>(std::move(first), std::move(attention), head<T>(w.second, options.logit_scale));
  }
  auto first = std::tuple_cat(
      stem(), std::make_tuple(named("block1", block<T>(kWhitened, w.first, how)), named("block2", block<T>(w.first, w.second, how))));
  auto attention = attention_block<T>(options.attention, w.second, w.heads, how);
  auto tail = std::tuple_cat(std::make_tuple(named("block3", block<T>(w.second, w.third, how))), head<T>(w.third, options.logit_scale));
  return assemble<T>(std::move(first), std::move(attention), std::move(tail));
}

template Net<float> make_net<float>(const NetOptions&, const std::string&);
template Net<double> make_net<double>(const NetOptions&, const std::string&);

}  // namespace cifar10
