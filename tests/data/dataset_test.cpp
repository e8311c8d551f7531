// SPDX-License-Identifier: MIT
#include <cstdint>
#include <string>
#include <vector>

#include <heed/data/dataset.hpp>

#include "catch.hpp"

using namespace heed;

namespace {

/// A user's data in memory: floats, two classes, no names.
struct Dots {
  std::vector<float> pixels;  // (size, 2, 2, 1)
  Index size() const { return static_cast<Index>(pixels.size()) / 4; }
  Shape image_shape() const { return {2, 2, 1}; }
  int classes() const { return 2; }
  int label(Index example) const { return static_cast<int>(example % 2); }
  const float* image(Index example) const { return pixels.data() + 4 * example; }
};

/// A user's data made on demand: bytes, three classes with names.
struct Ramps {
  Index size() const { return 7; }
  Shape image_shape() const { return {1, 3, 2}; }
  int classes() const { return 3; }
  int label(Index example) const { return static_cast<int>(example); }  // above 2: wrong
  std::vector<const char*> class_names() const { return {"low", "middle", "high"}; }
  void fetch(Index example, std::uint8_t* pixels) const {
    for (int i = 0; i < 6; ++i) pixels[i] = static_cast<std::uint8_t>(10 * example + i);
  }
};

struct NoImages {
  Index size() const { return 1; }
  Shape image_shape() const { return {1, 1, 1}; }
  int classes() const { return 1; }
  int label(Index) const { return 0; }
};
struct WholeNumbers : NoImages {
  const int* image(Index) const { return nullptr; }
};
struct WritesThroughCall : NoImages {
  void fetch(Index, std::uint8_t*) {}  // not const: several threads may not call it
};

static_assert(Dataset<Dots> && Dataset<Ramps> && Dataset<Subset<Dots>> && Dataset<Subset<Ramps>> && Dataset<Subset<Subset<Ramps>>>);
static_assert(std::same_as<DatasetPixel<Dots>, float> && std::same_as<DatasetPixel<Ramps>, std::uint8_t>);
static_assert(std::same_as<DatasetPixel<Subset<Dots>>, float> && std::same_as<DatasetPixel<Subset<Ramps>>, std::uint8_t>);
static_assert(!Dataset<NoImages> && !Dataset<WholeNumbers> && !Dataset<WritesThroughCall> && !Dataset<int>);

ImageDataset numbered_images(Index count) {
  Tensor<std::uint8_t, 4> images({count, 2, 3, 1});
  std::vector<int> labels;
  for (Index i = 0; i < images.size(); ++i) images[i] = static_cast<std::uint8_t>(i);
  for (Index i = 0; i < count; ++i) labels.push_back(static_cast<int>(i % 3));
  return {std::move(images), std::move(labels), 3, {"a", "b", "c"}};
}

}  // namespace

TEST_CASE("A user's data set fits the concept in memory and on demand", "[data]") {
  const Dots dots{std::vector<float>(12, 0.5f)};
  CHECK(image_pixels(dots, 2, nullptr) == dots.pixels.data() + 8);
  CHECK(class_name(dots, 1) == "class 1");
  CHECK(class_names(dots) == std::vector<std::string>{"class 0", "class 1"});
  CHECK(checked_label(dots, 1) == 1);
  CHECK(checked_image_shape(dots) == Shape{2, 2, 1});

  const Ramps ramps;
  std::uint8_t buffer[6] = {};
  CHECK(image_pixels(ramps, 4, buffer) == buffer);
  CHECK(int{buffer[5]} == 45);
  CHECK(class_name(ramps, 2) == "high");
  CHECK(class_name(ramps, 3) == "class 3");
  CHECK_THROWS_WITH(checked_label(ramps, 5), "Dataset: example 5 has label 5, expected 0 to 2");
  CHECK_THROWS_AS(checked_label(ramps, -1), std::invalid_argument);
}

