// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/pool2d.hpp>

// Pooling over all pixels of an image: (images, pixels, channels) -> (images, channels). Images are independent.

namespace heed::inline HEED_ABI::kernels {

namespace detail {

template <class T>
struct GlobalMax {
  const T* x;
  Index pixels, channels;
  T* y;
  std::int32_t* winner;  ///< or null

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P best = P::broadcast(T(-HUGE_VAL)), place = P::zero(), nan = P::zero();
    for (Index i = 0; i < pixels; ++i) take_larger(P::load(x + i * channels + channel), T(static_cast<double>(i)), best, place, nan);
    P::nan_or(nan, best).store(y + channel);
    if (winner) place.store_numbers(winner + channel);
  }
  template <class Isa>
  HEED_INLINE static void run(const GlobalMax* image) {
    sweep_channels<Isa, T>(0, image->channels, *image);
  }
};

template <class T>
struct GlobalAverage {
  const T* x;
  Index pixels, channels;
  T* y;

  static constexpr Index kBlock = 1024;

  template <class P>
  HEED_INLINE P block(Index i, Index end, Index channel) const {
    P sum0 = P::zero(), sum1 = P::zero();  // two chains hide half the latency of an addition
    for (; i + 2 <= end; i += 2) sum0 = sum0 + P::load(x + i * channels + channel), sum1 = sum1 + P::load(x + (i + 1) * channels + channel);
    if (i < end) sum0 = sum0 + P::load(x + i * channels + channel);
    return sum0 + sum1;
  }

  template <class P>
  HEED_INLINE void at(Index channel) const {
    // Blocks of pixels, and blocks of those: in one chain of float a mean of 4096 x 4096 pixels of 0.1 was 6 % off, and sums stand still at 2^24.
    P sum = P::zero();
    for (Index i = 0; i < pixels;) {
      P part = P::zero();
      for (const Index end = std::min(pixels, i + kBlock * kBlock); i < end; i += kBlock)
        part = part + block<P>(i, std::min(pixels, i + kBlock), channel);
      sum = sum + part;
    }
    (sum / P::broadcast(T(static_cast<double>(pixels)))).store(y + channel);
  }
  template <class Isa>
  HEED_INLINE static void run(const GlobalAverage* image) {
    sweep_channels<Isa, T>(0, image->channels, *image);
  }
};

/// Images that are worth a thread.
inline Index global_pool_grain(Index pixels, Index channels) { return 1 + 16384 / std::max<Index>(1, pixels * channels); }

}  // namespace detail

/// The most pixels of an image: positions are counted in T, and float counts exactly to 2^24.
inline constexpr Index kMaxGlobalPixels = Index{1} << 24;

/// y[n, c] = max over pixels of x[n, pixel, c]; `winner` (as y, or null) gets the first pixel that has it. NaN makes y NaN.
template <class T>
void global_max_pool2d_forward(Index images, Index pixels, Index channels, const T* x, T* y, std::int32_t* winner) {
  parallel_for(images, detail::global_pool_grain(pixels, channels), [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      const detail::GlobalMax<T> image{
          x + n * pixels * channels, pixels, channels, y + n * channels, winner ? winner + n * channels : nullptr};
      dispatch<detail::GlobalMax<T>, T>(&image);
    }
  });
}
HEED_COMPILE_ONCE(global_max_pool2d_forward);

/// dx[n, pixel, c] = dy[n, c] where the pixel is the winner, else 0.
template <class T>
void global_max_pool2d_backward(Index images, Index pixels, Index channels, const T* dy, const std::int32_t* winner, T* dx) {
  parallel_for(images, detail::global_pool_grain(pixels, channels), [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      std::fill_n(dx + n * pixels * channels, pixels * channels, T(0));
      for (Index c = 0; c < channels; ++c) dx[(n * pixels + winner[n * channels + c]) * channels + c] = dy[n * channels + c];
    }
  });
}
HEED_COMPILE_ONCE(global_max_pool2d_backward);

/// y[n, c] = mean over pixels of x[n, pixel, c].
template <class T>
void global_avg_pool2d_forward(Index images, Index pixels, Index channels, const T* x, T* y) {
  parallel_for(images, detail::global_pool_grain(pixels, channels), [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      const detail::GlobalAverage<T> image{x + n * pixels * channels, pixels, channels, y + n * channels};
      dispatch<detail::GlobalAverage<T>, T>(&image);
    }
  });
}
HEED_COMPILE_ONCE(global_avg_pool2d_forward);

/// dx[n, pixel, c] = dy[n, c] / pixels.
template <class T>
void global_avg_pool2d_backward(Index images, Index pixels, Index channels, const T* dy, T* dx) {
  parallel_for(images, detail::global_pool_grain(pixels, channels), [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      T* first = dx + n * pixels * channels;
      for (Index c = 0; c < channels; ++c) first[c] = dy[n * channels + c] / T(static_cast<double>(pixels));
      for (Index i = 1; i < pixels; ++i) std::copy_n(first, channels, first + i * channels);
    }
  });
}
HEED_COMPILE_ONCE(global_avg_pool2d_backward);

}  // namespace heed::inline HEED_ABI::kernels
