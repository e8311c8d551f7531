// SPDX-License-Identifier: MIT
// heed_soak [SECONDS]: one thread trains a convolution and attention net again and again while eight predict with another one, for
// half an hour unless told otherwise. Each training must pass through the weights, and each prediction give the logits, that they had
// when nothing else ran, to the bit; and memory must be flat: its mean over the last minute at most 2 % above that over the second one.
// Says a line a minute; exit code 1 at a failure.
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <heed/compose/predictor.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/data/batches.hpp>
#include <heed/data/generated.hpp>
#include <heed/io/model_file.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/max_pool2d.hpp>
#include <heed/optim/adam.hpp>
#include <heed/train/trainer.hpp>

using namespace heed;

namespace {

constexpr int kPredicting = 8, kLargestBatch = 17;

/// (N, 32, 32, 3) to ten classes.
auto net(std::uint64_t seed) {
  const SeedScope scope(seed);
  return Sequential(Conv2d<float>({.in_channels = 3, .out_channels = 16, .kernel_size = 3, .padding = 1}),
      MaxPool2d<float>({.kernel_size = 2}), BatchNorm2d<float>({.num_features = 16}), Gelu<float>(),
      Conv2d<float>({.in_channels = 16, .out_channels = 24, .kernel_size = 3, .stride = 2, .padding = 1}),
      AttentionFusion<float>({.features = 24, .num_heads = 3, .height = 8, .width = 8, .dropout = 0.1, .out_weight = Initializer::normal}),
      Dropout<float>({.p = 0.1}), GlobalMaxPool2d<float>(), Linear<float>({.in_features = 24, .out_features = 10}));
}
using Net = decltype(net(0));

/// What the threads share: whether to go on, the first failure, and what was done.
struct Run {
  std::atomic<bool> stop{false};
  std::atomic<long> steps{0}, trainings{0}, predictions[kPredicting] = {};

  void fail(const std::string& sentence) {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = sentence;
    stop = true;
  }
  /// The first failure, or nothing.
  std::string failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  long all_predictions() const {
    long sum = 0;
    for (const auto& count : predictions) sum += count;
    return sum;
  }
  /// Whether the training and each of the others has something to show.
  bool all_have_worked() const {
    return steps > 0 && std::find(std::begin(predictions), std::end(predictions), 0) == std::end(predictions);
  }

 private:
  std::mutex mutex_;
  std::string failure_;
};

/// Two epochs from the first weights on; the weights' hash after every fifth step goes to `on_hash(step, hash)`, which says whether to go on.
template <class OnHash>
void train(const ImageDataset& data, const OnHash& on_hash) {
  auto model = net(1);
  AdamW<float> optimizer(named_parameters(model), {.learning_rate = 3e-3});
  Trainer trainer(
      model, CrossEntropyLoss<float>({.label_smoothing = 0.1}), optimizer, ConstantSchedule{}, {.seed = 2, .max_gradient_norm = 1});
  Batches<float> batches(data, {.batch_size = 30, .shuffle = true, .seed = 3, .augmentation = {.translate = 2, .flip = Flip::alternating}});
  for (Index epoch = 0; epoch < 2 && !trainer.stop_requested(); ++epoch)
    trainer.run_epoch(batches, epoch, [&](const StepReport& step) {
      if (step.step % 5 == 4 && !on_hash(step.step, weights_hash(model))) trainer.request_stop();
    });
}

/// Trains until told to stop, each time with another number of threads and another back end.
void keep_training(Run& run, const ImageDataset& data, const std::vector<std::string>& expected) {
  for (int round = 0; !run.stop; ++round) {
    const ThreadScope threads(1 + round % 3);
    const BackendScope backend(round % 2 && has_backend(Backend::std_thread) ? Backend::std_thread : Backend::automatic);
    std::size_t hashes = 0;
    train(data, [&](Index step, const std::string& hash) {
      run.steps += 5;
      if (hash != expected.at(hashes++))
        run.fail(text("training ", round, " has other weights after step ", step, " than a training alone"));
      return !run.stop;
    });
    run.trainings += hashes == expected.size();
  }
}

/// Predicts until told to stop, every other thread through Predictors; `alone` holds the logits of each image. Each thread has a pool of
/// its own. A shared one comes to hold as much, and no more: for each size the most buffers that the eight ever held at once, which is at most the sum
/// of what each holds. But that takes a rare coincidence for the last of them, and until then its slow growth would hide a leak.
void keep_predicting(Run& run, int thread, const Net& model, const Tensor<float, 4>& images, const Tensor<float, 2>& alone) {
  const ThreadScope threads(1 + thread / 2 % 2);
  const BackendScope backend(thread / 4 && has_backend(Backend::std_thread) ? Backend::std_thread : Backend::automatic);
  BufferPool pool;
  const PoolScope own(pool);
  const CounterRandom random({4, static_cast<std::uint64_t>(thread)});
  for (std::uint64_t round = 0; !run.stop; ++round) {
    const Index count = 1 + static_cast<Index>(random.below(2 * round, kLargestBatch));
    const Index first = static_cast<Index>(random.below(2 * round + 1, static_cast<std::uint64_t>(images.size(0) - count + 1)));
    const auto x = images.slice(first, first + count);
    const auto judge = [&](const Tensor<float, 2>& y) {
      if (std::memcmp(y.data(), alone.data() + first * alone.features(), static_cast<std::size_t>(y.size()) * sizeof(float)) != 0)
        run.fail(text("thread ", thread, " predicts other logits for images ", first, " to ", first + count - 1, " than a thread alone"));
      ++run.predictions[thread];
    };
    if (thread % 2 == 0) {
      judge(model.forward(x));
      continue;
    }
    Predictor predictor(model, x.shape());
    if (thread % 4 == 1) predictor.freeze();
    Tensor<float, 2> y(predictor.output_shape());
    for (int again = 0; again < 10; ++again) {
      if (!predictor.predict(x, y.view())) run.fail("a Predictor refuses the shape that it was made for");
      judge(y);
    }
  }
}

/// Resident memory in MB; 0 where the system has no such file.
double resident_megabytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  return 0;
}

