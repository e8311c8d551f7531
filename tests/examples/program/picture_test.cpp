// SPDX-License-Identifier: MIT
// Pictures, and the sheet that shows where a net looked (overlay.hpp, which is made of them).
#include "program/picture_file.hpp"

#include <cmath>
#include <string>

#include "catch.hpp"
#include "io/scratch_folder.hpp"
#include "program/overlay.hpp"
#include "program/predictions.hpp"

using namespace program;

namespace {

Picture pattern(Index height, Index width) {
  Picture picture(height, width);
  for (Index i = 0; i < height * width * 3; ++i) picture.pixel(0, 0)[i] = static_cast<std::uint8_t>((i * 37 + i / 7) % 256);
  return picture;
}

std::string bytes_of(const Picture& picture) {
  return {reinterpret_cast<const char*>(picture.data()), static_cast<std::size_t>(picture.height() * picture.width() * 3)};
}

bool equal(const Picture& a, const Picture& b) { return a.height() == b.height() && a.width() == b.width() && bytes_of(a) == bytes_of(b); }

/// Collects what stb_image_write gives out.
void append(void* to, void* from, int count) {
  static_cast<std::string*>(to)->append(static_cast<const char*>(from), static_cast<std::size_t>(count));
}

int channel(const Picture& picture, Index y, Index x, Index c) { return picture.pixel(y, x)[c]; }

}  // namespace

TEST_CASE("shrinking takes means over areas, with shares of pixels at the borders") {
  const Picture large = pattern(6, 10), small = resize(large, 2, 4);  // 3 rows and 2.5 columns to one
  for (Index y = 0; y < 2; ++y)
    for (Index x = 0; x < 4; ++x)
      for (Index c = 0; c < 3; ++c) {
        double sum = 0;
        for (Index i = 3 * y; i < 3 * y + 3; ++i)
          for (Index half = 5 * x; half < 5 * x + 5; ++half) sum += channel(large, i, half / 2, c) / 15.0;  // columns in halves
        CHECK(std::abs(channel(small, y, x, c) - sum) <= 0.5001);                                           // rounded
      }
}

TEST_CASE("enlarging is linear between the centres of pixels and constant beyond the outermost") {
  Picture two(1, 2);
  for (Index c = 0; c < 3; ++c) two.pixel(0, 1)[c] = 200;
  const Picture eight = resize(two, 1, 8);  // centres at 2 and 6: an eighth of the way at 2.5
  const int expected[] = {0, 0, 25, 75, 125, 175, 200, 200};
  for (Index x = 0; x < 8; ++x) CHECK(channel(eight, 0, x, 0) == expected[x]);
  CHECK(equal(resize(pattern(1, 1), 3, 3), Picture(3, 3, {0, 37, 74})));
}

TEST_CASE("resizing keeps an equal size and constant pictures as they are") {
  CHECK(equal(resize(pattern(32, 32), 32, 32), pattern(32, 32)));
  CHECK(equal(resize(pattern(1, 7), 1, 7), pattern(1, 7)));
  for (const Index side : {1, 7, 13, 100})
    CHECK(equal(resize(Picture(13, 5, {9, 200, 255}), side, 2 * side), Picture(side, 2 * side, {9, 200, 255})));
}

TEST_CASE("the centred square and its crop; what is pasted outside is left out") {
  const Picture wide = pattern(5, 9);
  const Square square = centre_square(wide);
  CHECK((square.top == 0 && square.left == 2 && square.side == 5));
  const Picture part = crop(wide, square.top, square.left, square.side, square.side);
  CHECK((part.height() == 5 && part.width() == 5));
  for (Index y = 0; y < 5; ++y)
    for (Index x = 0; x < 5; ++x) CHECK(channel(part, y, x, 1) == channel(wide, y, x + 2, 1));
  const Square tall = centre_square(Picture(10, 3));
  CHECK((tall.top == 3 && tall.left == 0 && tall.side == 3));

  Picture paper(3, 3, {1, 1, 1});
  paper.paste(Picture(2, 2, {9, 9, 9}), -1, 2);
  paper.fill(2, -5, 100, 6, {7, 7, 7});
  Picture expected(3, 3, {1, 1, 1});
  for (Index c = 0; c < 3; ++c) expected.pixel(0, 2)[c] = 9, expected.pixel(2, 0)[c] = 7;
  CHECK(equal(paper, expected));
}

