// SPDX-License-Identifier: MIT
// A user's second program: layers, forward and backward, and a number that was computed without heed.
#include <heed/heed.hpp>

#include <cmath>
#include <cstdio>

// Number i of the weights and of the pictures: any will do that do not repeat from row to row.
static float number(heed::Index i) { return static_cast<float>(i * 37 % 101 - 50) / 100; }

int main() {
  heed::Sequential net(heed::Conv2d<float>({.in_channels = 3, .out_channels = 8, .kernel_size = 3}), heed::Relu<float>(),
      heed::Flatten<float>(), heed::Linear<float>({.in_features = 8 * 6 * 6, .out_features = 5}));
  const auto parameters = heed::named_parameters(net);
  for (const auto& [name, parameter] : parameters)
    for (heed::Index i = 0; i < parameter->size(); ++i) parameter->value()[i] = number(i);
  heed::Tensor<float, 4> x({2, 8, 8, 3});
  for (heed::Index i = 0; i < x.size(); ++i) x.data()[i] = number(7 * i);

  // The squared length of all gradients of ½ Σ y², whose own with respect to y is y.
  decltype(net)::Cache cache;
  const auto dx = net.backward(net.forward(x, cache), cache);
  double squared = dx.matrix().squaredNorm();
  for (const auto& [name, parameter] : parameters)
    for (heed::Index i = 0; i < parameter->size(); ++i) squared += std::pow(parameter->gradient()[i], 2);
  const double expected = 819.0238790;  // plain loops in double precision
  std::printf("%d.%d: squared gradient %.7g on %d threads, %s\n", HEED_VERSION_MAJOR, HEED_VERSION_MINOR, squared, heed::thread_count(),
      heed::isa_name());
  return std::abs(squared / expected - 1) < 1e-5 ? 0 : 1;  // sums of some hundred floats: they differ by 1e-6
}
