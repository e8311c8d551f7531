// SPDX-License-Identifier: MIT
// The same bits with any number of threads, inside a caller's OpenMP region, and from several std::threads at once.
#include <cstring>
#include <thread>
#include <vector>

#include "catch.hpp"

#include <heed/core/parallel.hpp>
#include <heed/losses/cross_entropy.hpp>

#include "small_net.hpp"

using namespace heed;

namespace {

Tensor<float, 4> images(Index count) {
  Tensor<float, 4> x({count, 8, 8, 3});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 7919) % 101) * 0.02f - 1.0f;
  return x;
}

/// Logits, input gradient and all parameter gradients of one training pass, one after another.
std::vector<float> one_pass(const Tensor<float, 4>& x) {
  SeedScope seed(3);
  StepScope step(5, 1);
  auto model = small_net();
  decltype(model)::Cache cache;
  const auto logits = model.forward(x, cache);
  std::vector<int> labels(static_cast<std::size_t>(x.size(0)), 1);
  Tensor<float, 2> d_logits;
  CrossEntropyLoss<float> loss;
  loss(logits, labels, d_logits);
  const auto dx = model.backward(d_logits, cache);
  std::vector<float> result(logits.span().begin(), logits.span().end());
  result.insert(result.end(), dx.span().begin(), dx.span().end());
  for (auto& [name, parameter] : named_parameters(model))
    result.insert(result.end(), parameter->gradient(), parameter->gradient() + parameter->size());
  return result;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("The number of threads changes no bit") {
  const auto x = images(37);
  ThreadScope one(1);
  const auto expected = one_pass(x);
  for (int threads : {2, 3, 5}) {
    ThreadScope scope(threads);
    REQUIRE(same_bits(one_pass(x), expected));
  }
}

TEST_CASE("Several threads may run the library at once") {
  const auto x = images(9);
  const auto expected = one_pass(x);
  std::vector<std::vector<float>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = one_pass(x); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) REQUIRE(same_bits(result, expected));
}

TEST_CASE("One model serves eight threads, whose batches are of any size") {
  SeedScope seed(1);
  const auto model = small_net();
  const auto x = images(17);
  std::vector<Tensor<float, 2>> alone;  // what each image is said to be when nothing else runs
  for (Index i = 0; i < x.size(0); ++i) alone.push_back(model.forward(x.slice(i, i + 1)));
  std::vector<int> equal(8, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < equal.size(); ++t)
    threads.emplace_back([&, t] {
      for (Index round = 0; round < 17; ++round) {
        const Index count = (round + 5 * static_cast<Index>(t)) % 17 + 1, first = (17 - count) / 2;
        const auto y = model.forward(x.slice(first, first + count));
        for (Index i = 0; i < count; ++i)
          equal[t] += std::memcmp(y.data() + i * y.features(), alone[static_cast<std::size_t>(first + i)].data(), 4 * sizeof(float)) == 0;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(equal == std::vector<int>(8, 17 * 18 / 2));  // each thread has seen each size once
}

TEST_CASE("One image gives the same bits alone and in a batch") {
  SeedScope seed(1);
  const auto model = small_net();
  const auto x = images(33);
  const auto all = model.forward(x);
  for (Index i : {Index{0}, Index{13}, Index{32}}) {
    const auto alone = model.forward(x.slice(i, i + 1));
    REQUIRE(std::memcmp(alone.data(), all.data() + i * all.features(), static_cast<std::size_t>(alone.size()) * sizeof(float)) == 0);
  }
}

#ifdef _OPENMP
TEST_CASE("The library works inside a caller's OpenMP region") {
  const auto x = images(9);
  const auto expected = one_pass(x);
  std::vector<std::vector<float>> results(4);
#pragma omp parallel for num_threads(2)
  for (int i = 0; i < 4; ++i) results[static_cast<std::size_t>(i)] = one_pass(x);
  for (const auto& result : results) REQUIRE(same_bits(result, expected));
}
#endif
