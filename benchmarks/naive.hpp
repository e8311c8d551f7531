// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <heed/kernels/attention.hpp>
#include <heed/kernels/conv2d_patches.hpp>

// The passes as everybody would write them at first: plain loops in float, results in fresh vectors, on one thread. What --heed_naive times
// heed against. (The judges of results in tests/reference compute in double or long double, so time would flatter us.)
namespace bench::naive {

using heed::Index;
using Floats = std::vector<float>;

inline Floats zeros(Index count) { return Floats(static_cast<std::size_t>(count)); }

/// What a pass gives. y and dx are fresh each time, parameter gradients add to what is there, as in heed.
struct Result {
  Floats y, dx, d_weight, d_bias;
};

/// C (rows x cols) = A (rows x depth) B (depth x cols).
inline void gemm(Index rows, Index cols, Index depth, const float* a, const float* b, float* c) {
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) c[i * cols + j] = 0;
    for (Index k = 0; k < depth; ++k)
      for (Index j = 0; j < cols; ++j) c[i * cols + j] += a[i * depth + k] * b[k * cols + j];
  }
}

inline Floats linear(Index rows, Index in, Index out, const float* x, const float* weight, const float* bias) {
  Floats result = zeros(rows * out);
  float* y = result.data();
  for (Index i = 0; i < rows; ++i)
    for (Index o = 0; o < out; ++o) {
      float sum = bias[o];
      for (Index j = 0; j < in; ++j) sum += x[i * in + j] * weight[o * in + j];
      y[i * out + o] = sum;
    }
  return result;
}
inline Floats linear_backward(
    Index rows, Index in, Index out, const float* x, const float* weight, const float* dy, float* d_weight, float* d_bias) {
  Floats result = zeros(rows * in);
  float* dx = result.data();
  for (Index i = 0; i < rows; ++i)
    for (Index o = 0; o < out; ++o) {
      const float g = dy[i * out + o];
      d_bias[o] += g;
      for (Index j = 0; j < in; ++j) dx[i * in + j] += g * weight[o * in + j];
      for (Index j = 0; j < in; ++j) d_weight[o * in + j] += g * x[i * in + j];
    }
  return result;
}

/// Calls `f(x, weight, y)` with the offsets of every run of a convolution's products, which has `in_channels / groups` of them.
template <class F>
void for_each_run(const heed::kernels::Conv2dGeometry& g, const F& f) {
  const Index in = g.in_channels / g.groups, out = g.out_channels / g.groups, taps = g.kernel[0] * g.kernel[1];
  for (Index n = 0; n < g.images; ++n)
    for (Index oy = 0; oy < g.out_size[0]; ++oy)
      for (Index ox = 0; ox < g.out_size[1]; ++ox)
        for (Index ky = 0; ky < g.kernel[0]; ++ky) {
          const Index iy = oy * g.stride[0] + ky * g.dilation[0] - g.padding[0];
          if (iy < 0 || iy >= g.size[0]) continue;
          for (Index kx = 0; kx < g.kernel[1]; ++kx) {
            const Index ix = ox * g.stride[1] + kx * g.dilation[1] - g.padding[1];
            if (ix < 0 || ix >= g.size[1]) continue;
            const Index x = ((n * g.size[0] + iy) * g.size[1] + ix) * g.in_channels, y = ((n * g.out_size[0] + oy) * g.out_size[1] + ox);
            for (Index o = 0; o < g.out_channels; ++o) f(x + o / out * in, o * in * taps + ky * g.kernel[1] + kx, y * g.out_channels + o);
          }
        }
}