TEST_CASE("PNG and PPM give the bytes that were written, JPEG nearly") {
  const ScratchFolder folder;
  const Picture picture = pattern(11, 17);
  save_png(folder.file("a.png"), picture);
  CHECK(equal(load_picture(folder.file("a.png")), picture));

  heed::write_file(folder.file("a.ppm"), "P6\n17 11\n255\n" + bytes_of(picture));
  CHECK(equal(load_picture(folder.file("a.ppm")), picture));
  heed::write_file(folder.file("comments.ppm"), "P6\n# 640 480 is the size of another picture\n17 # wide\n11\n255\n" + bytes_of(picture));
  CHECK(equal(load_picture(folder.file("comments.ppm")), picture));
  heed::write_file(folder.file("grey.pgm"), "P5 2 1 255\n" + std::string{char(3), char(250)});
  const Picture grey = load_picture(folder.file("grey.pgm"));
  CHECK((grey.height() == 1 && grey.width() == 2));
  for (Index c = 0; c < 3; ++c) CHECK((channel(grey, 0, 0, c) == 3 && channel(grey, 0, 1, c) == 250));

  Picture smooth(24, 40);
  for (Index y = 0; y < 24; ++y)
    for (Index x = 0; x < 40; ++x) {
      const auto colour = {4 * x + 20, 8 * y + 30, 200 - 3 * x};
      std::copy(colour.begin(), colour.end(), smooth.pixel(y, x));
    }
  std::string jpeg;
  REQUIRE(stbi_write_jpg_to_func(append, &jpeg, 40, 24, 3, smooth.data(), 95));
  heed::write_file(folder.file("a.jpg"), jpeg);
  const Picture read = load_picture(folder.file("a.jpg"));
  REQUIRE((read.height() == 24 && read.width() == 40));
  int apart = 0;
  for (Index i = 0; i < 24 * 40 * 3; ++i) apart = std::max(apart, std::abs(read.data()[i] - smooth.data()[i]));
  CHECK(apart <= 8);  // quality 95 on a slope; a swapped channel would be a hundred apart
}

TEST_CASE("each of the eight orientations is undone") {
  const char* upright[] = {"ab", "cd", "ef"};
  const std::vector<std::vector<std::string>> stored = {{"ab", "cd", "ef"}, {"ba", "dc", "fe"}, {"fe", "dc", "ba"}, {"ef", "cd", "ab"},
      {"ace", "bdf"}, {"bdf", "ace"}, {"fdb", "eca"}, {"eca", "fdb"}};
  const auto picture_of = [](const auto& rows) {
    Picture picture(static_cast<Index>(std::size(rows)), static_cast<Index>(std::string(rows[0]).size()));
    for (Index y = 0; y < picture.height(); ++y)
      for (Index x = 0; x < picture.width(); ++x)
        std::fill_n(
            picture.pixel(y, x), 3, static_cast<std::uint8_t>(std::string(rows[static_cast<std::size_t>(y)])[static_cast<std::size_t>(x)]));
    return picture;
  };
  for (int orientation = 1; orientation <= 8; ++orientation) {
    INFO(orientation);
    CHECK(equal(turned(picture_of(stored[static_cast<std::size_t>(orientation - 1)]), orientation), picture_of(upright)));
  }
}

