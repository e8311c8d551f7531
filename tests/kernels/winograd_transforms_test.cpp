// SPDX-License-Identifier: MIT
#include <heed/core/random.hpp>
#include <heed/kernels/winograd_transforms.hpp>

#include "catch.hpp"

namespace {

using namespace heed;
using namespace heed::kernels;
using P = Packet<Scalar, double>;

/// Numbers in [-1, 1), as a square of packets.
template <int Count>
struct Noise {
  P at[Count];

  explicit Noise(std::uint64_t stream) {
    const CounterRandom random({stream});
    for (int i = 0; i < Count; ++i) at[i] = {random.uniform(static_cast<std::uint64_t>(i), -1, 1)};
  }
};

struct From {
  const P* at;
  P operator()(int i) const { return at[i]; }
};
struct To {
  P* at;
  void operator()(int i, const P& value) const { at[i] = value; }
};
template <class Line>
void transform(const P* from, P* to) {
  transform_square<Line, P>(From{from}, To{to});
}

template <int Count>
double dot(const P (&a)[Count], const P (&b)[Count]) {
  double sum = 0;
  for (int i = 0; i < Count; ++i) sum += a[i].v * b[i].v;
  return sum;
}

/// `There` is M, `Back` its transpose: <M a Mᵀ, b> = <a, Mᵀ b M>.
template <class There, class Back>
void check_transposed() {
  static_assert(There::in == Back::out && There::out == Back::in);
  const Noise<There::in * There::in> a(1);
  const Noise<There::out * There::out> b(2);
  P forth[There::out * There::out], back[There::in * There::in];
  transform<There>(a.at, forth);
  transform<Back>(b.at, back);
  CHECK(dot(forth, b.at) == Approx(dot(a.at, back)).epsilon(1e-14));
}

template <int Size>
void check_convolution() {
  constexpr int side = Size + 2;
  const Noise<side * side> source(3);
  const Noise<9> kernel(4);
  P d[side * side], g[side * side], y[Size * Size];
  transform<WinogradSource<Size, double>>(source.at, d);
  transform<WinogradKernel<Size, double>>(kernel.at, g);
  for (int i = 0; i < side * side; ++i) d[i] = d[i] * g[i];
  transform<WinogradTarget<Size, double>>(d, y);
  for (int i = 0; i < Size; ++i)
    for (int j = 0; j < Size; ++j) {
      double expected = 0;
      for (int k = 0; k < 9; ++k) expected += source.at[(i + k / 3) * side + j + k % 3].v * kernel.at[k].v;
      CHECK(y[i * Size + j].v == Approx(expected).margin(1e-13));
    }
}

}  // namespace

TEST_CASE("Winograd's transforms make a convolution of products") {
  check_convolution<2>();
  check_convolution<4>();
}

TEST_CASE("Winograd's transforms of gradients are the transposes of those of values") {
  check_transposed<WinogradTarget<2, double>, WinogradTargetGradient<2, double>>();
  check_transposed<WinogradTarget<4, double>, WinogradTargetGradient<4, double>>();
  check_transposed<WinogradKernel<2, double>, WinogradKernelGradient<2, double>>();
  check_transposed<WinogradKernel<4, double>, WinogradKernelGradient<4, double>>();
}