/// x and y are (N, H, W, C), the weight (O, I, K, K) as in torch.
inline Floats conv2d(const heed::kernels::Conv2dGeometry& g, const float* x, const float* weight, const float* bias) {
  const Index in = g.in_channels / g.groups, taps = g.kernel[0] * g.kernel[1];
  Floats result = zeros(g.images * g.out_size[0] * g.out_size[1] * g.out_channels);
  float* y = result.data();
  for (Index i = 0; i < static_cast<Index>(result.size()); i += g.out_channels)
    for (Index o = 0; o < g.out_channels; ++o) y[i + o] = bias[o];
  for_each_run(g, [=](Index from, Index w, Index to) {
    float sum = 0;
    for (Index c = 0; c < in; ++c) sum += x[from + c] * weight[w + c * taps];
    y[to] += sum;
  });
  return result;
}
inline Floats conv2d_backward(
    const heed::kernels::Conv2dGeometry& g, const float* x, const float* weight, const float* dy, float* d_weight, float* d_bias) {
  const Index in = g.in_channels / g.groups, taps = g.kernel[0] * g.kernel[1];
  Floats result = zeros(g.images * g.size[0] * g.size[1] * g.in_channels);
  float* dx = result.data();
  for (Index i = 0; i < g.images * g.out_size[0] * g.out_size[1]; ++i)
    for (Index o = 0; o < g.out_channels; ++o) d_bias[o] += dy[i * g.out_channels + o];
  for_each_run(g, [=](Index from, Index w, Index to) {
    for (Index c = 0; c < in; ++c) dx[from + c] += dy[to] * weight[w + c * taps];
    for (Index c = 0; c < in; ++c) d_weight[w + c * taps] += dy[to] * x[from + c];
  });
  return result;
}

/// The weights p of query i, without dropout, and the slopes that the cap has at the scores: one of each a key.
inline void attention_weights(const heed::kernels::Attention<float>& a, Index b, Index h, Index i, float* p, float* slope) {
  const Index kv = h / (a.heads / a.kv_heads), position = i + a.causal_offset;
  const float *q = a.q.at(b, h, i), scale = static_cast<float>(a.scale), cap = static_cast<float>(a.softcap);
  float largest = -HUGE_VALF, sum = 0;
  for (Index j = 0; j < a.keys; ++j) {
    slope[j] = 1;
    p[j] = -HUGE_VALF;
    if (a.causal && j > position) continue;
    if (a.mask && !a.mask.row(b, h, i)[j * a.mask.key]) continue;
    if (a.key_mask && !a.key_mask.row(b, h, i)[j * a.key_mask.key]) continue;
    const float* k = a.k.at(b, kv, j);
    float score = 0;
    for (Index d = 0; d < a.width; ++d) score += q[d] * k[d];
    score *= scale;
    if (cap > 0) {
      const float t = std::tanh(score / cap);
      score = cap * t, slope[j] = 1 - t * t;
    }
    if (a.bias) score += a.bias.row(b, h, i)[j * a.bias.key];
    if (a.slopes) score -= a.slopes[h] * static_cast<float>(std::abs(position - j));
    p[j] = score;
    largest = std::max(largest, score);
  }
  for (Index j = 0; j < a.keys; ++j) sum += p[j] = std::exp(p[j] - largest);
  for (Index j = 0; j < a.keys; ++j) p[j] /= sum;
}

/// y (B, H, Tq, Dv).
inline Floats attention(const heed::kernels::Attention<float>& a) {
  Floats result = zeros(a.batches * a.heads * a.queries * a.value_width), row = zeros(2 * a.keys);
  float *y = result.data(), *p = row.data();
  for (Index b = 0; b < a.batches; ++b)
    for (Index h = 0; h < a.heads; ++h)
      for (Index i = 0; i < a.queries; ++i, y += a.value_width) {
        attention_weights(a, b, h, i, p, p + a.keys);
        for (Index j = 0; j < a.keys; ++j) {
          const float* v = a.v.at(b, h / (a.heads / a.kv_heads), j);
          for (Index d = 0; d < a.value_width; ++d) y[d] += p[j] * v[d];
        }
      }
  return result;
}
struct AttentionGradients {
  Floats dq, dk, dv;
};
/// dy (B, H, Tq, Dv); gradients lie as densely. Weights are computed again.
inline AttentionGradients attention_backward(const heed::kernels::Attention<float>& a, const float* dy) {
  AttentionGradients r{zeros(a.batches * a.heads * a.queries * a.width), zeros(a.batches * a.kv_heads * a.keys * a.width),
      zeros(a.batches * a.kv_heads * a.keys * a.value_width)};
  Floats row = zeros(3 * a.keys);
  float *p = row.data(), *slope = p + a.keys, *dp = slope + a.keys, *dq = r.dq.data();
  for (Index b = 0; b < a.batches; ++b)
    for (Index h = 0; h < a.heads; ++h)
      for (Index i = 0; i < a.queries; ++i, dq += a.width, dy += a.value_width) {
        const Index kv = h / (a.heads / a.kv_heads), first = (b * a.kv_heads + kv) * a.keys;
        attention_weights(a, b, h, i, p, slope);
        float delta = 0;
        for (Index j = 0; j < a.keys; ++j) {
          const float* v = a.v.at(b, kv, j);
          float *dv = r.dv.data() + (first + j) * a.value_width, sum = 0;
          for (Index d = 0; d < a.value_width; ++d) sum += dy[d] * v[d];
          for (Index d = 0; d < a.value_width; ++d) dv[d] += p[j] * dy[d];
          dp[j] = sum, delta += p[j] * sum;
        }
        const float* q = a.q.at(b, h, i);
        for (Index j = 0; j < a.keys; ++j) {
          const float ds = p[j] * (dp[j] - delta) * slope[j] * static_cast<float>(a.scale), *k = a.k.at(b, kv, j);
          float* dk = r.dk.data() + (first + j) * a.width;
          for (Index d = 0; d < a.width; ++d) dq[d] += ds * k[d];
          for (Index d = 0; d < a.width; ++d) dk[d] += ds * q[d];
        }
      }
  return r;
}