TEST_CASE("a JPEG file is turned as its Exif part says, in either order of bytes; what makes no sense turns nothing") {
  const ScratchFolder folder;
  Picture smooth(8, 16);
  for (Index y = 0; y < 8; ++y)
    for (Index x = 0; x < 16; ++x) std::fill_n(smooth.pixel(y, x), 3, static_cast<std::uint8_t>(8 * x + 10 * y));
  std::string jpeg;
  REQUIRE(stbi_write_jpg_to_func(append, &jpeg, 16, 8, 3, smooth.data(), 95));
  // The file with parts behind its first marker.
  const auto with = [&](const std::string& parts) {
    heed::write_file(folder.file("a.jpg"), jpeg.substr(0, 2) + parts + jpeg.substr(2));
    return load_picture(folder.file("a.jpg"));
  };
  const auto part = [](int marker, const std::string& content) {
    const std::size_t length = content.size() + 2;
    return std::string{char(0xff), char(marker), char(length >> 8), char(length & 255)} + content;
  };
  const std::string exif("Exif\0\0", 6);
  const auto tiff = [&](bool little, std::size_t directory, std::size_t entries, std::size_t tag, std::size_t type, std::size_t value) {
    std::string bytes = little ? "II" : "MM";
    const auto put = [&](std::size_t number, std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(number >> 8 * (little ? i : count - 1 - i) & 255);
    };
    put(42, 2), put(directory, 4);
    put(entries, 2);
    put(0x010f, 2), put(2, 2), put(4, 4), put(0x6865, 4);  // who made the camera
    put(tag, 2), put(type, 2), put(1, 4), put(value, 2), put(0, 2);
    put(0, 4);
    return bytes;
  };
  const Picture plain = with("");
  for (const bool little : {false, true})
    for (std::size_t orientation = 1; orientation <= 8; ++orientation) {
      INFO(orientation << (little ? " in little" : " in big") << " endian");
      CHECK(equal(with(part(0xe1, exif + tiff(little, 8, 2, 0x0112, 3, orientation))), turned(plain, static_cast<int>(orientation))));
    }
  const std::string quarter = tiff(true, 8, 2, 0x0112, 3, 6);
  const Picture lying = turned(plain, 6);
  CHECK(lying.height() == 16);
  CHECK(equal(with(part(0xe0, "JFIF") + part(0xe1, "http://a.page/") + part(0xe1, exif + quarter)), lying));
  CHECK(equal(with(std::string(3, char(0xff)) + part(0xe1, exif + quarter)), lying));  // filled up

  for (const std::string& senseless : {tiff(true, 8, 2, 0x0112, 3, 0), tiff(true, 8, 2, 0x0112, 3, 9), tiff(true, 8, 2, 0x0112, 4, 6),
           tiff(true, 8, 2, 0x0113, 3, 6), tiff(true, 8, 1, 0x0112, 3, 6), tiff(false, 0xffffffff, 65535, 0x0112, 3, 6),
           tiff(true, 1000, 2, 0x0112, 3, 6), "XX" + quarter.substr(2), std::string()})
    CHECK(equal(with(part(0xe1, exif + senseless)), plain));
  CHECK(equal(with(part(0xe2, exif + quarter)), plain));
  // Wherever it is cut: no byte behind the end is read (the sanitizers see it), and from the last byte of the number on it is known.
  for (std::size_t length = 0; length <= quarter.size(); ++length) {
    INFO(length);
    CHECK(detail::tiff_orientation(std::string(quarter, 0, length)) == (length < 31 ? 1 : 6));
  }
  const std::string whole = jpeg.substr(0, 2) + part(0xe1, exif + quarter);
  for (std::size_t length = 0; length <= whole.size(); ++length) detail::exif_orientation(std::string(whole, 0, length));
  CHECK(detail::exif_orientation(whole) == 6);
}

TEST_CASE("transparent pixels are laid on white") {
  const ScratchFolder folder;
  const unsigned char pixels[] = {10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 51};  // opaque, gone, a fifth
  std::string png;
  REQUIRE(stbi_write_png_to_func(append, &png, 3, 1, 4, pixels, 12));
  heed::write_file(folder.file("a.png"), png);
  const Picture picture = load_picture(folder.file("a.png"));
  const int expected[3][3] = {{10, 20, 30}, {255, 255, 255}, {204, 224, 244}};
  for (Index x = 0; x < 3; ++x)
    for (Index c = 0; c < 3; ++c) CHECK(channel(picture, 0, x, c) == expected[x][c]);
}

