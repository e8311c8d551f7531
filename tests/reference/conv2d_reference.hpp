// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/conv2d_patches.hpp>

// The convolution as its sum is written: seven loops, one product each. Judges the kernels.
namespace reference {

/// Calls `f(x element, weight element, y element)` for every product of the convolution.
template <class F>
void for_each_product(const heed::kernels::Conv2dGeometry& g, const F& f) {
  using heed::Index;
  for (Index n = 0; n < g.images; ++n)
    for (Index oy = 0; oy < g.out_size[0]; ++oy)
      for (Index ox = 0; ox < g.out_size[1]; ++ox)
        for (Index o = 0; o < g.out_channels; ++o)
          for (Index i = 0; i < g.in_channels / g.groups; ++i)
            for (Index ky = 0; ky < g.kernel[0]; ++ky)
              for (Index kx = 0; kx < g.kernel[1]; ++kx) {
                const Index iy = oy * g.stride[0] + ky * g.dilation[0] - g.padding[0];
                const Index ix = ox * g.stride[1] + kx * g.dilation[1] - g.padding[1];
                if (iy < 0 || iy >= g.size[0] || ix < 0 || ix >= g.size[1]) continue;
                const Index channel = o / (g.out_channels / g.groups) * (g.in_channels / g.groups) + i;
                f(((n * g.size[0] + iy) * g.size[1] + ix) * g.in_channels + channel,
                    ((o * (g.in_channels / g.groups) + i) * g.kernel[0] + ky) * g.kernel[1] + kx,
                    ((n * g.out_size[0] + oy) * g.out_size[1] + ox) * g.out_channels + o);
              }
}

template <class T>
void conv2d_forward(const heed::kernels::Conv2dGeometry& g, const T* x, const T* weight, const T* bias, T* y) {
  const heed::Index count = g.images * g.out_size[0] * g.out_size[1] * g.out_channels;
  for (heed::Index j = 0; j < count; ++j) y[j] = bias ? bias[j % g.out_channels] : T(0);
  for_each_product(g, [&](heed::Index i, heed::Index w, heed::Index j) { y[j] += x[i] * weight[w]; });
}

template <class T>
void conv2d_input_gradient(const heed::kernels::Conv2dGeometry& g, const T* dy, const T* weight, T* dx) {
  std::fill_n(dx, g.images * g.size[0] * g.size[1] * g.in_channels, T(0));
  for_each_product(g, [&](heed::Index i, heed::Index w, heed::Index j) { dx[i] += dy[j] * weight[w]; });
}

template <class T>
void conv2d_weight_gradient(const heed::kernels::Conv2dGeometry& g, const T* x, const T* dy, T* d_weight) {
  for_each_product(g, [&](heed::Index i, heed::Index w, heed::Index j) { d_weight[w] += dy[j] * x[i]; });
}

}  // namespace reference
