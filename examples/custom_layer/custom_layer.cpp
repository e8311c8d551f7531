// SPDX-License-Identifier: MIT
// A layer of your own, certified: its hand-written backward pass is held against exact derivatives of its forward pass.
#include <cstdio>

#include <heed/testing/check_gradients.hpp>

#include "layer_scale.hpp"

int main() {
  bool passed = true;
  for (const heed::Shape& shape : {heed::Shape{1, 1}, heed::Shape{5, 3}, heed::Shape{2, 4, 6}, heed::Shape{2, 3, 3, 17}}) {
    const auto report = heed::check_gradients(LayerScale<double>(shape.features(), 0.5), shape);
    std::printf("%-8s %s\n", report.passed() ? "right" : "WRONG", report.to_string().c_str());
    passed = passed && report.passed();
  }
  // Alone or inside a model, like any layer of the library.
  const auto block = heed::Residual(heed::Sequential(heed::Linear<double>({6, 6}), LayerScale<double>(6)));
  const auto report = heed::check_gradients(block, heed::Shape{4, 6});
  std::printf("%-8s %s\n", report.passed() ? "right" : "WRONG", report.to_string().c_str());
  return passed && report.passed() ? 0 : 1;
}
