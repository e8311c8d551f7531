// SPDX-License-Identifier: MIT
// conv2d/NxHxWxCi->Co/kKsS[/groupsG][/algorithm]/forward and .../forward_backward, padded by K / 2 where K is odd, not where it is even.
// Operations of the plain sum: forward 2 Ci Co K K / G for each pixel of y, backward twice that. An algorithm that multiplies less is counted as
// if it did not.
#include <heed/layers/conv2d.hpp>

#include <reference/conv2d_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct Conv2dWorkload {
  Index images = 1, height = 1, width = 1, in = 1, out = 1, kernel = 1, stride = 1;
  Index groups = 0;  ///< 0: one
  bool direct = false, winograd_2x2 = false, winograd_4x4 = false;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("NxHxWxCi->Co/kKsS", self.images, self.height, self.width, self.in, self.out, self.kernel, self.stride);
    v.option("groups", self.groups);
    v.option("direct", self.direct);
    v.option("winograd_2x2", self.winograd_2x2);
    v.option("winograd_4x4", self.winograd_4x4);
  }
  void check() const {
    require(direct + winograd_2x2 + winograd_4x4 <= 1, "direct, winograd_2x2 and winograd_4x4 exclude each other");
    require(!(winograd_2x2 || winograd_4x4) || (kernel == 3 && stride == 1 && parts() == 1),
        "Winograd's algorithms are for k3s1 without groups");
    require(in % parts() == 0 && out % parts() == 0, in, " and ", out, " channels cannot be cut into ", groups, " groups");
    require(
        std::min(height, width) + 2 * padding() >= kernel, "a kernel of ", kernel, " does not fit into ", height, 'x', width, " pixels");
  }
  void add(const std::string& name) const;

  Index parts() const { return groups > 0 ? groups : 1; }
  Index padding() const { return kernel % 2 == 1 ? kernel / 2 : 0; }
  Index pixels(Index size) const { return (size + 2 * padding() - kernel) / stride + 1; }
  Conv2dOptions options() const {
    return {.in_channels = in,
        .out_channels = out,
        .kernel_size = kernel,
        .stride = stride,
        .padding = padding(),
        .groups = parts(),
        .algorithm = algorithm()};
  }
  Conv2dAlgorithm algorithm() const {
    return direct         ? Conv2dAlgorithm::direct
           : winograd_2x2 ? Conv2dAlgorithm::winograd_2x2
           : winograd_4x4 ? Conv2dAlgorithm::winograd_4x4
                          : Conv2dAlgorithm::automatic;
  }
};

struct Conv2dCase {
  Conv2dWorkload w;
  bool training;
  Conv2d<float> layer;
  Tensor<float, 4> x, dy;
  Conv2d<float>::Cache cache;
  naive::Result plain;

  Conv2dCase(const Conv2dWorkload& workload, bool trains)
      : w(workload),
        training(trains),
        layer(w.options()),
        x(operand<4>({w.images, w.height, w.width, w.in}, 1)),
        dy(operand<4>(layer.output_shape(x.shape()), 2)) {}

  void run() {
    if (!training) return benchmark::DoNotOptimize(layer.forward(x).data());
    const auto y = layer.forward(x, cache);
    benchmark::DoNotOptimize(y.data());
    benchmark::DoNotOptimize(layer.backward(dy, cache).data());
  }

  /// Output pixel (oy, ox) of an image as a convolution of its own, with one output pixel.
  kernels::Conv2dGeometry pixel(Index oy, Index ox) const {
    const Index top = w.padding() - oy * w.stride, left = w.padding() - ox * w.stride;
    return {1, {w.height, w.width}, w.in, {1, 1}, w.out, {w.kernel, w.kernel}, {w.stride, w.stride}, {1, 1}, {top, left}, w.parts()};
  }

