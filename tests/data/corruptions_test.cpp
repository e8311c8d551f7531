// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <heed/data/corruptions.hpp>

#include "reference/corruption_values.hpp"

using namespace heed;
using Bytes = std::vector<std::uint8_t>;

namespace {

const Shape kCifar{32, 32, 3};

Bytes corrupted(Corruption kind, int severity, const Shape& shape, const Bytes& image, std::uint64_t seed = 0, Index number = 0) {
  Bytes out(image.size());
  corrupt(kind, severity, seed, number, shape, image.data(), out.data());
  return out;
}

Bytes even(std::uint8_t value, const Shape& shape = kCifar) { return Bytes(static_cast<std::size_t>(shape.size()), value); }

/// A picture of `f(y, x, channel)`.
template <class F>
Bytes picture(const Shape& shape, const F& f) {
  Bytes image;
  for (Index y = 0; y < shape[0]; ++y)
    for (Index x = 0; x < shape[1]; ++x)
      for (Index c = 0; c < shape[2]; ++c) image.push_back(static_cast<std::uint8_t>(f(y, x, c)));
  return image;
}
Bytes random_picture(const Shape& shape) {
  const CounterRandom random{4};
  std::uint64_t i = 0;
  return picture(shape, [&](Index, Index, Index) { return random.below(i++, 256); });
}

/// Mean and deviation of the change, in units of 0 ... 1; a byte that was rounded down counts as half a byte more.
struct Change {
  double mean = 0, deviation = 0, share = 0;
};
Change change(const Bytes& before, const Bytes& after) {
  Change result;
  const auto count = static_cast<double>(before.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    result.mean += (after[i] + 0.5 - before[i]) / 255 / count;
    result.share += (after[i] != before[i]) / count;
  }
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double distance = (after[i] + 0.5 - before[i]) / 255 - result.mean;
    result.deviation += distance * distance / count;
  }
  result.deviation = std::sqrt(result.deviation);
  return result;
}

double distance(const Bytes& a, const Bytes& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

}  // namespace

TEST_CASE("corruptions without chance are what a script in Python makes of their definitions") {
  const Shape shape{7, 6, 3};
  const Bytes image = picture(shape, [](Index y, Index x, Index c) { return (37 * y * y + 91 * x + 53 * c * (x + 1) + 11 * y * x) % 256; });
  std::set<std::string_view> seen;
  for (const reference::CorruptedImage& expected : reference::kCorruptedImages) {
    const auto all = all_corruptions();
    const auto kind = std::find_if(all.begin(), all.end(), [&](Corruption k) { return corruption_name(k) == expected.corruption; });
    REQUIRE(kind != all.end());
    seen.insert(expected.corruption);
    const Bytes found = corrupted(*kind, expected.severity, shape, image);
    REQUIRE(found.size() == expected.values.size());
    int wrong = 0;
    for (std::size_t i = 0; i < found.size(); ++i)  // rounded down; the expected values have two digits
      wrong += found[i] > expected.values[i] + 0.006 || found[i] + 1 < expected.values[i] - 0.006;
    CAPTURE(expected.corruption, expected.severity);
    CHECK(wrong == 0);
  }
  CHECK(seen.size() == 7);
}

TEST_CASE("each corruption has a name of its own, and none leaves a picture as it is") {
  const Bytes image = random_picture(kCifar);
  std::set<std::string_view> names;
  for (const Corruption kind : all_corruptions()) {
    names.insert(corruption_name(kind));
    CAPTURE(corruption_name(kind));
    std::set<Bytes> seen = {image};
    for (int severity = 1; severity <= kSeverities; ++severity) CHECK(seen.insert(corrupted(kind, severity, kCifar, image)).second);
  }
  CHECK(names.size() == 16);
}

TEST_CASE("the same seed, image, corruption and severity give the same bytes, others do not") {
  const Bytes image = random_picture(kCifar);
  for (const Corruption kind : all_corruptions()) {
    CAPTURE(corruption_name(kind));
    const Bytes first = corrupted(kind, 3, kCifar, image, 1, 7);
    CHECK(corrupted(kind, 3, kCifar, image, 1, 7) == first);
    Bytes place = image;
    corrupt(kind, 3, 1, 7, kCifar, place.data(), place.data());
    CHECK(place == first);
    std::set<Bytes> seen;
    for (std::uint64_t seed = 0; seed < 20; ++seed) seen.insert(corrupted(kind, 3, kCifar, image, seed, 0));
    for (Index number = 0; number < 20; ++number) seen.insert(corrupted(kind, 3, kCifar, image, 0, number));
    const bool by_chance = kind <= Corruption::speckle_noise || kind == Corruption::elastic_transform;
    const bool one_of_some = kind >= Corruption::translate;
    CHECK(seen.size() == (by_chance ? 39u : kind == Corruption::translate ? 4u : one_of_some ? 2u : 1u));
  }
}

