// SPDX-License-Identifier: MIT
// Pictures: PNG, JPEG and PPM.
#include "fuzz_target.hpp"
#include "program/picture_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::File file(data, size);
  fuzz::refused_or_read_within(program::kPictureMemoryFactor, size, [&] {
    const program::Picture picture = program::load_picture(file.path().string());
    fuzz::demand(picture.height() > 0 && picture.width() > 0);
    static_cast<void>(program::resize(program::crop(picture, 0, 0, 1, 1), 32, 32));
  });
  return 0;
}
