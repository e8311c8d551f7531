// SPDX-License-Identifier: MIT
// Files made with PyTorch (tests/io/torch/make.py): each layer takes the state_dict of its counterpart by name, and gives its output.
#include <algorithm>
#include <cstdlib>
#include <string>

#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/io/model_file.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv1d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/group_norm.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/max_pool2d.hpp>
#include <heed/layers/multi_head_attention.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/rms_norm.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>

#include "catch.hpp"
#include "io/scratch_folder.hpp"

using heed::Tensor;

namespace {

heed::SafetensorsReader torch_file(const std::string& name) {
  const char* source = std::getenv("HEED_SOURCE_DIR");
  return heed::SafetensorsReader(std::string(source ? source : ".") + "/tests/io/torch/" + name + ".safetensors");
}

/// PyTorch computed the outputs in float: a few roundings of sums of at most a hundred products of numbers around 1.
constexpr double kTolerance = 2e-5;

template <class T, int Rank>
double furthest(const Tensor<T, Rank>& y, const Tensor<T, Rank>& expected) {
  REQUIRE(y.shape() == expected.shape());
  double most = 0;
  for (heed::Index i = 0; i < y.size(); ++i) {
    const double apart = std::abs(static_cast<double>(y[i] - expected[i])) / std::max(1.0, std::abs(static_cast<double>(expected[i])));
    most = apart < most ? most : apart;  // NaN is the furthest
  }
  return most;
}

/// `layer` with the weights of the file, applied to its input, against its output.
template <int RankIn, int RankOut = RankIn, class Input = void, class L>
void check(const std::string& name, L layer) {
  INFO(name);
  using T = typename L::scalar;
  using In = std::conditional_t<std::is_void_v<Input>, T, Input>;
  const auto file = torch_file(name);
  const auto report = heed::io::load(file, layer, {.prefix = "module."});
  CHECK((report.missing.empty() && report.unexpected.empty()));
  CHECK(furthest<T, RankOut>(layer.forward(file.tensor<In, RankIn>("input")), file.tensor<T, RankOut>("output")) < kTolerance);
}

template <class T>
void check_layers() {
  using namespace heed;
  for (const char* name : {"linear", "linear_bf16", "linear_f16"}) check<3>(name, Linear<T>({.in_features = 5, .out_features = 3}));
  check<4>(
      "conv2d", Conv2d<T>({.in_channels = 4, .out_channels = 6, .kernel_size = {3, 2}, .stride = {2, 1}, .padding = {1, 0}, .groups = 2}));
  check<3>("conv1d", Conv1d<T>({.in_channels = 4, .out_channels = 6, .kernel_size = 3, .stride = 2, .padding = 1, .groups = 2}));
  check<2, 3, std::int64_t>("embedding", Embedding<T>({.num_embeddings = 7, .embedding_dim = 4}));
  check<3>("rms_norm", RMSNorm<T>({.normalized_shape = {6}, .eps = 1e-6}));
  check<3>("layer_norm", LayerNorm<T>({.normalized_shape = {6}}));
  check<4>("batch_norm2d", BatchNorm2d<T>({.num_features = 4}));
  check<2>("batch_norm1d", BatchNorm1d<T>({.num_features = 4}));
  check<4>("group_norm", GroupNorm<T>({.num_groups = 3, .num_channels = 6}));
  check<3>("multihead_attention", MultiHeadAttention<T>({.embed_dim = 6, .num_heads = 2}));
  check<3>("encoder_layer", TransformerEncoderLayer<T>({.d_model = 6, .nhead = 2, .dim_feedforward = 10}));
  const TransformerEncoderLayer<T> layer(
      {.d_model = 6, .nhead = 2, .dim_feedforward = 10, .activation = FeedForwardActivation::gelu, .norm_first = true});
  check<3>("encoder", Sequential(named("layers", Stack(std::vector{layer, layer}))));
  check<4, 2>("sequential", Sequential(Conv2d<T>({.in_channels = 2, .out_channels = 4, .kernel_size = 3, .padding = 1, .bias = false}),
                                BatchNorm2d<T>({.num_features = 4}), Relu<T>(), MaxPool2d<T>({.kernel_size = 2}),
                                named("pool", GlobalMaxPool2d<T>()), named("6", Linear<T>({.in_features = 4, .out_features = 3}))));

  const auto file = torch_file("multihead_attention_widths");
  MultiHeadAttention<T> attention({.embed_dim = 6, .num_heads = 3, .add_bias_kv = true, .kdim = 5, .vdim = 4});
  heed::io::load(file, attention, {.prefix = "module."});
  const auto y = attention.forward(file.tensor<T, 3>("query"), file.tensor<T, 3>("key"), file.tensor<T, 3>("value"));
  CHECK(furthest(y, file.tensor<T, 3>("output")) < kTolerance);
}

}  // namespace

TEST_CASE("Layers take the weights of torch.nn by name and give its outputs", "[torch]") {
  check_layers<float>();
  check_layers<double>();
}

TEST_CASE("What heed writes holds torch's names, shapes and bytes", "[torch]") {
  const ScratchFolder folder;
  const auto file = torch_file("batch_norm2d");
  heed::BatchNorm2d<float> norm({.num_features = 4});
  heed::io::load(file, norm, {.prefix = "module."});
  heed::io::save(folder.file("norm.safetensors"), norm);
  const heed::SafetensorsReader written(folder.file("norm.safetensors"));
  CHECK(written.entries().size() == 4);
  for (const auto& entry : written.entries()) {
    const auto& original = file.at("module." + entry.name);
    CHECK((entry.dtype == original.dtype && entry.shape == original.shape));
    CHECK(std::ranges::equal(written.bytes(entry), file.bytes(original)));
  }
}

TEST_CASE("Sixteen-bit weights are read as the numbers they are", "[torch]") {
  for (const auto& [name, dtype] : {std::pair("linear_bf16", heed::Dtype::bf16), std::pair("linear_f16", heed::Dtype::f16)}) {
    const auto file = torch_file(name);
    CHECK(file.at("module.weight").dtype == dtype);
    heed::Linear<float> linear({.in_features = 5, .out_features = 3});
    heed::io::load(file, linear, {.prefix = "module."});
    const auto weight = file.tensor<double, 2>("module.weight");
    for (heed::Index i = 0; i < weight.size(); ++i) CHECK(static_cast<double>(linear.weight().value()[i]) == weight[i]);
  }
}

TEST_CASE("Only the count of a batch norm is passed over", "[torch]") {
  const auto file = torch_file("batch_norm2d");
  heed::BatchNorm2d<float> none({.num_features = 4, .track_running_stats = false});
  CHECK_THROWS_WITH(heed::io::load(file, none, {.prefix = "module."}),
      contains("unexpected in the file: \"module.num_batches_tracked\", \"module.running_mean\", \"module.running_var\""));
  // Without the prefix the same file is another model's, and says which.
  CHECK_THROWS_WITH(heed::io::load(file, none),
      contains("missing in the file: bias, weight; unexpected in the file: \"input\", \"module.bias\", \"module.num_batches_tracked\""));
}
