// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/data/batches.hpp>

#include "catch.hpp"
#include "reference/augment_reference.hpp"
#include "sanitized.hpp"

// The whole test program asks for memory through these: a steady loader must not. Sanitizers bring functions of their own. Not inlined: g++
// would take `new` and `free` for a mismatch.
#if defined(__GNUC__) && !HEED_TEST_SANITIZED
#define COUNTS_ALLOCATIONS
namespace {
std::atomic<long> allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment + (bytes == 0 ? alignment : 0));
  if (!memory) throw std::bad_alloc();
  return memory;
}
}  // namespace

#define APART __attribute__((noinline))
APART void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
APART void* operator new(std::size_t bytes, std::align_val_t alignment) { return counted(bytes, static_cast<std::size_t>(alignment)); }
APART void operator delete(void* memory) noexcept { std::free(memory); }
APART void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
APART void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
APART void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#undef APART
#endif

using namespace heed;

namespace {

ImageDataset random_images(Index count, const Shape& shape) {
  Tensor<std::uint8_t, 4> images(image_shape(count, shape[0], shape[1], shape[2]));
  const CounterRandom random{9};
  for (Index i = 0; i < images.size(); ++i) images[i] = static_cast<std::uint8_t>(random.below(static_cast<std::uint64_t>(i), 256));
  std::vector<int> labels;
  for (Index i = 0; i < count; ++i) labels.push_back(static_cast<int>(i * i % 5));
  return {std::move(images), std::move(labels), 5};
}

/// The same data under another type: made on demand, as floats 0 to 1; some examples may be wrong.
struct OnDemand {
  const ImageDataset* base;
  Index lost = -1, mislabelled = -1;

  Index size() const { return base->size(); }
  Shape image_shape() const { return base->image_shape(); }
  int classes() const { return base->classes(); }
  int label(Index example) const { return example == mislabelled ? 5 : base->label(example); }
  void fetch(Index example, float* pixels) const {
    if (example == lost) fail("example ", example, " is lost");
    for (Index p = 0; p < image_shape().size(); ++p) pixels[p] = static_cast<float>(base->image(example)[p]) / 255.0f;
  }
};

const BatchOptions kEverything{.batch_size = 20,
    .shuffle = true,
    .seed = 3,
    .augmentation = {.translate = 2, .flip = Flip::alternating, .cutout = 2},
    .normalization = {{0.4, 0.5, 0.6}, {0.2, 0.3, 0.25}}};

template <class T>
struct Pass {
  std::vector<T> pixels;
  std::vector<int> labels;
  std::vector<Index> indices, sizes;
  friend bool operator==(const Pass&, const Pass&) = default;
};

template <class T>
Pass<T> collect(Batches<T>& batches, Index epoch, Index first_batch = 0) {
  Pass<T> pass;
  for (const Batch<T>& batch : batches.epoch(epoch, first_batch)) {
    REQUIRE(batch.number == first_batch + static_cast<Index>(pass.sizes.size()));
    REQUIRE(batch.images.size(0) == batch.size());
    REQUIRE(batch.indices.size() == batch.labels.size());
    pass.pixels.insert(pass.pixels.end(), batch.images.data(), batch.images.data() + batch.images.size());
    pass.labels.insert(pass.labels.end(), batch.labels.begin(), batch.labels.end());
    pass.indices.insert(pass.indices.end(), batch.indices.begin(), batch.indices.end());
    pass.sizes.push_back(batch.size());
  }
  return pass;
}

}  // namespace