/// With `dy` also the gradients. RMS norm is the one that is not centered.
inline void row_norm(
    Index rows, Index width, const float* x, const float* weight, const float* bias, float eps, const float* dy, bool centered, Result& r) {
  r.y = zeros(rows * width);
  if (dy) r.dx = zeros(rows * width);
  const float n = static_cast<float>(width);
  for (Index i = 0; i < rows; ++i, x += width) {
    float *y = r.y.data() + i * width, mean = 0, variance = 0;
    for (Index j = 0; j < width && centered; ++j) mean += x[j];
    mean /= n;
    for (Index j = 0; j < width; ++j) variance += (x[j] - mean) * (x[j] - mean);
    const float inv_std = 1 / std::sqrt(variance / n + eps);
    for (Index j = 0; j < width; ++j) y[j] = (x[j] - mean) * inv_std * weight[j] + (bias ? bias[j] : 0);
    if (!dy) continue;
    const float* g = dy + i * width;
    float *dx = r.dx.data() + i * width, sum = 0, dot = 0;
    for (Index j = 0; j < width; ++j) {
      const float normalized = (x[j] - mean) * inv_std;
      r.d_weight[static_cast<std::size_t>(j)] += g[j] * normalized;
      if (bias) r.d_bias[static_cast<std::size_t>(j)] += g[j];
      sum += g[j] * weight[j], dot += g[j] * weight[j] * normalized;
    }
    for (Index j = 0; j < width; ++j) dx[j] = inv_std * (g[j] * weight[j] - (centered ? sum / n : 0) - (x[j] - mean) * inv_std * dot / n);
  }
}

/// The statistics of the batch, y, and with `dy` the gradients.
inline void batch_norm(
    Index rows, Index width, const float* x, const float* weight, const float* bias, float eps, const float* dy, Result& r) {
  r.y = zeros(rows * width);
  if (dy) r.dx = zeros(rows * width);
  Floats sums = zeros(4 * width);
  float *mean = sums.data(), *inv_std = mean + width, *sum = inv_std + width, *dot = sum + width;
  const float n = static_cast<float>(rows);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < width; ++j) mean[j] += x[i * width + j] / n;
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < width; ++j) inv_std[j] += (x[i * width + j] - mean[j]) * (x[i * width + j] - mean[j]) / n;
  for (Index j = 0; j < width; ++j) inv_std[j] = 1 / std::sqrt(inv_std[j] + eps);
  float* y = r.y.data();
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < width; ++j) y[i * width + j] = (x[i * width + j] - mean[j]) * inv_std[j] * weight[j] + bias[j];
  if (!dy) return;
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < width; ++j) sum[j] += dy[i * width + j], dot[j] += dy[i * width + j] * (x[i * width + j] - mean[j]) * inv_std[j];
  for (Index j = 0; j < width; ++j) r.d_bias[static_cast<std::size_t>(j)] += sum[j], r.d_weight[static_cast<std::size_t>(j)] += dot[j];
  float* dx = r.dx.data();
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < width; ++j)
      dx[i * width + j] =
          weight[j] * inv_std[j] * (dy[i * width + j] - sum[j] / n - (x[i * width + j] - mean[j]) * inv_std[j] * dot[j] / n);
}

