// SPDX-License-Identifier: MIT
// CIFAR's records and class names: as many images as the file has bytes for, with labels of their classes.
#include <heed/data/cifar.hpp>

#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heed;
  const fuzz::File file(data, size);
  const auto check = [&](const ImageDataset& images, Index record) {
    fuzz::demand(images.size() * record == static_cast<Index>(size));
    for (Index i = 0; i < images.size(); ++i) fuzz::demand(images.label(i) >= 0 && images.label(i) < images.classes());
  };
  constexpr std::size_t kLines = 48;  // a string for each line of a letter, in a list that grows
  constexpr std::size_t kFactor = 3;  // the images, the records that they are made of, and labels; buffers are up to a quarter larger
  fuzz::refused_or_read_within(kFactor, size, [&] { check(read_cifar10({file.path()}), kCifar10Record); });
  fuzz::refused_or_read_within(kFactor, size, [&] { check(read_cifar100({file.path()}, CifarLabels::fine, {}), kCifar100Record); });
  fuzz::refused_or_read_within(kLines, size, [&] { static_cast<void>(detail::read_class_names(file.path(), 10, cifar10_class_names())); });
  return 0;
}