TEMPLATE_TEST_CASE("Every example comes once an epoch, shuffled, augmented and normalised", "[data]", float, double) {
  using T = TestType;
  const ImageDataset data = random_images(50, {7, 6, 3});
  Batches<T> batches(data, kEverything);
  CHECK(batches.size() == 3);
  CHECK(batches.examples() == 50);
  const PixelScale<std::uint8_t, T> scale(kEverything.normalization, 3);
  for (Index epoch : {0, 1, 4}) {
    const Pass<T> pass = collect(batches, epoch);
    CHECK(pass.sizes == std::vector<Index>{20, 20, 10});
    CHECK(pass.indices == shuffled(50, 3, epoch));
    double largest = 0;
    for (std::size_t i = 0; i < 50; ++i) {
      const Index example = pass.indices[i];
      REQUIRE(pass.labels[i] == data.label(example));
      const std::vector<std::uint8_t> image(data.image(example), data.image(example) + 126);
      const auto expected = reference::place_image<std::uint8_t, T>(
          image, data.image_shape(), place(kEverything.augmentation, data.image_shape(), 3, epoch, example), scale.scale, scale.shift);
      for (std::size_t p = 0; p < 126; ++p)
        largest = std::max(largest, static_cast<double>(std::abs(expected[p] - pass.pixels[i * 126 + p])));
    }
    CHECK(largest < 1e-6);  // values up to 3, one rounding more or less
  }
}

TEST_CASE("Without options the batches are the data in order, as 0 to 1", "[data]") {
  const ImageDataset data = random_images(5, {2, 2, 1});
  Batches<double> batches(data, {});
  const Pass<double> pass = collect(batches, 3);
  CHECK(pass.sizes == std::vector<Index>{5});
  CHECK(pass.indices == std::vector<Index>{0, 1, 2, 3, 4});
  for (std::size_t p = 0; p < pass.pixels.size(); ++p) CHECK(pass.pixels[p] == Approx(data.images()[static_cast<Index>(p)] / 255.0));
}

TEST_CASE("A short last batch is kept or dropped", "[data]") {
  const ImageDataset data = random_images(10, {1, 1, 1});
  const auto sizes = [&](Index batch_size, bool drop_last) {
    Batches<float> batches(data, {.batch_size = batch_size, .drop_last = drop_last});
    const Pass<float> pass = collect(batches, 0);
    CHECK(batches.size() == static_cast<Index>(pass.sizes.size()));
    CHECK(batches.examples() == static_cast<Index>(pass.indices.size()));
    return pass.sizes;
  };
  CHECK(sizes(4, false) == std::vector<Index>{4, 4, 2});
  CHECK(sizes(4, true) == std::vector<Index>{4, 4});
  CHECK(sizes(5, false) == std::vector<Index>{5, 5});
  CHECK(sizes(5, true) == std::vector<Index>{5, 5});
  CHECK(sizes(10, true) == std::vector<Index>{10});
  CHECK(sizes(9, false) == std::vector<Index>{9, 1});
  CHECK(sizes(256, false) == std::vector<Index>{10});
  CHECK(sizes(1, true) == std::vector<Index>(10, 1));
  CHECK_THROWS_WITH(Batches<float>(data, {.batch_size = 11, .drop_last = true}),
      "Batches: 10 examples do not fill one batch of 11, and drop_last is set");
}

TEST_CASE("Batches do not depend on threads, prefetching, the kind of data set or what came before", "[data]") {
  const ImageDataset data = random_images(115, {6, 7, 3});
  Batches<float> plain(data, kEverything);
  const Pass<float> expected = collect(plain, 2);

  for (int threads : {1, 2, 3})
    for (bool prefetch : {false, true})
      for (int prefetch_threads : {1, 2}) {
        const ThreadScope scope(threads);
        BatchOptions options = kEverything;
        options.prefetch = prefetch;
        options.prefetch_threads = prefetch_threads;
        Batches<float> batches(data, options);
        CHECK(collect(batches, 2) == expected);
      }

  collect(plain, 7);
  CHECK(collect(plain, 2) == expected);
  CHECK(collect(plain, 2) == expected);
  plain.start_epoch(3);
  for (int i = 0; i < 2; ++i) plain.next();  // left in the middle
  CHECK(collect(plain, 2) == expected);

  const OnDemand made{&data};
  Batches<float> fetched(made, kEverything);
  const Pass<float> other = collect(fetched, 2);
  CHECK(other.indices == expected.indices);
  CHECK(other.labels == expected.labels);
  double largest = 0;
  for (std::size_t p = 0; p < other.pixels.size(); ++p)
    largest = std::max(largest, static_cast<double>(std::abs(other.pixels[p] - expected.pixels[p])));
  CHECK(largest < 1e-6);  // x / 255 * 1 / d against x * 1 / (255 d)

  const Subset<ImageDataset> whole = first(data, data.size());
  Batches<float> part(whole, kEverything);
  CHECK(collect(part, 2) == expected);
}

