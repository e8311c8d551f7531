// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/data/normalize.hpp>

#include "catch.hpp"

using namespace heed;

namespace {

/// Numbers in memory under any pixel type.
template <class P>
struct Pictures {
  Shape shape;
  std::vector<P> pixels;
  Index size() const { return static_cast<Index>(pixels.size()) / shape.size(); }
  Shape image_shape() const { return shape; }
  int classes() const { return 1; }
  int label(Index) const { return 0; }
  const P* image(Index example) const { return pixels.data() + example * shape.size(); }
};

struct Broken : Pictures<float> {
  const float* image(Index) const = delete;
  void fetch(Index example, float* out) const {
    if (example >= 100) fail("example ", example, " is lost");
    *out = 1;
  }
};

template <class P>
Pictures<P> random_pictures(Index count, const Shape& shape, double low, double high) {
  Pictures<P> result{shape, std::vector<P>(static_cast<std::size_t>(count * shape.size()))};
  const CounterRandom random{5};
  for (std::size_t i = 0; i < result.pixels.size(); ++i) result.pixels[i] = static_cast<P>(random.uniform(i, low, high));
  return result;
}

/// The definition, in long double, in two passes.
template <class P>
void check_against_definition(const Pictures<P>& data, double unit) {
  const Normalization found = channel_statistics(data);
  const auto channels = static_cast<std::size_t>(data.shape[2]);
  REQUIRE(found.mean.size() == channels);
  REQUIRE(found.deviation.size() == channels);
  for (std::size_t c = 0; c < channels; ++c) {
    const auto values = static_cast<long double>(data.pixels.size() / channels);
    long double sum = 0, squares = 0;
    for (std::size_t i = c; i < data.pixels.size(); i += channels) sum += static_cast<long double>(data.pixels[i]);
    for (std::size_t i = c; i < data.pixels.size(); i += channels) {
      const long double distance = static_cast<long double>(data.pixels[i]) - sum / values;
      squares += distance * distance;
    }
    // Sums of at most 10^5 numbers in double.
    CHECK(found.mean[c] == Approx(static_cast<double>(sum / values) / unit).epsilon(1e-12));
    CHECK(found.deviation[c] == Approx(static_cast<double>(std::sqrt(squares / values)) / unit).epsilon(1e-11));
  }
}

}  // namespace

TEST_CASE("Channel statistics are those of the definition", "[data]") {
  check_against_definition(random_pictures<std::uint8_t>(1, {1, 2, 1}, 0, 256), 255);
  check_against_definition(random_pictures<std::uint8_t>(130, {5, 7, 3}, 0, 256), 255);
  check_against_definition(random_pictures<float>(70, {4, 3, 2}, -1, 1), 1);
  check_against_definition(random_pictures<double>(70, {4, 3, 5}, 1000, 1001), 1);  // far from zero: one pass would lose digits
}

TEST_CASE("Channel statistics do not depend on the number of threads", "[data]") {
  const auto data = random_pictures<float>(300, {4, 4, 3}, -2, 1);
  Normalization results[3];
  for (int threads : {1, 2, 3}) {
    const ThreadScope scope(threads);
    results[threads - 1] = channel_statistics(data);
  }
  CHECK(results[0] == results[1]);
  CHECK(results[0] == results[2]);
}

