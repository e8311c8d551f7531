// SPDX-License-Identifier: MIT
#include <set>
#include <vector>

#include <heed/kernels/conv2d_patches.hpp>

#include "catch.hpp"

using heed::Index;
using heed::kernels::Conv2dGeometry;
using heed::kernels::Correlation;
using heed::kernels::CorrelationAxis;
using heed::kernels::PatchBlock;
using heed::kernels::PatchLayout;

TEST_CASE("the phases of an input gradient visit every product of the forward pass once") {
  for (const Index size : {1, 4, 9})
    for (const Index kernel : {1, 2, 3, 5})
      for (const Index stride : {1, 2, 3, 4, 6})
        for (const Index dilation : {1, 2, 3, 4})
          for (const Index padding : {0, 1, 4}) {
            const Index room = size + 2 * padding - dilation * (kernel - 1) - 1;
            if (room < 0) continue;
            const Index out = room / stride + 1;
            const Conv2dGeometry g{1, {size, 1}, 1, {out, 1}, 1, {kernel, 1}, {stride, 1}, {dilation, 1}, {padding, 0}, 1};
            std::set<std::vector<Index>> forward, gradient;  // (input, output, tap)
            const auto walk = [](const CorrelationAxis& a, const auto& product) {
              for (Index j = 0; j < a.targets; ++j)
                for (Index m = 0; m < a.taps; ++m) {
                  const Index source = j * a.step + m * a.tap_step + a.origin;
                  if (source >= 0 && source < a.source_size) product(a.first + j * a.spacing, source, a.tap_first + m * a.tap_spacing);
                }
            };
            walk(heed::kernels::forward_axis(g, 0), [&](Index o, Index i, Index tap) { forward.insert({i, o, tap}); });
            std::size_t products = 0;
            Index pixels = 0;
            for (Index phase = 0; phase < stride; ++phase) {
              const auto axis = heed::kernels::input_gradient_axis(g, 0, phase);
              walk(axis, [&](Index i, Index o, Index tap) { gradient.insert({i, o, tap}), ++products; });
              pixels += axis.targets;
            }
            INFO("size " << size << " kernel " << kernel << " stride " << stride << " dilation " << dilation << " padding " << padding);
            CHECK(forward == gradient);
            CHECK(products == gradient.size());
            CHECK(pixels == size);
          }
}

TEST_CASE("blocks cover all targets, and their sources are the image with zeros around it") {
  std::vector<float> x(3 * 7 * 6 * 4);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
  for (const Index padding : {0, 2})
    for (const Index wanted : {1, 9, 30, 1000})
      for (const Index most : {1, 100, 100000})
        for (const bool copy : {true, false}) {
          const Index out[] = {7 + 2 * padding - 2, 6 + 2 * padding - 2};
          const Conv2dGeometry g{3, {7, 6}, 4, {out[0], out[1]}, 2, {3, 3}, {1, 1}, {1, 1}, {padding, padding}, 2};
          const Correlation c{3, 2, {heed::kernels::forward_axis(g, 0), heed::kernels::forward_axis(g, 1)}, 2, 1, {out[0], out[1]}};
          const PatchLayout layout(c, sizeof(float), wanted, most, copy);
          CHECK(layout.in_place == (!copy && padding == 0));
          std::vector<float> scratch(static_cast<std::size_t>(layout.scratch(c)));
          Index seen = 0;
          for (Index index = 0; index < layout.blocks(c); ++index) {
            const PatchBlock block(c, layout, index);
            CHECK(block.pixels(c) > 0);
            seen += block.pixels(c);
            for (Index group = 0; group < 2; ++group) {
              const float* source = block.source(c, layout, x.data(), group, scratch.data());
              for (Index n = 0; n < block.images; ++n)
                for (Index r = 0; r < block.rows + 2; ++r)
                  for (Index i = 0; i < out[1] + 2; ++i)
                    for (Index channel = 0; channel < 2; ++channel) {
                      const Index y = block.row + r - padding, column = i - padding;
                      const bool inside = y >= 0 && y < 7 && column >= 0 && column < 6;
                      const Index element = (((block.image + n) * 7 + y) * 6 + column) * 4 + group * 2 + channel;
                      const float expected = inside ? x[static_cast<std::size_t>(element)] : 0;
                      REQUIRE(source[n * block.stored_image + r * layout.row + i * layout.pixel + channel] == expected);
                    }
            }
          }
          CHECK(seen == 3 * c.pixels());
        }
}

TEST_CASE("pixels a multiple of 2 KiB apart are copied apart") {
  const Conv2dGeometry g{1, {8, 8}, 512, {8, 8}, 2, {1, 1}, {1, 1}, {1, 1}, {0, 0}, 1};
  const Correlation c{1, 1, {heed::kernels::forward_axis(g, 0), heed::kernels::forward_axis(g, 1)}, 512, 2, {8, 8}};
  const PatchLayout layout(c, sizeof(float), 64, 100000, false);
  CHECK_FALSE(layout.in_place);
  CHECK(layout.pixel == 528);
}