TEST_CASE("noise has the mean and the deviation that its severity says") {
  // 27,648 numbers: the deviation of a mean is sigma / 166, that of a deviation sigma / 235.
  const Shape shape{96, 96, 3};
  const Bytes grey = even(128, shape);
  const double v = 128 / 255.0;
  const double gaussian[] = {.04, .06, .08, .09, .10}, photons[] = {500, 250, 100, 75, 50}, speckle[] = {.06, .1, .12, .16, .2};
  const double impulse[] = {.01, .02, .03, .05, .07};
  for (int severity = 1; severity <= kSeverities; ++severity) {
    const auto s = static_cast<std::size_t>(severity - 1);
    const auto check = [&](Corruption kind, double deviation) {
      const Change found = change(grey, corrupted(kind, severity, shape, grey));
      CAPTURE(corruption_name(kind), severity, found.mean, found.deviation);
      CHECK(std::abs(found.mean) < 4 * deviation / 166 + 0.5 / 255 / 10);
      CHECK(found.deviation == Approx(deviation).epsilon(4.0 / 235 + 0.01));
    };
    check(Corruption::gaussian_noise, gaussian[s]);
    check(Corruption::shot_noise, std::sqrt(v / photons[s]));
    check(Corruption::speckle_noise, v * speckle[s]);

    const Bytes found = corrupted(Corruption::impulse_noise, severity, shape, grey);
    const auto salt = std::count(found.begin(), found.end(), 255), pepper = std::count(found.begin(), found.end(), 0);
    const double expected = impulse[s] / 2 * static_cast<double>(grey.size());
    CHECK(std::abs(static_cast<double>(salt) - expected) < 4 * std::sqrt(expected));
    CHECK(std::abs(static_cast<double>(pepper) - expected) < 4 * std::sqrt(expected));
    CHECK(static_cast<std::size_t>(salt + pepper + std::count(found.begin(), found.end(), 128)) == found.size());
  }
  // A black picture has no photons and nothing to multiply; a white one may lose, not gain.
  for (const Corruption kind : {Corruption::shot_noise, Corruption::speckle_noise}) CHECK(corrupted(kind, 5, kCifar, even(0)) == even(0));
  const Bytes white = corrupted(Corruption::gaussian_noise, 5, kCifar, even(255));
  const double kept = static_cast<double>(std::count(white.begin(), white.end(), 255)) / static_cast<double>(white.size());
  CHECK(kept == Approx(0.5).margin(0.04));
}

TEST_CASE("shot noise has Poisson's distribution") {
  // 8 photons a number in the mean (40 bytes of 255 at 50 a unit): the shares of 0 ... 16 of them, by chi-squared with 17 degrees of freedom.
  const Shape shape{64, 64, 3};
  const Bytes image = even(40, shape), found = corrupted(Corruption::shot_noise, 5, shape, image);
  std::map<int, double> count;
  for (const std::uint8_t byte : found) ++count[static_cast<int>(std::lround(std::ceil(byte / 255.0 * 50 - 1e-9)))];
  const double mean = 40 / 255.0 * 50, all = static_cast<double>(found.size());
  double chi = 0, probability = std::exp(-mean), rest = 1, counted = 0;
  for (int k = 0; k <= 16; ++k) {
    const double expected = all * probability;
    chi += (count[k] - expected) * (count[k] - expected) / expected;
    rest -= probability, counted += count[k];
    probability *= mean / (k + 1);
  }
  chi += (all - counted - all * rest) * (all - counted - all * rest) / (all * rest);
  CHECK(chi < 40.8);  // a probability of 0.001
}

TEST_CASE("blur, light, boxes and deformations leave an even picture alone, or change it evenly") {
  for (const Corruption kind : all_corruptions()) {
    if (kind <= Corruption::speckle_noise || kind == Corruption::brightness) continue;
    for (int severity = 1; severity <= kSeverities; ++severity) {
      if (kind == Corruption::saturate && severity > 3) continue;  // adds to a saturation of zero: grey turns red
      CAPTURE(corruption_name(kind), severity);
      CHECK(distance(corrupted(kind, severity, kCifar, even(100)), even(100)) <= 1);  // a sum of weights a little below 1 is rounded down
    }
  }
  CHECK(corrupted(Corruption::brightness, 5, kCifar, even(100)) == even(176));  // 100 + 0.3 * 255 = 176.5
  CHECK(corrupted(Corruption::brightness, 5, kCifar, even(200)) == even(255));
}

