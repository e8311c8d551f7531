// SPDX-License-Identifier: MIT
// Pictures: PNG, JPEG and PPM.
#include "cifar10/picture.hpp"
#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::File file(data, size);
  fuzz::refused_or_read_within(cifar10::kPictureMemoryFactor, size, [&] {
    const cifar10::Picture picture = cifar10::load_picture(file.path().string());
    fuzz::demand(picture.height() > 0 && picture.width() > 0);
    static_cast<void>(cifar10::resize(cifar10::crop(picture, 0, 0, 1, 1), 32, 32));
  });
  return 0;
}