TEST_CASE("of a group only its own channels are copied, also where its padded pixels are as long as those of the image") {
  // 16 channels of 32: five pixels 2 KiB apart get 16 elements between them, which makes 32 again.
  const Conv2dGeometry g{1, {2, 160}, 32, {1, 5}, 2, {2, 32}, {2, 32}, {1, 1}, {0, 0}, 2};
  const Correlation c{1, 2, {heed::kernels::forward_axis(g, 0), heed::kernels::forward_axis(g, 1)}, 16, 1, {1, 5}};
  const PatchLayout layout(c, sizeof(float), 64, 100000, false);
  CHECK_FALSE(layout.in_place);
  CHECK(layout.pixel == 32);
  std::vector<float> x(2 * 160 * 32), scratch(static_cast<std::size_t>(layout.scratch(c)), -1);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const PatchBlock block(c, layout, 0);
  const float* source = block.source(c, layout, x.data(), 1, scratch.data());
  for (Index pixel = 0; pixel < 2 * 160; ++pixel)
    for (Index channel = 0; channel < 32; ++channel) {
      const float expected = channel < 16 ? x[static_cast<std::size_t>(pixel * 32 + 16 + channel)] : -1;  // behind: untouched
      REQUIRE(source[pixel * 32 + channel] == expected);
    }
}

TEST_CASE("taps that meet no pixel are left out at the ends, and no product with them") {
  for (const Index size : {1, 2, 5})
    for (const Index kernel : {1, 3, 4})
      for (const Index stride : {1, 2, 3})
        for (const Index dilation : {1, 3})
          for (const Index padding : {0, 1, 3, 7}) {
            const Index room = size + 2 * padding - dilation * (kernel - 1) - 1;
            if (room < 0) continue;
            const Conv2dGeometry g{1, {size, 1}, 1, {room / stride + 1, 1}, 1, {kernel, 1}, {stride, 1}, {dilation, 1}, {padding, 0}, 1};
            const auto products = [](const CorrelationAxis& a) {
              std::set<std::vector<Index>> result;
              for (Index j = 0; j < a.targets; ++j)
                for (Index m = 0; m < a.taps; ++m) {
                  const Index source = j * a.step + m * a.tap_step + a.origin;
                  if (source >= 0 && source < a.source_size) result.insert({j, source, a.tap_first + m * a.tap_spacing});
                }
              return result;
            };
            const auto forward = heed::kernels::forward_axis(g, 0);
            CHECK(products(forward) == products(forward.clipped()));
            CHECK(forward.clipped().taps >= 1);
            for (Index phase = 0; phase < std::min(stride, size); ++phase) {
              const auto gradient = heed::kernels::input_gradient_axis(g, 0, phase);
              CHECK(products(gradient) == products(gradient.clipped()));
            }
          }
  const Conv2dGeometry pixel{1, {1, 1}, 1, {1, 1}, 1, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1};
  CHECK(heed::kernels::forward_axis(pixel, 0).clipped().taps == 1);
}

TEST_CASE("joined groups fill the lanes and cover all groups, the last block with some of the one before") {
  Correlation c{};
  c.groups = c.all_groups = 11, c.source_channels = 3, c.target_channels = 2;
  const Correlation joined = heed::kernels::join_groups(c, 8);
  CHECK(joined.joined == 4);
  CHECK(joined.groups == 3);
  CHECK(joined.source_channels == 12);
  CHECK(joined.target_channels == 8);
  CHECK(joined.source_pixel() == 33);
  CHECK(joined.target_pixel() == 22);
  CHECK(joined.target_channel(1) == 8);
  CHECK(joined.source_channel(2) == 21);  // groups 7 to 10
  CHECK(joined.target_channel(2) == 14);
  c.target_channels = 5;
  CHECK(heed::kernels::join_groups(c, 8).joined == 1);
  c.target_channels = 2, c.groups = c.all_groups = 3;
  CHECK(heed::kernels::join_groups(c, 8).joined == 3);
}

TEST_CASE("pixels are copied with zeros behind their channels, and nothing beyond") {
  for (const Index channels : {1, 3, 16, 21})
    for (const Index padded : {channels, channels + 5, Index(32)}) {
      std::vector<float> x(4 * 40), y(4 * 40, -1);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
      heed::dispatch<heed::kernels::detail::CopyPixels<float>, float>(
          Index(4), channels, padded, static_cast<const float*>(x.data()), Index(38), y.data(), Index(40));
      for (Index i = 0; i < 4; ++i)
        for (Index c = 0; c < 40; ++c) {
          const float expected = c < channels ? x[static_cast<std::size_t>(i * 38 + c)] : c < padded ? 0.0f : -1.0f;
          REQUIRE(y[static_cast<std::size_t>(i * 40 + c)] == expected);
        }
    }
}
