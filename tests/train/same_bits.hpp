// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "catch.hpp"

#include <heed/all.hpp>

#include "every_backend.hpp"

// What the tests of "the same bits" share: a training, what it leaves behind, and who may have run it.

/// Numbers that differ in sign and size, the same on every machine.
template <int Rank, class T = float>
heed::Tensor<T, Rank> numbers(const heed::Shape& shape, std::uint64_t seed) {
  auto x = heed::Tensor<T, Rank>::uninitialized(shape);
  const heed::CounterRandom random({seed});
  for (heed::Index i = 0; i < x.size(); ++i) x[i] = static_cast<T>(random.uniform(static_cast<std::uint64_t>(i), -1, 1));
  return x;
}
inline std::vector<int> labels(heed::Index count, int classes) {
  std::vector<int> result;
  for (heed::Index i = 0; i < count; ++i) result.push_back(static_cast<int>(i * 7 % 11) % classes);
  return result;
}

/// Bits of everything that a training leaves behind: weights, buffers and their average, what the trained net says, the losses.
struct Outcome {
  std::string weights, average;
  std::vector<double> output, losses;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// Three steps with clipping, a schedule and an average of the weights.
template <class Optimizer, class Net, class T, int Rank, class Loss, class... Options>
Outcome trained(
    Net net, const heed::Tensor<T, Rank>& x, const Loss& loss, const heed::WeightAverageOptions& averaged, const Options&... options) {
  Outcome outcome;
  Optimizer optimizer(named_parameters(net), options...);
  heed::WeightAverage<T> average(named_parameters(net), named_buffers(net), averaged);
  heed::Trainer<Net, Loss> trainer(
      net, loss, optimizer, heed::WarmupSchedule{.steps = 10, .warmup_steps = 2}, {.seed = 5, .max_gradient_norm = 0.5});
  for (int step = 0; step < 3; ++step) {
    outcome.losses.push_back(trainer.step(x, labels(x.size(0), 4)).loss);
    average.update();
  }
  const auto y = net.forward(x);
  outcome.output.assign(y.data(), y.data() + y.size());
  outcome.weights = weights_hash(net);
  average.swap();
  outcome.average = weights_hash(net);
  average.swap();
  return outcome;
}

struct Training {
  const char* name;
  Outcome (*run)();
};

/// What one thread makes of it.
inline Outcome alone(const Training& training) {
  const heed::ThreadScope one(1);
  return training.run();
}

inline void check_threads_and_backends(const std::vector<Training>& trainings) {
  for (const Training& training : trainings) {
    const Outcome expected = alone(training);
    for_every_backend([&](heed::Backend backend) {
      for (int threads : {1, 2, 3, 4, 7, 16}) {
        const heed::ThreadScope scope(threads);
        INFO(training.name << ", " << backend_name(backend) << ", " << threads << " threads");
        CHECK((training.run() == expected));
      }
    });
  }
}

/// Two trainings in two threads at once, each on two threads of its own.
inline void check_at_once(const Training& here, const Training& there) {
  const Outcome expected = alone(here), expected_there = alone(there);
  for_every_backend([&](heed::Backend backend) {
    Outcome first, second;
    const auto with = [backend](Outcome& outcome, const Training& training) {
      const heed::BackendScope scope(backend);
      const heed::ThreadScope threads(2);
      outcome = training.run();
    };
    std::thread other([&] { with(second, there); });
    with(first, here);
    other.join();
    INFO(backend_name(backend));
    CHECK((first == expected));
    CHECK((second == expected_there));
  });
}

#if defined(_OPENMP)
/// Each training in a thread of a caller's parallel region, on each back end.
inline void check_parallel_region(const std::vector<Training>& trainings) {
  std::vector<Outcome> expected, found(trainings.size());
  for (const Training& training : trainings) expected.push_back(alone(training));
  for_every_backend([&](heed::Backend backend) {
    const int count = static_cast<int>(trainings.size());
#pragma omp parallel for num_threads(3) schedule(dynamic, 1)
    for (int i = 0; i < count; ++i) {
      const heed::BackendScope scope(backend);  // a thread's own
      found[static_cast<std::size_t>(i)] = trainings[static_cast<std::size_t>(i)].run();
    }
    for (std::size_t i = 0; i < trainings.size(); ++i) {
      INFO(trainings[i].name << ", " << backend_name(backend));
      CHECK((found[i] == expected[i]));
    }
  });
}
#endif

/// `answer(begin, end)`, a tensor (end - begin, ...), is for every range of the examples what it is for all of them, on one thread and on three.
template <class Answer>
void check_any_range(heed::Index examples, const Answer& answer) {
  const auto all = answer(heed::Index{0}, examples);
  const heed::Index width = all.size() / examples;
  for (int threads : {1, 3}) {
    const heed::ThreadScope scope(threads);
    for (heed::Index begin = 0; begin < examples; ++begin)
      for (heed::Index end = begin + 1; end <= examples; ++end) {
        const auto some = answer(begin, end);
        INFO("examples " << begin << " to " << end - 1 << ", " << threads << " threads");
        CHECK(std::equal(some.data(), some.data() + some.size(), all.data() + begin * width));
      }
  }
}

/// Each example of x (N, ...) is seen as in the whole batch: in every slice of it, on one thread and on three, by the net and by a Predictor.
template <class Net, class T, int Rank>
void check_any_batch(const Net& net, const heed::Tensor<T, Rank>& x) {
  const auto all = net.forward(x);
  const heed::Index examples = x.size(0), width = all.size() / examples;
  for (int threads : {1, 3}) {
    const heed::ThreadScope scope(threads);
    for (heed::Index count = 1; count <= examples; ++count) {
      heed::Predictor<Net, Rank> predictor(net, x.slice(0, count).shape());
      std::remove_cvref_t<decltype(all)> predicted(predictor.output_shape());
      for (heed::Index first = 0; first + count <= examples; ++first) {
        const auto some = x.slice(first, first + count);
        const auto y = net.forward(some);
        const bool answered = predictor.predict(some, predicted.view());
        INFO("examples " << first << " to " << first + count - 1 << ", " << threads << " threads");
        CHECK(std::equal(y.data(), y.data() + y.size(), all.data() + first * width));
        CHECK((answered && std::equal(y.data(), y.data() + y.size(), predicted.data())));
      }
    }
  }
}