TEST_CASE("An epoch is resumed at any batch", "[data]") {
  const ImageDataset data = random_images(50, {3, 3, 3});
  for (bool prefetch : {false, true}) {
    BatchOptions options = kEverything;
    options.prefetch = prefetch;
    Batches<float> batches(data, options), resumed(data, options);
    const Pass<float> whole = collect(batches, 5);
    const Pass<float> tail = collect(resumed, 5, 1);
    CHECK(tail.sizes == std::vector<Index>{20, 10});
    CHECK(std::equal(tail.pixels.begin(), tail.pixels.end(), whole.pixels.begin() + 20 * 27));
    CHECK(collect(resumed, 5, 3).sizes.empty());
    CHECK_THROWS_WITH(resumed.start_epoch(5, 4), "Batches: batch 4 of epoch 5 asked for, an epoch has 3");
    CHECK_THROWS_AS(resumed.start_epoch(-1), std::invalid_argument);
    CHECK_THROWS_AS(resumed.start_epoch(5, -1), std::invalid_argument);
    CHECK(collect(resumed, 5) == whole);
  }
}

TEST_CASE("What was prepared for one epoch is not taken for another", "[data]") {
  const ImageDataset data = random_images(50, {3, 3, 3});
  Batches<float> straight(data, kEverything), jumping(data, kEverything);
  const Pass<float> expected = collect(straight, 5, 1);
  jumping.start_epoch(3);
  jumping.next();  // batch 1 of epoch 3 is being made
  CHECK(collect(jumping, 5, 1) == expected);
}

TEST_CASE("Examples of a batch that are fetched at the same time have a place each", "[data]") {
  struct Recorder {
    mutable std::vector<const std::uint8_t*> places = std::vector<const std::uint8_t*>(40);
    Index size() const { return 40; }
    Shape image_shape() const { return {2, 2, 1}; }
    int classes() const { return 1; }
    int label(Index) const { return 0; }
    void fetch(Index example, std::uint8_t* pixels) const { places[static_cast<std::size_t>(example)] = pixels; }
  };
  const Recorder data;
  Batches<float> batches(data, {.batch_size = 40});
  batches.next();
  for (std::size_t i = 1; i < 40; ++i) CHECK(data.places[i] == data.places[0] + 4 * i);
}

TEST_CASE("A batch stays as it is until the next call, while the one after it is made", "[data]") {
  const ImageDataset data = random_images(64, {4, 4, 3});
  BatchOptions options = kEverything;
  options.batch_size = 8;
  Batches<float> batches(data, options);
  CHECK(batches.next() != nullptr);  // epoch 0 without being asked for
  for (const Batch<float>& batch : batches.epoch(1)) {
    const Tensor<float, 4> copy = batch.images;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // time enough to make a batch
    CHECK(std::equal(copy.data(), copy.data() + copy.size(), batch.images.data()));
  }
  CHECK(batches.next() == nullptr);
  CHECK(batches.next() == nullptr);
}

TEST_CASE("Errors of a data set reach the caller of next, and the next epoch starts afresh", "[data]") {
  const ImageDataset data = random_images(60, {2, 2, 1});
  for (bool prefetch : {false, true})
    for (int threads : {1, 2}) {
      const ThreadScope scope(threads);
      const BatchOptions options{.batch_size = 20, .prefetch = prefetch, .prefetch_threads = threads};
      const OnDemand lost{&data, 45};
      Batches<float> batches(lost, options);
      CHECK(batches.next() != nullptr);
      CHECK(batches.next() != nullptr);
      CHECK_THROWS_WITH(batches.next(), "example 45 is lost");
      CHECK_THROWS_WITH(batches.next(), "example 45 is lost");
      batches.start_epoch(1);
      CHECK(batches.next() != nullptr);
      batches.start_epoch(1, 1);
      CHECK(batches.next() != nullptr);  // the batch with the error is being made: it is not asked for
      batches.start_epoch(2);
      CHECK(batches.next()->indices[0] == 0);

      const OnDemand mislabelled{&data, -1, 3};
      Batches<float> wrong(mislabelled, options);
      CHECK_THROWS_WITH(wrong.next(), "Dataset: example 3 has label 5, expected 0 to 4");
    }
}

