// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include <heed/kernels/batch_norm.hpp>

// Batch normalisation as the formulas are written, in long double.
namespace reference {

struct BatchNormColumn {
  long double mean, variance;  ///< over n
};

template <class T>
BatchNormColumn batch_norm_column(const heed::kernels::BatchNormRows& r, const T* x, heed::Index group, heed::Index feature) {
  const long double n = static_cast<long double>(r.count(group));
  long double mean = 0, variance = 0;
  for (heed::Index i = r.begin(group); i < r.begin(group) + r.count(group); ++i)
    mean += static_cast<long double>(x[i * r.features + feature]) / n;
  for (heed::Index i = r.begin(group); i < r.begin(group) + r.count(group); ++i)
    variance +=
        (static_cast<long double>(x[i * r.features + feature]) - mean) * (static_cast<long double>(x[i * r.features + feature]) - mean) / n;
  return {mean, variance};
}

/// y, dx (either may be null) and the added gradients of one feature of one group.
template <class T>
void batch_norm_column(const heed::kernels::BatchNormRows& r, const T* x, const T* dy, heed::Index group, heed::Index feature, double eps,
    long double weight, long double bias, bool fixed, BatchNormColumn statistics, T* y, T* dx, long double* d_weight, long double* d_bias) {
  const long double inv_std = 1 / std::sqrt(statistics.variance + static_cast<long double>(eps));
  const long double n = static_cast<long double>(r.count(group));
  const heed::Index begin = r.begin(group), end = begin + r.count(group);
  const auto normalized = [&](heed::Index i) {
    return (static_cast<long double>(x[i * r.features + feature]) - statistics.mean) * inv_std;
  };
  const auto upstream = [&](heed::Index i) { return static_cast<long double>(dy[i * r.features + feature]); };
  long double sum = 0, sum_n = 0;
  for (heed::Index i = begin; i < end; ++i) sum += upstream(i), sum_n += upstream(i) * normalized(i);
  *d_weight += sum_n, *d_bias += sum;
  for (heed::Index i = begin; i < end; ++i) {
    y[i * r.features + feature] = static_cast<T>(normalized(i) * weight + bias);
    dx[i * r.features + feature] = static_cast<T>(weight * inv_std * (upstream(i) - (fixed ? 0 : sum / n + normalized(i) * sum_n / n)));
  }
}

}  // namespace reference
