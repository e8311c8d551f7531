// SPDX-License-Identifier: MIT
#pragma once

#include "nets.hpp"

#include <heed/train/summary.hpp>

#include "verify.hpp"

namespace bench {

/// The nets of the example cifar10 on random images, 256 of them unless the name says otherwise.
struct NetWorkload {
  std::string net = "demo";
  Index batch = 0;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.word({"demo", "small", "large"}, self.net);
    v.option("batch", self.batch);
  }

  Index images() const { return batch > 0 ? batch : 256; }
  Tensor<float, 4> input() const { return operand<4>(image_shape(images(), 32, 32, 3), 1); }
  template <class T>
  cifar10::Net<T> model() const {
    const SeedScope seed(1);
    return cifar10::make_net<T>({.net = net});
  }
  /// The same weights in double.
  cifar10::Net<double> twin(const cifar10::Net<float>& of) const {
    auto result = model<double>();
    copy_parameters(of, result);
    return result;
  }
  /// Of one image: matrix products and convolutions alone, as the summary counts them (docs/cifar10.md). A training step is counted without the gradient of the
  /// first block's input, as the PyTorch scripts count theirs.
  Work work(bool training) const {
    const double n = static_cast<double>(images());
    const double image = training ? 1e6 * (net == "demo"       ? 85.6
                                              : net == "small" ? 212.0
                                                               : 785.0)
                                  : summarize(model<float>(), image_shape(1, 32, 32, 3)).flops();
    return {.flops = n * image, .items = n, .items_name = "images_per_second"};
  }
};

}  // namespace bench