TEST_CASE("Options that do not fit the data are refused", "[data]") {
  const ImageDataset data = random_images(4, {3, 3, 3}), none = data.first(0), nothing;
  CHECK_THROWS_WITH(Batches<float>(none, {}), "Batches: the data set is empty");
  CHECK_THROWS_AS(Batches<float>(nothing, {}), ShapeError);
  CHECK_THROWS_WITH(Batches<float>(data, {.batch_size = 0}), "Batches: batch_size is 0, expected at least 1");
  CHECK_THROWS_AS(Batches<float>(data, {.augmentation = {.translate = 3}}), std::invalid_argument);
  CHECK_THROWS_AS(Batches<float>(data, {.normalization = {{0.5}, {0.5}}}), std::invalid_argument);
}

TEST_CASE("A loader may end at any moment", "[data]") {
  const ImageDataset data = random_images(40, {3, 3, 3});
  for (int i = 0; i < 50; ++i) {
    BatchOptions options = kEverything;
    options.batch_size = 5;
    Batches<float> batches(data, options);
    for (int k = 0; k < i % 4; ++k) batches.next();
  }
}

TEST_CASE("Two loaders work side by side on two threads", "[data]") {
  const ImageDataset data = random_images(80, {3, 3, 3});
  Batches<float> reference(data, kEverything);
  const Pass<float> expected = collect(reference, 1);
  std::atomic<int> equal{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([&] {
      Batches<float> batches(data, kEverything);
      for (int repeat = 0; repeat < 10; ++repeat) {
        std::vector<float> pixels;
        for (const Batch<float>& batch : batches.epoch(1))
          pixels.insert(pixels.end(), batch.images.data(), batch.images.data() + batch.images.size());
        equal += pixels == expected.pixels;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(equal == 20);
}

#if defined(COUNTS_ALLOCATIONS)
TEST_CASE("After the first epoch a loader asks for no memory", "[data]") {
  const ThreadScope one(1);  // the back end that starts threads for each loop needs memory for them
  const ImageDataset data = random_images(50, {8, 8, 3});
  const OnDemand made{&data};
  const auto new_memory = [](Batches<float>& batches) {
    float sum = 0;
    long before = 0;
    for (Index epoch = 0; epoch < 4; ++epoch) {
      if (epoch == 1) before = allocations;
      for (const Batch<float>& batch : batches.epoch(epoch)) sum += batch.images[0];
    }
    const long asked = allocations - before;
    CHECK(std::isfinite(sum));
    return asked;
  };
  for (bool prefetch : {false, true}) {
    BatchOptions options = kEverything;
    options.prefetch = prefetch;
    Batches<float> kept(data, options), fetched(made, options);
    CHECK(new_memory(kept) == 0);
    CHECK(new_memory(fetched) == 0);
  }
}
#endif

TEST_CASE("The batch after the one in use is made meanwhile, on as many threads as that may take, and only with prefetch", "[data]") {
  struct Watched {
    mutable std::atomic<int> fetched{0}, threads{0};
    Index size() const { return 12; }
    Shape image_shape() const { return {1, 1, 1}; }
    int classes() const { return 1; }
    int label(Index) const { return 0; }
    void fetch(Index, std::uint8_t* pixels) const { *pixels = 0, threads = thread_count(), ++fetched; }
  };
  const int three = [] {
    const ThreadScope scope(3);
    return thread_count();  // 1 where loops were compiled for one thread
  }();
  for (const bool prefetch : {true, false}) {
    const ThreadScope one(1);
    const Watched data;
    Batches<float> batches(data, {.batch_size = 4, .prefetch = prefetch, .prefetch_threads = 3});
    CHECK(batches.next() != nullptr);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(prefetch ? 10 : 0);
    while (data.fetched < 8 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    CHECK(data.fetched == (prefetch ? 8 : 4));
    CHECK(data.threads == (prefetch ? three : 1));
  }
}