  /// Some pixels of y; all gradients, of a dy that is zero but for these pixels.
  std::string check() {
    const auto at = [](Index i) { return static_cast<std::size_t>(i); };
    const Index height = dy.size(1), width = dy.size(2), image = x.size() / w.images;
    const auto flat = dy.reshaped<2>({dy.rows(), w.out});
    const auto pixels = samples_of(flat.size(0));
    const float *weight = std::as_const(layer).weight().value(), *bias = std::as_const(layer).bias().value();
    std::vector<double> dx(training ? at(x.size()) : 0), d_weight(at(layer.weight().size())), d_bias(at(w.out));
    const auto y = training ? layer.forward(x, cache) : layer.forward(x);
    std::string fault;
    for (const Index p : pixels) {
      const Index n = p / (height * width);
      const float *source = x.data() + n * image, *gradient = flat.data() + p * w.out;
      std::vector<double> expected(bias, bias + w.out);
      reference::for_each_product(pixel(p / width % height, p % width), [&](Index i, Index k, Index o) {
        expected[at(o)] += static_cast<double>(source[i]) * static_cast<double>(weight[k]);
        if (!training) return;
        dx[at(n * image + i)] += static_cast<double>(gradient[o]) * static_cast<double>(weight[k]);
        d_weight[at(k)] += static_cast<double>(gradient[o]) * static_cast<double>(source[i]);
      });
      for (Index o = 0; o < w.out; ++o) d_bias[at(o)] += static_cast<double>(gradient[o]);
      fault = first_fault({fault, difference(text("y of pixel ", p), y.data() + p * w.out, expected)});
    }
    if (!training) return fault;
    layer.zero_gradients();
    const auto sparse = scatter<2>(flat.shape(), pixels, gather(flat, pixels));
    const auto got = layer.backward(sparse.reshaped<4>(dy.shape()), cache);
    return first_fault({fault, difference("dx", got.data(), dx), difference("d_weight", layer.weight().gradient(), d_weight),
        difference("d_bias", layer.bias().gradient(), d_bias)});
  }

  void run_naive() {
    const kernels::Conv2dGeometry g{w.images, {w.height, w.width}, w.in, {dy.size(1), dy.size(2)}, w.out, {w.kernel, w.kernel},
        {w.stride, w.stride}, {1, 1}, {w.padding(), w.padding()}, w.parts()};
    const float* weight = layer.weight().value();
    plain.y = naive::conv2d(g, x.data(), weight, layer.bias().value());
    benchmark::DoNotOptimize(plain.y.data());
    if (!training) return;
    plain.dx = naive::conv2d_backward(g, x.data(), weight, dy.data(), plain.d_weight.data(), plain.d_bias.data());
    benchmark::DoNotOptimize(plain.dx.data());
  }
  std::string check_naive() {
    plain.d_weight = naive::zeros(layer.weight().size()), plain.d_bias = naive::zeros(w.out);
    run_naive();
    if (!training) return difference("y", layer.forward(x).data(), plain.y);
    layer.zero_gradients();
    const auto y = layer.forward(x, cache), dx = layer.backward(dy, cache);
    return first_fault({difference("y", y.data(), plain.y), difference("dx", dx.data(), plain.dx),
        difference("d_weight", layer.weight().gradient(), plain.d_weight), difference("d_bias", layer.bias().gradient(), plain.d_bias)});
  }
};

void Conv2dWorkload::add(const std::string& name) const {
  const double taps = static_cast<double>(images * pixels(height) * pixels(width)) * static_cast<double>(kernel * kernel);
  const Passes work = products(2.0 * taps * static_cast<double>(in / parts()) * static_cast<double>(out));
  add_case(name + "/forward", work.forward, [w = *this] { return Conv2dCase(w, false); });
  add_case(name + "/forward_backward", work.training, [w = *this] { return Conv2dCase(w, true); });
}

[[maybe_unused]] const bool known = family<Conv2dWorkload>("conv2d",
    {// 3x3 from a first layer to 512 channels, 1x1, stride 2, 2x2.
        "64x32x32x3->64/k3s1", "64x32x32x64->64/k3s1", "64x16x16x128->128/k3s1", "64x16x16x256->256/k3s1", "64x8x8x256->256/k3s1",
        "64x8x8x512->512/k3s1", "64x8x8x256->256/k1s1", "64x32x32x64->128/k3s2", "64x32x32x64->64/k2s1",
        // The layers of net demo.
        "256x32x32x3->24/k2s1", "256x31x31x24->24/k3s1", "256x15x15x24->24/k3s1", "256x15x15x24->64/k3s1", "256x7x7x64->64/k3s1",
        "256x7x7x64->96/k3s1", "256x3x3x96->96/k3s1",
        // Few channels, 5x5, groups, depthwise, projections, first layers of large images, patches, a map that is not square.
        "64x32x32x32->32/k3s1", "64x32x32x48->48/k3s1", "64x16x16x64->64/k5s1", "64x16x16x128->128/k3s1/groups4",
        "64x32x32x64->64/k3s1/groups64", "64x16x16x128->128/k3s2/groups128", "64x16x16x128->256/k1s2", "64x16x16x256->64/k1s1",
        "8x224x224x3->64/k7s2", "8x224x224x3->768/k16s16", "64x24x40x64->64/k3s1",
        // Each algorithm.
        "64x16x16x128->128/k3s1/direct", "64x16x16x128->128/k3s1/winograd_2x2", "64x16x16x128->128/k3s1/winograd_4x4"});

}  // namespace
