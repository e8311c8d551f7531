// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <heed/layers/conv2d.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

/// N x size x size x in -> out / k kernel s stride, padded by kernel / 2 (2x2 kernels: not), as the peer has it.
struct Workload {
  Index images, size, in, out, kernel, stride;

  Conv2dOptions options() const {
    return {.in_channels = in, .out_channels = out, .kernel_size = kernel, .stride = stride, .padding = kernel == 2 ? 0 : kernel / 2};
  }
  std::string name(const char* pass) const {
    return text("conv2d/", images, 'x', size, 'x', size, 'x', in, "->", out, "/k", kernel, 's', stride, '/', pass);
  }
};

/// The peer's list, then the layers of net `demo`.
constexpr Workload kWorkloads[] = {{64, 32, 3, 64, 3, 1}, {64, 32, 64, 64, 3, 1}, {64, 16, 128, 128, 3, 1}, {64, 16, 256, 256, 3, 1},
    {64, 8, 256, 256, 3, 1}, {64, 8, 512, 512, 3, 1}, {64, 8, 256, 256, 1, 1}, {64, 32, 64, 128, 3, 2}, {64, 32, 64, 64, 2, 1},
    {256, 32, 3, 24, 2, 1}, {256, 31, 24, 24, 3, 1}, {256, 15, 24, 24, 3, 1}, {256, 15, 24, 64, 3, 1}, {256, 7, 64, 64, 3, 1},
    {256, 7, 64, 96, 3, 1}, {256, 3, 96, 96, 3, 1}};

Tensor<float, 4> counted(const Workload& w) {
  Tensor<float, 4> x({w.images, w.size, w.size, w.in});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 101) / 50 - 1;
  return x;
}

void count_flops(benchmark::State& state, const WallClock& clock, const Workload& w, const Shape& y, double passes) {
  const double flops = 2.0 * passes * static_cast<double>(y.size() * w.in * w.kernel * w.kernel);
  state.counters["GFLOPS"] = clock.rate(state, 1e-9 * flops);
}

void conv2d_forward(benchmark::State& state, const Workload& w) {
  const Conv2d<float> layer(w.options());
  const auto x = counted(w);
  const WallClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x).data());
  count_flops(state, clock, w, layer.output_shape(x.shape()), 1);
}

void conv2d_forward_backward(benchmark::State& state, const Workload& w) {
  Conv2d<float> layer(w.options());
  Conv2d<float>::Cache cache;
  const auto x = counted(w);
  const WallClock clock;
  for (auto _ : state) {
    const auto y = layer.forward(x, cache);
    benchmark::DoNotOptimize(layer.backward(y, cache).data());
  }
  count_flops(state, clock, w, layer.output_shape(x.shape()), 3);
}

[[maybe_unused]] const bool registered = [] {
  for (const Workload& w : kWorkloads) {
    benchmark::RegisterBenchmark(w.name("forward").c_str(), conv2d_forward, w)->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(w.name("forward_backward").c_str(), conv2d_forward_backward, w)->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