inline void softmax(Index rows, Index width, const float* x, const float* dy, Result& r) {
  r.y = zeros(rows * width);
  if (dy) r.dx = zeros(rows * width);
  for (Index i = 0; i < rows; ++i, x += width) {
    float *y = r.y.data() + i * width, largest = x[0], sum = 0, dot = 0;
    for (Index j = 1; j < width; ++j) largest = std::max(largest, x[j]);
    for (Index j = 0; j < width; ++j) sum += y[j] = std::exp(x[j] - largest);
    for (Index j = 0; j < width; ++j) y[j] /= sum;
    if (!dy) continue;
    const float* g = dy + i * width;
    float* dx = r.dx.data() + i * width;
    for (Index j = 0; j < width; ++j) dot += y[j] * g[j];
    for (Index j = 0; j < width; ++j) dx[j] = y[j] * (g[j] - dot);
  }
}

/// Exact, or by the tanh formula.
inline void gelu(Index count, bool by_tanh, const float* x, const float* dy, Result& r) {
  constexpr float kHalf = 0.70710678f, kDensity = 0.39894228f, kTanh = 0.79788456f, kCube = 0.044715f;  // √½, 1/√(2π), √(2/π)
  const auto inner = [](float u) { return std::tanh(kTanh * (u + kCube * u * u * u)); };
  r.y = zeros(count);
  for (Index i = 0; i < count; ++i)
    r.y[static_cast<std::size_t>(i)] = by_tanh ? 0.5f * x[i] * (1 + inner(x[i])) : 0.5f * x[i] * (1 + std::erf(x[i] * kHalf));
  if (!dy) return;
  r.dx = zeros(count);
  for (Index i = 0; i < count; ++i) {
    const float u = x[i], t = by_tanh ? inner(u) : 0;
    r.dx[static_cast<std::size_t>(i)] = dy[i] * (by_tanh ? 0.5f * (1 + t) + 0.5f * u * (1 - t * t) * kTanh * (1 + 3 * kCube * u * u)
                                                         : 0.5f * (1 + std::erf(u * kHalf)) + u * kDensity * std::exp(-0.5f * u * u));
  }
}

/// Windows 2x2, stride 2.
inline void max_pool2d(Index images, Index height, Index width, Index channels, const float* x, const float* dy, Result& r) {
  const Index out_height = height / 2, out_width = width / 2, count = images * out_height * out_width * channels;
  r.y = zeros(count);
  std::vector<Index> winners(dy ? r.y.size() : 0);
  std::size_t to = 0;
  for (Index n = 0; n < images; ++n)
    for (Index oy = 0; oy < out_height; ++oy)
      for (Index ox = 0; ox < out_width; ++ox)
        for (Index c = 0; c < channels; ++c, ++to) {
          const Index first = ((n * height + 2 * oy) * width + 2 * ox) * channels + c;
          Index best = first;
          for (Index tap = 1; tap < 4; ++tap) {
            const Index from = first + (tap / 2 * width + tap % 2) * channels;
            if (x[from] > x[best]) best = from;
          }
          r.y[to] = x[best];
          if (dy) winners[to] = best;
        }
  if (!dy) return;
  r.dx = zeros(images * height * width * channels);
  for (std::size_t i = 0; i < winners.size(); ++i) r.dx[static_cast<std::size_t>(winners[i])] += dy[i];
}

/// One step of AdamW; `step` is 1 at the first.
inline void adamw(Index count, float* value, const float* gradient, float* first, float* second, double rate, double beta1, double beta2,
    double eps, double weight_decay, int step) {
  const float b1 = static_cast<float>(beta1), b2 = static_cast<float>(beta2), decay = static_cast<float>(1 - rate * weight_decay);
  const float size = static_cast<float>(rate / (1 - std::pow(beta1, step)));
  const float correction = static_cast<float>(std::sqrt(1 - std::pow(beta2, step)));
  for (Index i = 0; i < count; ++i) {
    first[i] = b1 * first[i] + (1 - b1) * gradient[i];
    second[i] = b2 * second[i] + (1 - b2) * gradient[i] * gradient[i];
    value[i] = decay * value[i] - size * first[i] / (std::sqrt(second[i]) / correction + static_cast<float>(eps));
  }
}

}  // namespace bench::naive