TEST_CASE("A channel that never changes gets deviation 1, an empty set an error", "[data]") {
  for (int level : {0, 1, 85, 254, 255}) {
    const Pictures<std::uint8_t> flat{{3, 3, 1}, std::vector<std::uint8_t>(9 * 77, static_cast<std::uint8_t>(level))};
    CHECK(channel_statistics(flat).mean[0] == Approx(level / 255.0));
    CHECK(channel_statistics(flat).deviation[0] == 1.0);
  }
  const Pictures<float> flat{{1, 1, 1}, std::vector<float>(10, 0.1f)};
  CHECK(channel_statistics(flat).deviation[0] == 1.0);
  for (const double level : {0.1, -0.7, 1e-300, 1.7e9 / 3, 1e300}) {  // sums of them round
    const Pictures<double> constant{{3, 3, 1}, std::vector<double>(9 * 77, level)};
    CHECK(channel_statistics(constant) == Normalization{{level}, {1.0}});
  }
  CHECK_THROWS_WITH(channel_statistics(Pictures<float>{{1, 1, 1}, {}}), "channel_statistics: the data set is empty");
  CHECK_THROWS_AS(channel_statistics(Pictures<float>{{1, 0, 1}, {}}), ShapeError);
  CHECK_THROWS_AS(channel_statistics(Pictures<float>{{4, 1}, {}}), ShapeError);
  const ThreadScope scope(2);
  CHECK_THROWS_WITH(channel_statistics(Broken{{{1, 1, 1}, std::vector<float>(200)}}), "example 100 is lost");
}

TEST_CASE("A pixel is scaled and shifted to (x - mean) / deviation", "[data]") {
  const Normalization given{{0.5, 0.25}, {0.2, 0.5}};
  const PixelScale<std::uint8_t, double> bytes(given, 2);
  const PixelScale<float, double> floats(given, 2);
  for (std::size_t c = 0; c < 2; ++c)
    for (int x : {0, 1, 128, 255}) {
      const double expected = (x / 255.0 - given.mean[c]) / given.deviation[c];
      CHECK(x * bytes.scale[c] + bytes.shift[c] == Approx(expected).margin(1e-14));
      CHECK(x / 255.0 * floats.scale[c] + floats.shift[c] == Approx(expected).margin(1e-14));
    }
  const PixelScale<std::uint8_t, float> plain({}, 3);
  CHECK(plain.scale == std::vector<float>(3, 1.0f / 255.0f));
  CHECK(plain.shift == std::vector<float>(3, 0.0f));
  CHECK(Normalization::cifar10() == Normalization{{0.4914, 0.4822, 0.4465}, {0.2470, 0.2435, 0.2616}});
  CHECK(Normalization::cifar100() == Normalization{{0.5071, 0.4865, 0.4409}, {0.2673, 0.2564, 0.2762}});
}

TEST_CASE("A normalisation that does not fit is refused", "[data]") {
  using Scale = PixelScale<float, float>;
  CHECK_THROWS_WITH(Scale(Normalization::cifar10(), 1), "Normalization: 3 means and 3 deviations for images of 1 channels");
  CHECK_THROWS_AS(Scale({{0.5}, {}}, 1), std::invalid_argument);
  CHECK_THROWS_AS(Scale({{}, {0.5}}, 1), std::invalid_argument);
  CHECK_THROWS_WITH(Scale({{0.5}, {0.0}}, 1), "Normalization: channel 0 has mean 0.5 and deviation 0; the deviation must be above zero");
  CHECK_THROWS_AS(Scale({{0.5}, {-1.0}}, 1), std::invalid_argument);
  CHECK_THROWS_AS(Scale({{0.5}, {NAN}}, 1), std::invalid_argument);
  CHECK_THROWS_AS(Scale({{INFINITY}, {1.0}}, 1), std::invalid_argument);
  CHECK_THROWS_WITH(Scale({{0.5}, {1e-40}}, 1),
      "Normalization: channel 0 has mean 0.5 and deviation 1e-40; 1 / deviation and mean / deviation must be finite numbers of 32 bits");
  CHECK_THROWS_AS(Scale({{1e20}, {1e-20}}, 1), std::invalid_argument);
  CHECK_NOTHROW(PixelScale<double, float>({{0.5}, {1e-40}}, 1));
  CHECK_THROWS_WITH((PixelScale<double, float>({{0.5}, {1e-310}}, 1)), Catch::Matchers::EndsWith("finite numbers of 64 bits"));
}
