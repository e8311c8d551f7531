// SPDX-License-Identifier: MIT
// Checkpoints and models: a file is of this training, which then goes on, or nothing changes.
#include <algorithm>

#include <heed/compose/sequential.hpp>
#include <heed/io/checkpoint.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/weight_average.hpp>

#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heed;
  const SeedScope seed(1);
  auto model =
      Sequential(named("a", Linear<float>({.in_features = 2, .out_features = 2})), named("b", BatchNorm1d<float>({.num_features = 2})));
  AdamW<float> optimizer(named_parameters(model));
  WeightAverage<float> average(named_parameters(model), named_buffers(model));
  const std::string before = weights_hash(model);
  for (const bool averaged : {true, false}) {
    bool taken = false;
    fuzz::refused_or_read_within(SafetensorsReader::kMemoryFactor, size, [&] {
      const SafetensorsReader file(std::string(fuzz::text_of(data, size)), "input");
      if (averaged)
        io::load_checkpoint(file, model, optimizer, &average);
      else
        io::load_checkpoint(file, model, optimizer);
      taken = true;
      for (const auto& [name, steps] : optimizer.named_step_counts()) fuzz::demand(*steps >= 0 && *steps <= io::kMostCounted);
    });
    if (taken) {
      for (const auto& [name, parameter] : named_parameters(model)) std::fill_n(parameter->gradient(), parameter->size(), 1.0f);
      optimizer.step();
      for (const auto& [name, steps] : optimizer.named_step_counts()) fuzz::demand(*steps >= 1);
      if (averaged) average.update();
      return 0;
    }
    fuzz::demand(weights_hash(model) == before);
  }
  for (const bool strict : {true, false})
    fuzz::refused_or_read_within(SafetensorsReader::kMemoryFactor, size, [&] {
      const SafetensorsReader file(std::string(fuzz::text_of(data, size)), "input");
      io::load(file, model, {.strict = strict, .prefix = strict ? "" : "model."});
    });
  return 0;
}
