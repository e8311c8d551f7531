// SPDX-License-Identifier: MIT
#include <cmath>

#include <heed/kernels/winograd_kernels.hpp>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

namespace {

using namespace heed;
using namespace heed::kernels;
using kernels::detail::AddKernelGradients;
using kernels::detail::KernelTaps;
using kernels::detail::Strided;
using kernels::detail::TransformKernels;
using reference::random_tensor;

/// A correlation of 3x3 kernels: only its taps matter. `back`: as the gradient of the input sees them, from the last to the first.
Correlation correlation(Index sources, Index targets, bool back) {
  const Index origin = -1, first = back ? 2 : 0, spacing = back ? -1 : 1;
  const CorrelationAxis axis{4, 0, 1, 4, 1, 3, 1, origin, first, spacing};
  return {1, 1, {axis, axis}, sources, targets, {4, 4}};
}

/// One kernel's square of packets of one number.
template <class Line, class T>
std::vector<T> transformed(const std::vector<T>& square) {
  using P = Packet<Scalar, T>;
  std::vector<T> result(Line::out * Line::out), from = square;
  transform_square<Line, P>(Strided<const T, P>{from.data(), 1}, Strided<T, P>{result.data(), 1});
  return result;
}

template <int Size, class T>
void check(Index sources, Index targets, bool back) {
  INFO("F(" << Size << "), " << sources << " sources, " << targets << " targets" << (back ? ", back" : ""));
  constexpr Index points = (Size + 2) * (Size + 2);
  const Index width = panel_width<T>(), point = sources * width + 16, gap = 5;
  const Index target_step = back ? 9 : 9 * sources + gap, source_step = back ? 9 * targets + gap : 9;
  const KernelTaps kernel(correlation(sources, targets, back), target_step, source_step);
  const Index size = (targets - 1) * target_step + (sources - 1) * source_step + 9;
  const auto weight = random_tensor<T, 1>({size}, 1);
  Tensor<T, 1> to({points * point});
  to.fill(T(99));
  dispatch<TransformKernels<Size, T>, T>(&kernel, weight.data(), targets, sources, to.data(), point, width);
  const double tolerance = 20 * static_cast<double>(std::numeric_limits<T>::epsilon());
  bool right = true;
  for (Index s = 0; s < sources; ++s)
    for (Index n = 0; n < width; ++n) {
      std::vector<T> taps(9);
      for (Index k = 0; k < 9; ++k)
        taps[static_cast<std::size_t>(k)] = n < targets ? weight[n * target_step + s * source_step + (back ? 8 - k : k)] : T(0);
      const auto expected = transformed<WinogradKernel<Size, T>>(taps);
      for (Index i = 0; i < points; ++i)
        right = right && std::abs(static_cast<double>(to[i * point + s * width + n] - expected[static_cast<std::size_t>(i)])) < tolerance;
    }
  CHECK(right);
  if (back) return;

  // The way back adds to what is there, and leaves what lies between targets alone.
  const Index shards = 3, shard = points * point;
  const auto sums = random_tensor<T, 1>({shards * shard}, 2), before = random_tensor<T, 1>({size}, 3);
  auto d_weight = before;
  dispatch<AddKernelGradients<Size, T>, T>(&kernel, sums.data(), point, shards, shard, targets, sources, d_weight.data());
  for (Index n = 0; n < targets; ++n)
    for (Index s = 0; s < sources; ++s) {
      std::vector<T> u(static_cast<std::size_t>(points));
      for (Index i = 0; i < points; ++i)
        for (Index part = 0; part < shards; ++part) u[static_cast<std::size_t>(i)] += sums[part * shard + i * point + s * width + n];
      const auto expected = transformed<WinogradKernelGradient<Size, T>>(u);
      for (Index k = 0; k < 9; ++k) {
        const Index at = n * target_step + s * 9 + k;
        right = right && std::abs(static_cast<double>(d_weight[at] - before[at] - expected[static_cast<std::size_t>(k)])) < 4 * tolerance;
      }
    }
  for (Index i = 0; i < size; ++i)
    if (i % target_step >= 9 * sources) right = right && d_weight[i] == before[i];
  CHECK(right);
}

}  // namespace

TEMPLATE_TEST_CASE("kernels and their gradients go to Winograd's points and back one by one", "", float, double) {
  const Index width = panel_width<TestType>();
  for (const Index sources : {Index(1), Index(3), Index(15), Index(16), Index(17), Index(35)})
    for (const Index targets : {Index(1), width / 2, width - 1, width})
      for (const bool back : {false, true}) {
        check<2, TestType>(sources, targets, back);
        check<4, TestType>(sources, targets, back);
      }
}