TEST_CASE("a worse severity takes a picture further away") {
  // Waves that no corruption is blind to. The first two severities of saturate take colour away, the others add it; elastic_transform's are different mixes.
  const Bytes image = picture(kCifar, [](Index y, Index x, Index c) {
    return 128 + 50 * std::sin(0.35 * static_cast<double>(x + c)) + 50 * std::cos(0.3 * static_cast<double>(y - 2 * c));
  });
  for (const Corruption kind : all_corruptions()) {
    if (kind == Corruption::elastic_transform) continue;
    double before = 0;
    for (int severity = 1; severity <= kSeverities; ++severity) {
      if (kind == Corruption::saturate && severity == 3) before = 0;
      double sum = 0;  // over both signs of a deformation
      for (Index number = 0; number < 12; ++number) sum += distance(corrupted(kind, severity, kCifar, image, 0, number), image);
      CAPTURE(corruption_name(kind), severity);
      CHECK(sum > before);
      before = sum;
    }
  }
}

TEST_CASE("pixelate leaves as many columns and rows as its severity says") {
  const Bytes columns = picture(kCifar, [](Index, Index x, Index) { return 3 + 7 * x; });
  const Bytes rows = picture(kCifar, [](Index y, Index, Index) { return 3 + 7 * y; });
  // Means of two neighbours end in a half, so that rounding down does not split them.
  const std::size_t left[] = {30, 28, 27, 24, 20};  // of 32: .95 .9 .85 .75 .65, rounded down
  for (int severity = 1; severity <= kSeverities; ++severity)
    for (const Bytes& image : {columns, rows}) {
      const Bytes found = corrupted(Corruption::pixelate, severity, kCifar, image);
      CHECK(std::set<std::uint8_t>(found.begin(), found.end()).size() == left[severity - 1]);
    }
}

TEST_CASE("translate moves by whole pixels, each way at times, and reflects the border") {
  const Bytes image = random_picture(kCifar);
  const Index lengths[] = {1, 2, 3, 5, 7};
  const auto mirrored = [](Index i) { return i < 0 ? -i : i > 31 ? 62 - i : i; };
  for (int severity = 1; severity <= kSeverities; ++severity) {
    const Index length = lengths[severity - 1];
    std::set<std::pair<int, int>> ways;
    for (Index number = 0; number < 40; ++number) {
      const Bytes found = corrupted(Corruption::translate, severity, kCifar, image, 0, number);
      for (const int down : {-1, 1})
        for (const int right : {-1, 1})
          if (found == picture(kCifar, [&](Index y, Index x, Index c) {
                return image[static_cast<std::size_t>((mirrored(y + down * length) * 32 + mirrored(x + right * length)) * 3 + c)];
              }))
            ways.insert({down, right});
    }
    CHECK(ways.size() == 4);
  }
}

namespace {

/// Where the light of a picture lies: mean place and, of the second moments about it, those along y, along x and mixed.
struct Moments {
  double y = 0, x = 0, yy = 0, xx = 0, yx = 0;
};
Moments moments(const Bytes& image, const Shape& shape) {
  Moments m;
  double sum = 0;
  const auto over = [&](const auto& add) {
    for (Index y = 0; y < shape[0]; ++y)
      for (Index x = 0; x < shape[1]; ++x)
        add(static_cast<double>(y), static_cast<double>(x),
            static_cast<double>(image[static_cast<std::size_t>((y * shape[1] + x) * shape[2])]));
  };
  over([&](double y, double x, double v) { m.y += y * v, m.x += x * v, sum += v; });
  m.y /= sum, m.x /= sum;
  over([&](double y, double x, double v) {
    m.yy += (y - m.y) * (y - m.y) * v / sum, m.xx += (x - m.x) * (x - m.x) * v / sum, m.yx += (y - m.y) * (x - m.x) * v / sum;
  });
  return m;
}
/// A soft spot, longer along x than along y.
Bytes spot(const Shape& shape, double tall, double wide) {
  const double cy = static_cast<double>(shape[0] - 1) / 2, cx = static_cast<double>(shape[1] - 1) / 2;
  return picture(shape, [&](Index y, Index x, Index) {
    const double v = (static_cast<double>(y) - cy) / tall, u = (static_cast<double>(x) - cx) / wide;
    return std::lround(255 * std::exp(-0.5 * (v * v + u * u)));
  });
}

}  // namespace

