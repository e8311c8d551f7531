// SPDX-License-Identifier: MIT
// What page.js calls. Pictures come in through `picture_room`; addresses that are handed out stay valid until the next call of `look`.
#include <cstdint>
#include <vector>

#include <heed/data/generated.hpp>

#include "seer.hpp"

#define WEB_EXPORT(name) __attribute__((export_name(#name))) name

namespace {

constexpr int kSamples = 10;  // one of each class

struct Page {
  web::Seer seer;
  std::vector<std::uint8_t> picture;                                                               // red, green, blue, opacity
  const heed::ImageDataset samples = heed::generated_images({.train = 5, .test = kSamples}).test;  // the net has not learnt from them
};

Page& page() {
  static Page made;  // as long as the page is open
  return made;
}

}  // namespace

extern "C" {

/// Room for a picture of `height` x `width` pixels of four bytes.
std::uint8_t* WEB_EXPORT(picture_room)(int height, int width) {
  page().picture.resize(std::size_t{4} * static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  return page().picture.data();
}
/// Looks at what lies in that room and returns the class.
int WEB_EXPORT(look)(int height, int width) {
  page().seer.look(page().picture.data(), height, width);
  return page().seer.label();
}
const std::uint8_t* WEB_EXPORT(input)() { return page().seer.input(); }
const float* WEB_EXPORT(confidences)() { return page().seer.confidences().data(); }
const float* WEB_EXPORT(attention)() { return page().seer.attention().data(); }
const float* WEB_EXPORT(received)() { return page().seer.received().data(); }

int WEB_EXPORT(side)() { return embed::kSide; }
int WEB_EXPORT(map_side)() { return embed::kMapSide; }
int WEB_EXPORT(heads)() { return embed::kHeads; }
int WEB_EXPORT(classes)() { return embed::kClasses; }
const char* WEB_EXPORT(class_name)(int label) { return page().samples.class_names()[static_cast<std::size_t>(label)].c_str(); }

int WEB_EXPORT(samples)() { return kSamples; }
/// Puts a sample into the room and returns its class.
int WEB_EXPORT(sample)(int number) {
  const std::uint8_t* from = page().samples.image(number);
  std::uint8_t* to = picture_room(embed::kSide, embed::kSide);
  for (int i = 0; i < embed::kSide * embed::kSide; ++i) {
    for (int c = 0; c < 3; ++c) to[4 * i + c] = from[3 * i + c];
    to[4 * i + 3] = 255;
  }
  return page().samples.label(number);
}
}
