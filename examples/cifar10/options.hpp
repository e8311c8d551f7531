// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <heed/core/error.hpp>
#include <heed/core/shape.hpp>

namespace cifar10 {

using heed::Index;

inline constexpr std::array<std::string_view, 4> kNets{"demo", "small", "large", "article"};
inline constexpr std::array<std::string_view, 4> kConvolutions{
    "automatic", "direct", "winograd_2x2", "winograd_4x4"};                                                 ///< heed::Conv2dAlgorithm
inline constexpr std::array<std::string_view, 4> kBackends{"automatic", "openmp", "std_thread", "serial"};  ///< heed::Backend
inline constexpr std::array<std::string_view, 5> kAttentions{"full", "none", "identity", "uniform", "convolution"};

/// A program for ranks (HEED_MPI=ON) cuts each batch so that any one to four of them get the bits of one.
#if defined(HEED_MPI)
inline constexpr Index kShards = 4;
#else
inline constexpr Index kShards = 1;
#endif

/// What it takes to build a net: these words stand in the metadata of its file.
struct NetOptions {
  std::string net = "demo";
  std::string attention = "full";
  double logit_scale = 0.5;
  Index attention_blocks = 1;  ///< one behind the other
  Index attention_after = 2;   ///< the block of the net that they stand behind
  Index feed_forward = 0;      ///< hidden features of the perceptron behind each, in widths; 0: there is none
  bool relative_bias = false;  ///< whether scores get a learned number a head and relative position

  friend bool operator==(const NetOptions&, const NetOptions&) = default;
};

/// "demo with attention full", and what is not usual about its block: "(2 blocks, behind block 1, feed-forward 4, relative bias)".
inline std::string words_of(const NetOptions& options) {
  const NetOptions usual;
  std::string extra;
  const auto add = [&](const auto&... words) { extra += heed::text(extra.empty() ? " (" : ", ", words...); };
  if (options.attention == "none") return options.net + " with attention none";
  if (options.attention_blocks != usual.attention_blocks) add(options.attention_blocks, " blocks");
  if (options.attention_after != usual.attention_after) add("behind block ", options.attention_after);
  if (options.feed_forward != usual.feed_forward) add("feed-forward ", options.feed_forward);
  if (options.relative_bias) add("relative bias");
  return heed::text(options.net, " with attention ", options.attention, extra, extra.empty() ? "" : ")");
}

inline constexpr int kMostAttentionBlocks = 8, kWidestFeedForward = 8;

/// What a net's recipe starts from (docs/cifar10.md); as it stands here, that of `demo`.
struct Recipe {
  Index epochs = 3;
  double weight_decay = 0.02;  ///< of convolutions and head, with AdamW
  double label_smoothing = 0.1;
  double average = 0;                 ///< what an update of the weights' moving average keeps; 0: the last weights are the result
  Index translate = 2;                ///< pixels: heed::Augmentation
  double attention_factor = 1.0 / 3;  ///< of the learning rate, for the attention block, with Adam and AdamW; with SGD it is 1/3
};
inline Recipe recipe_of(std::string_view net) {
  if (net == "small") return {.epochs = 10, .weight_decay = 0.5, .label_smoothing = 0.2, .average = 0.99};
  if (net == "large") return {.epochs = 16, .weight_decay = 0.5, .label_smoothing = 0.2, .translate = 4};
  if (net == "article") return {.attention_factor = 2};
  return {};
}

/// Options of `cifar10 train`. Negative numbers stand for "what the recipe says".
struct TrainOptions {
  NetOptions net;
  std::string convolution = "automatic";
  std::string optimizer = "adamw";
  Index epochs = -1;
  Index batch_size = 256;
  Index shards = 0;  ///< of a batch; part of the recipe, since each has its own batch statistics; 0: kShards
  std::uint64_t seed = 0;
  int threads = 0;                    ///< 0: all cores
  std::string backend = "automatic";  ///< heed::Backend
  double learning_rate = -1;
  double attention_learning_rate = -1, attention_weight_decay = -1;
  double weight_decay = -1;
  double label_smoothing = -1;
  double average = -1;     ///< what an update of the weights' moving average keeps; 0: no average
  Index translate = -1;    ///< pixels: heed::Augmentation
  Index cutout = 0;        ///< pixels: heed::Augmentation
  Index train_images = 0;  ///< train on the first so many of those that are left; 0: all
  Index validation = 0;    ///< the last so many training images judge the epochs instead of the test set
  std::string data;        ///< empty: see find_data
  std::string output;      ///< empty: the next free runs/<net>-<number>
  bool overwrite = false;
  Index checkpoint_every = 0;  ///< steps; 0: no checkpoints
  bool resume = false;         ///< go on from the checkpoint in `output`
  bool anomaly = false;        ///< look for the layer that gives the first NaN or infinity