TEST_CASE("rotate, shear and scale turn, lean and stretch by what they say, about the centre, and both ways") {
  const Shape shape{96, 96, 1};  // so wide that nothing of the spot is reflected
  const double degrees[] = {3, 6, 9, 12, 15}, factors[] = {.06, .12, .18, .24, .30};
  const Bytes image = spot(shape, 4, 8);
  const Moments before = moments(image, shape);
  for (int severity = 1; severity <= kSeverities; ++severity) {
    const double angle = degrees[severity - 1] * std::numbers::pi / 180, factor = factors[severity - 1];
    std::set<int> turned, leant, scaled;
    for (Index number = 0; number < 12; ++number) {
      const Moments turn = moments(corrupted(Corruption::rotate, severity, shape, image, 0, number), shape);
      const double found = 0.5 * std::atan2(2 * turn.yx, turn.xx - turn.yy);  // of the long axis against x
      CHECK(std::abs(found) == Approx(angle).epsilon(0.03));
      turned.insert(found > 0);
      CHECK(turn.y == Approx(before.y).margin(0.1));
      CHECK(turn.x == Approx(before.x).margin(0.1));

      // x = x' + tan y': the mixed moment grows by -tan times that along y, which stays.
      const Moments lean = moments(corrupted(Corruption::shear, severity, shape, image, 0, number), shape);
      CHECK(std::abs(lean.yx) == Approx(std::tan(angle) * before.yy).epsilon(0.06));  // rounding down eats the rim
      CHECK(lean.yy == Approx(before.yy).epsilon(0.02));
      leant.insert(lean.yx > 0);
      CHECK(lean.x == Approx(before.x).margin(0.1));

      const Moments size = moments(corrupted(Corruption::scale, severity, shape, image, 0, number), shape);
      const bool larger = size.xx > before.xx;
      scaled.insert(larger);
      CHECK(std::sqrt(size.xx / before.xx) == Approx(larger ? 1 + factor : 1 - factor).epsilon(0.02));
      CHECK(std::sqrt(size.yy / before.yy) == Approx(larger ? 1 + factor : 1 - factor).epsilon(0.02));
      CHECK(size.y == Approx(before.y).margin(0.1));
    }
    CHECK(turned.size() == 2);
    CHECK(leant.size() == 2);
    CHECK(scaled.size() == 2);
  }
}

TEST_CASE("elastic_transform moves corners by a share of the width, and bends what was straight but at severity 1") {
  const Shape shape{64, 64, 1};
  const Bytes image = spot(shape, 5, 5);
  const Moments before = moments(image, shape);
  const double corner[] = {.08, .07, .06, .05, .03};
  for (int severity = 1; severity <= kSeverities; ++severity) {
    const double most = corner[severity - 1] * 64;
    double far = 0, squares = 0;
    constexpr Index kImages = 150;
    for (Index number = 0; number < kImages; ++number) {
      const Moments after = moments(corrupted(Corruption::elastic_transform, severity, shape, image, 0, number), shape);
      // The centre lies between two of the corners, each of which moves by up to `most` along an axis; the field of severity 2 and on adds a little.
      CHECK(std::abs(after.y - before.y) < 1.3 * most + 2);
      CHECK(std::abs(after.x - before.x) < 1.3 * most + 2);
      for (const double moved : {after.y - before.y, after.x - before.x}) squares += moved * moved / (2 * kImages);
      far = std::max({far, std::abs(after.y - before.y), std::abs(after.x - before.x)});
    }
    CAPTURE(severity, far);
    CHECK(far > 0.4 * most);
    // The centre is the mean of two corners, each uniform in -most ... most: a deviation of most / sqrt(6), known here to 4 %.
    CHECK(std::sqrt(squares) == Approx(most / std::sqrt(6.0)).epsilon(0.15));
  }
  // A ramp stays a ramp under the affine map alone, far from the border: second differences are those of rounding down.
  const Bytes ramp = picture(shape, [](Index, Index x, Index) { return 20 + 3 * x; });
  const auto bend = [&](int severity) {
    const Bytes found = corrupted(Corruption::elastic_transform, severity, shape, ramp, 0, 3);
    int largest = 0;
    for (std::size_t y = 20; y < 44; ++y)
      for (std::size_t x = 20; x < 44; ++x)
        largest = std::max(largest, std::abs(found[y * 64 + x - 8] - 2 * found[y * 64 + x] + found[y * 64 + x + 8]));
    return largest;
  };
  CHECK(bend(1) <= 2);
  for (int severity = 3; severity <= kSeverities; ++severity)
    CHECK(bend(severity) > 2);  // that of severity 2 is too wide and low to be seen
}