TEST_CASE("ImageDataset holds images and labels, and parts of it share them", "[data]") {
  const ImageDataset all = numbered_images(10);
  CHECK(all.size() == 10);
  CHECK(all.image_shape() == Shape{2, 3, 1});
  CHECK(all.classes() == 3);
  CHECK(class_names(all) == std::vector<std::string>{"a", "b", "c"});
  CHECK(int{all.image(3)[2]} == 20);
  CHECK(all.label(5) == 2);

  const ImageDataset first = all.first(4), last = all.last(3), inner = all.range(2, 9).range(1, 3), none = all.last(0);
  CHECK(first.size() == 4);
  CHECK(first.image(0) == all.image(0));
  CHECK(last.image(0) == all.image(7));
  CHECK(last.label(0) == all.label(7));
  CHECK(last.labels().size() == 3);
  CHECK(last.images().shape() == Shape{3, 2, 3, 1});
  CHECK(last.images().data() == all.image(7));
  CHECK(inner.image(0) == all.image(3));
  CHECK(inner.size() == 2);
  CHECK(none.size() == 0);
  CHECK(none.image_shape() == Shape{2, 3, 1});
  CHECK_THROWS_WITH(all.first(11), "ImageDataset: examples 0 to 11 asked for, the set has 10");
  CHECK_THROWS_AS(all.last(11), std::invalid_argument);
  CHECK_THROWS_AS(all.range(5, 4), std::invalid_argument);
  CHECK_THROWS_AS(all.range(-1, 3), std::invalid_argument);

  const ImageDataset part = numbered_images(5).last(2);  // outlives the whole
  CHECK(int{part.image(1)[5]} == 29);

  const ImageDataset empty;
  CHECK(empty.size() == 0);
  CHECK(empty.classes() == 0);
  CHECK(empty.labels().empty());
  CHECK(empty.images().empty());
  CHECK_THROWS_AS(checked_image_shape(empty), ShapeError);
}

TEST_CASE("ImageDataset says what does not fit", "[data]") {
  const auto make = [](Index images, std::vector<int> labels, int classes, std::vector<std::string> names) {
    return ImageDataset(Tensor<std::uint8_t, 4>({images, 1, 1, 1}), std::move(labels), classes, std::move(names));
  };
  CHECK_THROWS_WITH(make(2, {0}, 1, {}), "ImageDataset: 2 images, but 1 labels");
  CHECK_THROWS_WITH(make(2, {0, 3}, 3, {}), "ImageDataset: image 1 has label 3, expected 0 to 2");
  CHECK_THROWS_WITH(make(1, {-1}, 3, {}), "ImageDataset: image 0 has label -1, expected 0 to 2");
  CHECK_THROWS_WITH(make(1, {0}, 3, {"one"}), "ImageDataset: 1 class names for 3 classes");
  CHECK_THROWS_WITH(make(0, {}, 0, {}), "ImageDataset: 0 classes; at least one is needed");
  CHECK_NOTHROW(make(0, {}, 1, {}));
}

TEST_CASE("Subset shows chosen examples of any data set", "[data]") {
  const Dots dots{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
  const Subset<Dots> swapped(dots, {2, 0, 2});
  CHECK(swapped.size() == 3);
  CHECK(swapped.image(0) == dots.image(2));
  CHECK(swapped.label(1) == 0);
  CHECK(swapped.index(2) == 2);
  CHECK_THROWS_WITH(Subset<Dots>(dots, {0, 3}), "Subset: example 3 asked for, the set has 3");
  CHECK_THROWS_AS(Subset<Dots>(dots, {-1}), std::invalid_argument);

  const Ramps ramps;
  const Subset<Ramps> tail = last(ramps, 2), head = first(ramps, 3);
  std::uint8_t buffer[6];
  CHECK(int{image_pixels(tail, 0, buffer)[0]} == 50);
  CHECK(int{image_pixels(head, 2, buffer)[0]} == 20);
  CHECK(class_names(tail) == std::vector<std::string>{"low", "middle", "high"});
  for (Index count : {-1, 8}) {
    CHECK_THROWS_AS(first(ramps, count), std::invalid_argument);
    CHECK_THROWS_AS(last(ramps, count), std::invalid_argument);
  }

  const ImageDataset images = numbered_images(4);
  const Subset<ImageDataset> two = last(images, 2);
  CHECK(two.image(0) == images.image(2));
}

TEST_CASE("ErrorKeeper keeps the error of the lowest position", "[data]") {
  detail::ErrorKeeper errors;
  CHECK_NOTHROW(errors.rethrow());
  for (Index position : {4, 2, 3}) errors.run(position, [&] { fail("at ", position); });
  errors.run(0, [] {});
  CHECK_THROWS_WITH(errors.rethrow(), "at 2");
  CHECK_NOTHROW(errors.rethrow());
}