  /// How many of `all` training images are trained on.
  Index trained(Index all) const { return train_images > 0 ? train_images : all - validation; }
};

/// Options of `cifar10 study`: what a table compares, each from some seeds.
struct StudyOptions {
  std::vector<std::string> nets = {"article"};
  std::vector<std::string> arms = {kAttentions.begin(), kAttentions.end()};
  Index seeds = 3;        ///< from training.seed on
  std::string output;     ///< the folder of the runs and of study.md
  TrainOptions training;  ///< of every run
};

struct EvaluateOptions {
  std::vector<std::string> models;  ///< one; for corruptions also one of each seed
  std::string data;
  std::string logits;  ///< a safetensors file to write; empty: none
  std::string convolution = "automatic";
  int views = 1;
  int threads = 0;
  bool corruptions = false;          ///< judge under all corruptions and severities instead
  bool deletion = false;             ///< judge with the patches blanked that attention says matter most, and least, instead
  Index images = 0;                  ///< the first so many test images; 0: all, for corruptions and deletion 2000
  std::vector<std::string> against;  ///< models to compare with, as many
  std::string output;                ///< a JSON file to write; empty: none
  bool overwrite = false;            ///< replace the files of `logits` and `output`

  /// How many test images out of `all` are judged.
  Index judged(Index all) const { return std::min(images > 0 ? images : corruptions || deletion ? 2000 : all, all); }
};

/// Options of `cifar10 report`.
struct ReportOptions {
  std::vector<std::string> runs;        ///< folders
  std::vector<std::string> robustness;  ///< files of `evaluate --corruptions --output`
  std::string output;                   ///< an HTML file
  std::string data;
  bool overwrite = false;
  int threads = 0;
};

struct PredictOptions {
  std::string model;
  std::vector<std::string> images;
  std::string overlay;  ///< a PNG to write; empty: none
  bool overwrite = false;
  std::string shown = "received";  ///< or "heads", "rollout", "relevance": what it shows
  std::string for_class;           ///< relevance for it; empty: for the class that is named
  std::vector<Index> token;        ///< row and column, from 1: what this one takes; empty: the mean of all
  int threads = 0;
};

/// Options of `cifar10 export`: the steps that examples/pytorch compares, or a model for others to run.
struct ExportOptions {
  NetOptions net;
  std::string folder;  ///< with `onnx`: the model's file
  std::string onnx;    ///< an ONNX file to write, instead of steps
  Index steps = 20;
  Index batch_size = 256;
  std::uint64_t seed = 0;
  std::string data;
  std::string precision = "double";  ///< or "float"
  std::string optimizer = "adamw";   ///< or "sgd"
  bool each_step = false;            ///< also the weights before every step
  bool overwrite = false;
  int threads = 0;
};

/// The subcommands. They return the exit code and throw for everything that is worth a sentence.
int train(const TrainOptions& options);
int study(const StudyOptions& options);
int evaluate(const EvaluateOptions& options);
struct DataSource;
struct StoredModel;
int evaluate_corruptions(const EvaluateOptions& options, const DataSource& data);
int evaluate_deletion(const EvaluateOptions& options, StoredModel& model, const DataSource& data);
int report(const ReportOptions& options);
int predict(const PredictOptions& options);
int export_steps(const ExportOptions& options);
int export_onnx(const ExportOptions& options);

}  // namespace cifar10