TEST_CASE("a corrupted data set is the data set with each image corrupted") {
  Tensor<std::uint8_t, 4> pixels({5, 4, 6, 3});
  for (Index i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 7);
  const ImageDataset dataset(std::move(pixels), {0, 1, 2, 0, 1}, 3, {"a", "b", "c"});
  const CorruptedDataset corrupted_set(dataset, Corruption::gaussian_noise, 2, 9);
  static_assert(Dataset<CorruptedDataset<ImageDataset>>);
  CHECK(corrupted_set.size() == 5);
  CHECK(corrupted_set.classes() == 3);
  CHECK(corrupted_set.class_names() == dataset.class_names());
  CHECK(corrupted_set.image_shape() == dataset.image_shape());
  Bytes found(72), expected(72);
  for (Index i = 0; i < 5; ++i) {
    CHECK(corrupted_set.label(i) == dataset.label(i));
    corrupted_set.fetch(i, found.data());
    corrupt(Corruption::gaussian_noise, 2, 9, i, dataset.image_shape(), dataset.image(i), expected.data());
    CHECK(found == expected);
  }
  const CorruptedDataset twice(corrupted_set, Corruption::rotate, 1);  // made on demand upon made on demand
  twice.fetch(4, found.data());
  corrupt(Corruption::rotate, 1, 0, 4, dataset.image_shape(), expected.data(), expected.data());
  CHECK(found == expected);
}

TEST_CASE("images of any size are corrupted, but for colour without colours; severities are 1 to 5") {
  for (const Shape& shape : {Shape{1, 1, 3}, Shape{1, 7, 3}, Shape{5, 1, 3}, Shape{2, 3, 3}, Shape{9, 40, 3}})
    for (const Corruption kind : all_corruptions())
      for (int severity = 1; severity <= kSeverities; ++severity) {
        const Bytes image = random_picture(shape);
        CHECK(corrupted(kind, severity, shape, image).size() == image.size());
      }
  const Bytes grey = random_picture({4, 4, 1});
  CHECK_THROWS_WITH(corrupted(Corruption::saturate, 1, {4, 4, 1}, grey), contains("found 1 channel"));
  CHECK_NOTHROW(corrupted(Corruption::contrast, 1, {4, 4, 1}, grey));
  CHECK(all_corruptions().size() == kCorruptions);
  CHECK(all_corruptions(1).size() == kCorruptions - 2);
  for (const Corruption kind : all_corruptions(1)) CHECK_NOTHROW(corrupted(kind, 1, {4, 4, 1}, grey));
  const ImageDataset greys(Tensor<std::uint8_t, 4>({2, 4, 4, 1}), {0, 0}, 1);
  CHECK_THROWS_WITH(CorruptedDataset(greys, Corruption::brightness, 1),
      "corruption brightness: it is that of red, green and blue, found 1 channels; all_corruptions(1) are those that fit");
  CHECK_NOTHROW(CorruptedDataset(greys, Corruption::contrast, 1));
  for (const Shape& none : {Shape{0, 4, 3}, Shape{4, 0, 3}, Shape{4, 4, 0}})
    for (const Corruption kind : all_corruptions()) CHECK_THROWS_AS(corrupt(kind, 1, 0, 0, none, nullptr, nullptr), ShapeError);
  for (const int severity : {0, 6, -1}) {
    CHECK_THROWS_WITH(corrupted(Corruption::contrast, severity, {4, 4, 1}, grey), contains("expected 1 to 5"));
    const ImageDataset dataset;
    CHECK_THROWS_AS(CorruptedDataset(dataset, Corruption::contrast, severity), std::invalid_argument);
  }
}

TEST_CASE("elastic_transform's fields of rows and columns are two: no direction stays straight") {
  const Shape shape{64, 64, 1};
  for (const int severity : {3, 4, 5})
    for (const int slope : {-1, 1}) {  // ramps along both diagonals: one field for both would leave that of x - y alone
      const Bytes ramp = picture(shape, [&](Index y, Index x, Index) { return 127 + 2 * (x + slope * y - (slope > 0 ? 63 : 0)); });
      int largest = 0;
      for (Index number = 0; number < 10; ++number) {
        const Bytes found = corrupted(Corruption::elastic_transform, severity, shape, ramp, 0, number);
        for (std::size_t y = 20; y < 44; ++y)
          for (std::size_t x = 20; x < 44; ++x)
            largest = std::max(largest, std::abs(found[y * 64 + x - 8] - 2 * found[y * 64 + x] + found[y * 64 + x + 8]));
      }
      CAPTURE(severity, slope, largest);
      CHECK(largest > 3);
    }
}