/// Memory, looked at once a second.
struct Memory {
  std::vector<double> seconds;

  double mean(std::size_t begin, std::size_t end) const {
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i) sum += seconds[i];
    return sum / static_cast<double>(end - begin);
  }
  /// The sentence that says how it went, and whether that was well. Under three minutes there are no two to be compared behind the first.
  std::pair<std::string, bool> judged() const {
    if (seconds.size() < 180) return {"memory is not judged in less than three minutes", true};
    const double second = mean(60, 120), last = mean(seconds.size() - 60, seconds.size());
    const bool flat = last <= 1.02 * second;
    return {text("memory ", flat ? "is flat" : "grows", ": ", second, " MB in the second minute, ", last, " MB in the last"), flat};
  }
};

int soak(long seconds) {
  const ImageDataset data = generated_images({.train = 600, .test = 1}).train;
  std::vector<std::string> hashes;
  const auto model = net(5);
  auto images = Tensor<float, 4>::uninitialized({64, 32, 32, 3});
  for (Index i = 0; i < images.size(); ++i) images[i] = static_cast<float>(data.images()[i]) / 128 - 1;
  Tensor<float, 2> alone({images.size(0), 10});
  {
    const ThreadScope one(1);
    train(data, [&](Index, const std::string& hash) {
      hashes.push_back(hash);
      return true;
    });
    for (Index i = 0; i < images.size(0); ++i) {
      const auto y = model.forward(images.slice(i, i + 1));
      std::copy_n(y.data(), y.size(), alone.data() + i * alone.features());
    }
  }

  Run run;
  const auto guarded = [&run](auto&& work) {
    try {
      work();
    } catch (const std::exception& error) {
      run.fail(error.what());
    }
  };
  std::vector<std::jthread> threads;
  threads.emplace_back([&] { guarded([&] { keep_training(run, data, hashes); }); });
  for (int t = 0; t < kPredicting; ++t) threads.emplace_back([&, t] { guarded([&] { keep_predicting(run, t, model, images, alone); }); });

  Memory memory;
  const auto start = std::chrono::steady_clock::now();
  for (long second = 1; (second <= seconds || !run.all_have_worked()) && !run.stop; ++second) {
    std::this_thread::sleep_until(start + std::chrono::seconds(second));
    memory.seconds.push_back(resident_megabytes());
    if (second % 60 == 0)
      std::printf("minute %3ld: %ld steps, %ld predictions, %.1f MB\n", second / 60, run.steps.load(), run.all_predictions(),
          memory.mean(memory.seconds.size() - 60, memory.seconds.size()));
    std::fflush(stdout);
  }
  run.stop = true;
  threads.clear();  // joins

  const auto [sentence, flat] = memory.judged();
  std::string failure = run.failure();
  if (failure.empty() && !flat) failure = sentence;
  std::printf("%ld trainings to the end, %ld steps, %ld predictions: ", run.trainings.load(), run.steps.load(), run.all_predictions());
  std::printf("%s\n", failure.empty() ? text("the same bits as alone; ", sentence).c_str() : text("FAILED: ", failure).c_str());
  return failure.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  long seconds = 1800;
  if (argc > 1) {
    const char* end = argv[1] + std::strlen(argv[1]);
    if (argc > 2 || std::from_chars(argv[1], end, seconds).ptr != end || seconds < 1) {
      std::fprintf(stderr, "usage: heed_soak [SECONDS]\n");
      return 2;
    }
  }
  return soak(seconds);
}
