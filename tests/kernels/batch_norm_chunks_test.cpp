// SPDX-License-Identifier: MIT
#include <cmath>
#include <mutex>
#include <string>
#include <vector>

#include "catch.hpp"
#include "every_isa.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/batch_norm_chunks.hpp>

using namespace heed;
using kernels::BatchNormRows;

// Up to 256 features, packets stand in fours and the rest alone; of more, each stands alone.
TEMPLATE_TEST_CASE("chunks of batch norm: moments and sums of every column", "[batch_norm]", float, double) {
  using T = TestType;
  const double eps = sizeof(T) == 4 ? 6e-8 : 1.2e-16;
  for (const Index features : {1, 5, 24, 62, 64, 67, 250, 256, 257, 301})
    for (const Index rows : {1, 2, 7, 38}) {
      const auto x = reference::random_tensor<T, 1>({rows * features}, 1, 2, 4), dy = reference::random_tensor<T, 1>({rows * features}, 2);
      Tensor<T, 1> mean({features}), deviation({features}), squares({features}), sum({features}), product({features});
      for (const Index ahead : {0, 4096}) {  // what is asked for need not be there
        INFO("features " << features << ", rows " << rows << ", ahead " << ahead);
        const double n = double(rows + 4) * eps;
        const auto check_moments = [&](const char* isa) {
          INFO(isa);
          for (Index j = 0; j < features; ++j) {
            double center = 0, off = 0, square = 0;
            for (Index i = 0; i < rows; ++i) center += double(x[i * features + j]) / double(rows);
            for (Index i = 0; i < rows; ++i) {
              const double d = double(x[i * features + j]) - double(mean[j]);
              off += d, square += d * d;
            }
            REQUIRE(std::abs(double(mean[j]) - center) <= 4 * n);
            REQUIRE(std::abs(double(deviation[j]) - off) <= 4 * n * double(rows));
            REQUIRE(std::abs(double(squares[j]) - square) <= 4 * n * double(rows));
          }
        };
        const auto check_sums = [&](const char* isa) {
          INFO(isa);
          for (Index j = 0; j < features; ++j) {
            double total = 0, dot = 0, size = 0;
            for (Index i = 0; i < rows; ++i) {
              const double g = double(dy[i * features + j]), d = double(x[i * features + j]) - double(mean[j]);
              total += g, dot += g * d, size += std::abs(g) * (1 + std::abs(d));
            }
            REQUIRE(std::abs(double(sum[j]) - total) <= n * size);
            REQUIRE(std::abs(double(product[j]) - dot) <= n * size);
          }
        };
        const kernels::detail::ChunkMoments<T> moments{rows, features, ahead, x.data(), mean.data(), deviation.data(), squares.data()};
        const kernels::detail::ChunkGradientSums<T> sums{
            rows, features, ahead, x.data(), dy.data(), mean.data(), sum.data(), product.data()};
        for_every_isa<kernels::detail::ChunkMoments<T>, T>(check_moments, &moments);
        for_every_isa<kernels::detail::ChunkGradientSums<T>, T>(check_sums, &sums);
      }
    }
}

TEST_CASE("chunks of batch norm: every row belongs to one chunk of its group", "[batch_norm]") {
  for (const BatchNormRows r : {BatchNormRows{1000, 16384, 1, 1000}, BatchNormRows{5000, 3, 1, 5000}, BatchNormRows{5000, 24, 3, 1700},
           BatchNormRows{90, 24, 90, 1}, BatchNormRows{100, 400, 7, 15}}) {
    std::vector<int> seen(static_cast<std::size_t>(r.rows)), chunks(static_cast<std::size_t>(r.chunks()));
    std::mutex lock;
    kernels::detail::for_each_chunk(r, [&](Index group, Index begin, Index end, Index chunk) {
      const std::lock_guard held(lock);
      ++chunks[static_cast<std::size_t>(chunk)];
      CHECK(begin < end);
      CHECK(end - begin <= r.chunk_rows());
      CHECK(begin >= r.begin(group));
      CHECK(end <= r.begin(group) + r.count(group));
      for (Index i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    CHECK(seen == std::vector<int>(seen.size(), 1));
    CHECK(chunks == std::vector<int>(chunks.size(), 1));
  }
}
