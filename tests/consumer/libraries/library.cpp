// SPDX-License-Identifier: MIT
// A shared library with heed inside. Two of them, compiled with different flags and loaded by one program, must not run each other's code.
#include <heed/heed.hpp>

#include <algorithm>
#include <cstring>

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

// Which loops its own code runs on.
EXPORT const char* NAME(loops)() { return heed::backend_name(heed::backend()).data(); }

// Which instruction set its own kernels are of.
EXPORT const char* NAME(isa)() { return heed::isa_name(); }

// A layer's output, and its error's words, caught on this side of the border.
EXPORT int NAME(run)(float* output, char* words, int room) {
  heed::Linear<float> layer({.in_features = 3, .out_features = 2});
  std::fill_n(layer.weight().value(), 6, 0.5f);
  std::fill_n(layer.bias().value(), 2, 1.0f);
  heed::Tensor<float, 2> x({4, 3});
  x.fill(2);
  const auto y = layer.forward(x);
  for (int i = 0; i < 8; ++i) output[i] = y.data()[i];
#if defined(__cpp_exceptions)
  try {
    layer.forward(heed::Tensor<float, 2>({4, 5}));
  } catch (const heed::ShapeError& error) {
    std::strncpy(words, error.what(), static_cast<std::size_t>(room) - 1);
    return 1;
  }
  return 0;
#else
  std::strncpy(words, "compiled without exceptions", static_cast<std::size_t>(room) - 1);
  return 1;
#endif
}
