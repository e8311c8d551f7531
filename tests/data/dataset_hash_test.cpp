// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <set>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/data/dataset_hash.hpp>

using namespace heed;

namespace {

struct Pictures {
  std::vector<std::uint8_t> pixels;
  std::vector<int> labels;
  Shape shape = {2, 3, 1};
  int count_of_classes = 4;

  ImageDataset dataset() const {
    Tensor<std::uint8_t, 4> images({static_cast<Index>(labels.size()), shape[0], shape[1], shape[2]});
    std::copy(pixels.begin(), pixels.end(), images.data());
    return ImageDataset(std::move(images), labels, count_of_classes);
  }
};

Pictures random_pictures(Index count) {
  Pictures result;
  const CounterRandom random{3};
  for (Index i = 0; i < 6 * count; ++i) result.pixels.push_back(static_cast<std::uint8_t>(random.bits(static_cast<std::uint64_t>(i))));
  for (Index i = 0; i < count; ++i) result.labels.push_back(static_cast<int>(i % 4));
  return result;
}

/// The same pictures in other pixels, made on demand; one of them cannot be had.
template <class P>
struct Fetched {
  ImageDataset bytes;
  Index lost = -1;
  Index size() const { return bytes.size(); }
  Shape image_shape() const { return bytes.image_shape(); }
  int classes() const { return bytes.classes(); }
  int label(Index example) const { return bytes.label(example); }
  void fetch(Index example, P* pixels) const {
    require(example != lost, "example ", example, " is lost");
    std::copy_n(bytes.image(example), image_shape().size(), pixels);
  }
};

}  // namespace

TEST_CASE("a data set's hash is that of its definition, with any number of threads") {
  const Index count = 200;
  const Pictures pictures = random_pictures(count);
  Fingerprint all;
  for (const std::uint64_t number : {200u, 4u, 3u, 2u, 3u, 1u, 1u})
    all.number(number);  // examples, classes, rank and sizes, bytes of a pixel
  for (std::size_t i = 0; i < 200; ++i)
    all.number(static_cast<std::uint64_t>(pictures.labels[i])).number(Fingerprint().bytes(&pictures.pixels[6 * i], 6).value());
  for (const int threads : {1, 2, 5}) {
    const ThreadScope scope(threads);
    CHECK(dataset_hash(pictures.dataset()) == all.text());
  }
}

TEST_CASE("every part of a data set is in its hash, and nothing else") {
  const Pictures pictures = random_pictures(70);
  std::set<std::string> seen = {dataset_hash(pictures.dataset())};
  const auto differs = [&](const auto& change) {
    Pictures other = pictures;
    change(other);
    return seen.insert(dataset_hash(other.dataset())).second;
  };
  CHECK_FALSE(differs([](Pictures&) {}));
  CHECK(differs([](Pictures& p) { p.pixels.back() ^= 1; }));
  CHECK(differs([](Pictures& p) { p.pixels.front() ^= 0x80; }));
  CHECK(differs([](Pictures& p) { p.labels[69] = 3; }));
  CHECK(differs([](Pictures& p) { p.count_of_classes = 5; }));
  CHECK(differs([](Pictures& p) { p.shape = {3, 2, 1}; }));
  CHECK(differs([](Pictures& p) { p.labels.pop_back(), p.pixels.resize(6 * 69); }));
  CHECK(differs([](Pictures& p) { std::swap_ranges(p.pixels.begin(), p.pixels.begin() + 6, p.pixels.begin() + 24); }));  // of one class
  CHECK(seen.count(dataset_hash(Fetched<std::uint8_t>{pictures.dataset()})) == 1);
  CHECK(seen.insert(dataset_hash(Fetched<float>{pictures.dataset()})).second);
  CHECK(dataset_hash(pictures.dataset().range(10, 60)) != dataset_hash(pictures.dataset().range(11, 61)));
}

TEST_CASE("what a data set throws ends its hash") {
  CHECK_THROWS_WITH(dataset_hash(Fetched<double>{random_pictures(200).dataset(), 130}), "example 130 is lost");
}

TEST_CASE("an empty data set has a hash, too") { CHECK(dataset_hash(ImageDataset()) != dataset_hash(random_pictures(1).dataset())); }