TEST_CASE("what is no picture gets a sentence with its path") {
  const ScratchFolder folder;
  const auto refused = [&](const std::string& name, const std::string& content, const std::string& words) {
    INFO(name);
    const std::string path = folder.file(name);
    heed::write_file(path, content);
    CHECK_THROWS_AS(load_picture(path), heed::FileError);
    CHECK_THROWS_WITH(load_picture(path), contains(path + ": "));
    CHECK_THROWS_WITH(load_picture(path), contains(words));
  };
  CHECK_THROWS_WITH(load_picture(folder.file("none.png")), contains("none.png: no such file"));
  CHECK_THROWS_WITH(load_picture(folder.path()), contains("found a folder"));
  refused("words.png", "no picture at all", "expected a PNG, JPEG or PPM file");
  refused("empty.jpg", "", "expected a PNG, JPEG or PPM file");
  refused("large.ppm", "P6\n20000 20000\n255\n", "20000 x 20000 pixels");

  save_png(folder.file("whole.png"), pattern(40, 40));
  const std::string png = heed::read_file(folder.file("whole.png"));
  refused("cut.png", png.substr(0, png.size() / 2), "cannot be read");
  const std::string ppm = "P6\n17 11\n255\n" + bytes_of(pattern(11, 17));
  refused("cut.ppm", ppm.substr(0, ppm.size() - 1), "expected 561 bytes of pixels, found 560");
  refused("cut.pgm", "P5\n2 2\n255\n...", "expected 4 bytes of pixels, found 3");
  refused("head.ppm", "P6\n17 11\n255", "found 0");
  refused("wide.ppm", "P6\n1 1\n65535\n......", "largest value");
  refused("turns.ppm", "P6\n4294967297 4294967297\n255\n...", "1000000000 x 1000000000 pixels");  // no number turns over
  refused("dark.ppm", "P6\n1 1\n15\n...", "largest value");
}

TEST_CASE("a folder that is missing gets a sentence when a picture is written") {
  const ScratchFolder folder;
  CHECK_THROWS_AS(save_png(folder.file("none/a.png"), pattern(2, 2)), heed::FileError);
  CHECK(folder.count() == 0);
}

TEST_CASE("text stays in its box, and leaves the paper alone elsewhere") {
  Picture paper(30, 200, {255, 255, 255});
  draw_text(paper, 5, 10, "cat 86.0 %", {0, 0, 0}, 2);
  const Index width = text_width("cat 86.0 %", 2);
  Index inked = 0;
  bool inside = true;
  for (Index y = 0; y < 30; ++y)
    for (Index x = 0; x < 200; ++x)
      if (channel(paper, y, x, 0) == 0) {
        ++inked;
        inside = inside && y >= 5 && y < 5 + 2 * 12 && x >= 10 && x < 10 + width;
      }
  CHECK(inked > 100);
  CHECK(inside);

  Picture foreign(30, 200, {255, 255, 255}), marks(30, 200, {255, 255, 255});
  draw_text(foreign, 5, 10, "\xc3\xa9\n", {0, 0, 0}, 2);
  draw_text(marks, 5, 10, "???", {0, 0, 0}, 2);
  CHECK(equal(foreign, marks));
}

TEST_CASE("heat colours grow lighter and stay the same beyond 0 and 1") {
  double last = -1;
  for (int i = 0; i <= 20; ++i) {
    const Colour colour = heat_colour(i / 20.0);
    const double light = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2];
    CHECK(light > last);
    last = light;
  }
  CHECK(heat_colour(-1) == heat_colour(0));
  CHECK(heat_colour(2) == heat_colour(1));
}

TEST_CASE("the hottest place of an overlay lies where the token lies, and only the centred square is coloured") {
  heed::Tensor<float, 2> map({7, 7});
  map(5, 1) = 49;
  const Picture heat = detail::with_heat(Picture(32, 48, {0, 0, 0}), map, {2.5 / 32, 4.0 / 32}, 49);
  Index best_y = 0, best_x = 8;
  for (Index y = 0; y < 32; ++y)
    for (Index x = 8; x < 40; ++x)
      if (channel(heat, y, x, 0) > channel(heat, best_y, best_x, 0)) best_y = y, best_x = x;
  CHECK(best_y == 22);     // the token saw pixels 20 to 24 from above,
  CHECK(best_x == 8 + 6);  // 4 to 8 from the left of the square
  for (const Index x : {0, 7, 40, 47}) CHECK((channel(heat, 16, x, 0) == 200 && channel(heat, 16, x, 2) == 200));
}

