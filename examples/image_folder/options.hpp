// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <heed/core/shape.hpp>

namespace image_folder {

using heed::Index;

/// What it takes to build a net, beside the number of classes.
struct NetOptions {
  Index size = 64;   ///< side of the pictures that it sees, in pixels: a multiple of 8
  Index width = 32;  ///< features behind the first of three convolutions; 2 and 4 times as many behind the others: a multiple of 4
};

/// Options of `image_folder train`.
struct TrainOptions {
  NetOptions net;
  std::string pictures;  ///< a folder with a folder of pictures for each class
  Index epochs = 30;
  Index batch_size = 32;
  double learning_rate = 3e-3;  ///< highest, of one cycle
  double held_out = 0.2;        ///< share of each class's pictures that the net is judged by and does not learn
  bool no_flip = false;         ///< pictures are not mirrored: for letters, left and right hands
  std::uint64_t seed = 0;
  int threads = 0;     ///< 0: all cores
  std::string output;  ///< empty: the next free runs/images-<number>
  bool overwrite = false;
};

/// Options of `image_folder predict`.
struct PredictOptions {
  std::string model;
  std::vector<std::string> pictures;
  std::string overlay;  ///< a PNG file that shows where the net looked; empty: none
  bool overwrite = false;
  int threads = 0;
};

/// The subcommands. They return the exit code and throw for everything that is worth a sentence.
int train(const TrainOptions& options);
int predict(const PredictOptions& options);

}  // namespace image_folder
