// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <heed/core/shape.hpp>

namespace text {

using heed::Index;

/// What it takes to build a model: these numbers stand in the metadata of its file.
struct ModelOptions {
  Index layers = 3;
  Index features = 128;  ///< of a token
  Index heads = 4;
  Index kv_heads = 2;   ///< heads of keys and values, which groups of query heads share
  Index context = 128;  ///< characters that a prediction can look back at, the last one among them
};

/// Options of `text train`.
struct TrainOptions {
  ModelOptions model;
  std::vector<std::string> data;  ///< files and folders; empty: what the source tree says about itself
  Index steps = 1200;
  Index batch_size = 16;  ///< pieces of text a step, each as long as the context
  double learning_rate = 3e-3;
  std::uint64_t seed = 0;
  int threads = 0;     ///< 0: all cores
  std::string output;  ///< empty: the next free runs/text-<number>
  bool overwrite = false;
};

/// Options of `text generate`.
struct GenerateOptions {
  std::string model;
  std::string prompt = "\n";
  Index length = 400;  ///< characters behind the prompt
  double temperature = 0.8;
  std::uint64_t seed = 0;
  bool no_cache = false;  ///< run the whole context again for every character
  int threads = 0;
};

/// The subcommands. They return the exit code and throw for everything that is worth a sentence.
int train(const TrainOptions& options);
int generate(const GenerateOptions& options);

}  // namespace text