TEST_CASE("a sheet has two pictures a row, and shortens long names from the left") {
  heed::Tensor<float, 2> map({7, 7});
  map.fill(1);
  const auto sheet = [&](int count) {
    const std::string title(200, 'x');
    std::vector<Attended> items(static_cast<std::size_t>(count), {pattern(40, 30), title, "cat", map});
    return overlay_sheet(items, heed::TokenGrid::even(7), "attention received:  0");
  };
  const Picture one = sheet(1), two = sheet(2), three = sheet(3);
  CHECK(two.width() > 2 * one.width() - 32);
  CHECK(two.height() == one.height());
  CHECK(three.width() == two.width());
  CHECK(three.height() > one.height() + 256);
  CHECK(detail::shortened("photographs/cat.png", 1000, 2) == "photographs/cat.png");
  const std::string cut = detail::shortened("photographs/cat.png", 120, 2);
  CHECK(cut.starts_with("..."));
  CHECK(cut.ends_with("cat.png"));
  CHECK(text_width(cut, 2) <= 120);
}

TEST_CASE("an overlay is the sheet of maps as multiples of their mean, whatever their unit") {
  const ScratchFolder folder;
  const heed::TokenGrid grid = heed::TokenGrid::even(2);
  heed::Tensor<float, 3> scores({2, 2, 2}), larger({2, 2, 2});  // of the second picture nothing counts
  for (Index i = 0; i < 4; ++i) scores[i] = static_cast<float>(i), larger[i] = 8 * scores[i];
  const auto bytes = [&](const char* name, const heed::Tensor<float, 3>& maps) {
    const std::string path = folder.file(name);
    save_overlay(path, {pattern(10, 20), pattern(9, 9)}, {"a.png", "b.png"}, {"cat", "dog"}, maps, grid, "attention received:  0");
    return heed::read_file(path);
  };
  heed::Tensor<float, 2> first({2, 2}), second({2, 2});
  for (Index i = 0; i < 4; ++i) first[i] = static_cast<float>(i) / 1.5f;
  const std::vector<Attended> items{{pattern(10, 20), "a.png", "cat", first}, {pattern(9, 9), "b.png", "dog", second}};
  const std::string expected = png_bytes(overlay_sheet(items, grid, "attention received:  0"));
  CHECK(bytes("one.png", scores) == expected);
  CHECK(bytes("two.png", larger) == expected);
}

TEST_CASE("pictures for a model: centred squares, normalised; no overlay over what is read") {
  const ScratchFolder folder;
  save_png(folder.file("a.png"), pattern(6, 10));
  save_png(folder.file("b.png"), pattern(9, 4));
  const std::vector<std::string> paths{folder.file("a.png"), folder.file("b.png")};
  const std::vector<Picture> pictures = load_pictures(paths);
  REQUIRE(pictures.size() == 2);
  CHECK(equal(pictures[1], pattern(9, 4)));
  heed::write_file(folder.file("model.png"), "a model");
  CHECK_NOTHROW(check_overlay(folder.file("new.png"), false, paths, folder.file("model.png")));
  for (const char* overlay : {"a.png", "b.png", "model.png"})
    CHECK_THROWS_WITH(check_overlay(folder.file(overlay), true, paths, folder.file("model.png")), contains("is read; choose another one"));
  CHECK_THROWS_WITH(load_pictures({folder.file("c.png")}), contains("c.png: no such file"));

  const heed::Tensor<float, 4> input = as_input(pictures, 4, {{0.5, 0.25, 0}, {0.5, 1, 2}});
  REQUIRE(input.shape() == heed::Shape{2, 4, 4, 3});
  const Picture square = resize(crop(pictures[1], 2, 0, 4, 4), 4, 4);
  double apart = 0;
  for (Index i = 0; i < 48; ++i) {
    const double pixel = square.data()[i] / 255.0, expected = i % 3 == 0 ? (pixel - 0.5) / 0.5 : i % 3 == 1 ? pixel - 0.25 : pixel / 2;
    apart = std::max(apart, std::abs(static_cast<double>(input[48 + i]) - expected));
  }
  CHECK(apart < 1e-6);  // float
}

TEST_CASE("a caption names the three likeliest classes with their probabilities") {
  const float logits[] = {0, std::log(2.0f), -100, std::log(5.0f)};
  CHECK(caption(logits, {"a", "b", "c", "d"}) == "d 62.5 %, b 25.0 %, a 12.5 %");
  CHECK(caption(logits, {"a", "b"}) == "b 66.7 %, a 33.3 %");
}
