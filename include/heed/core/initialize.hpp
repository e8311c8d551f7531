// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string_view>

#include <heed/core/parameter.hpp>
#include <heed/core/random.hpp>

namespace heed::inline HEED_ABI {

/// How a parameter starts; names as in torch.nn.init. fan_in and fan_out are read from the shape (out, in, kernel axes...).
enum class Initializer {
  zeros,
  ones,
  constant,         ///< `value`
  uniform,          ///< in [-value, value)
  normal,           ///< N(0, value²)
  trunc_normal,     ///< N(0, value²) without what lies beyond ±2 value
  fan_in_uniform,   ///< in ±1/√fan_in: the default of torch.nn.Linear and Conv2d
  xavier_uniform,   ///< in ±value·√(6/(fan_in + fan_out)) (Glorot and Bengio 2010)
  xavier_normal,    ///< N(0, value²·2/(fan_in + fan_out))
  kaiming_uniform,  ///< in ±value·√(3/fan_in) (He et al. 2015; value = √2 for ReLU)
  kaiming_normal,   ///< N(0, value²/fan_in)
  dirac,            ///< a convolution that copies its first min(in, out) channels, other outputs 0 (Zagoruyko and Komodakis 2017)
  identity,         ///< the identity matrix
};

/// The initialiser of that name ("kaiming_uniform"). Throws for an unknown name, listing the known ones.
inline Initializer initializer(std::string_view name) {
  constexpr std::string_view names[] = {"zeros", "ones", "constant", "uniform", "normal", "trunc_normal", "fan_in_uniform",
      "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "dirac", "identity"};
  std::string known;
  for (int i = 0; std::string_view candidate : names) {
    if (candidate == name) return static_cast<Initializer>(i);
    known += text(i == 0 ? "" : ", ", candidate);
    ++i;
  }
  fail("initializer: '", name, "' is not known; choose one of ", known);
}

/// What an Initializer is told besides the parameter.
struct InitializerOptions {
  double value = 1;  ///< the constant, the bound, the standard deviation or the gain, see Initializer
  Index fan_in = 0;  ///< 0: from the shape. For biases, whose shape does not tell
};

/// The next stream of initial values of this thread (see SeedScope).
inline CounterRandom next_initial_stream() {
  Context& c = context();
  return CounterRandom({c.init_seed, 0x696e6974, c.init_draws++});
}

/// Fills the parameter from `stream`, the next one of this thread if none is given: element i takes number i, in the parameter's own layout.
template <class T>
void initialize(
    Parameter<T>& parameter, Initializer how, const InitializerOptions& options = {}, const CounterRandom& stream = next_initial_stream()) {
  const Shape& shape = parameter.shape();
  const Index count = parameter.size();
  Index kernel = 1;
  for (int axis = 2; axis < shape.rank(); ++axis) kernel *= shape[axis];
  const Index in = shape.rank() > 1 ? shape[1] : 1, out = shape.rank() > 0 ? shape[0] : 1;
  const double fan_in = static_cast<double>(options.fan_in > 0 ? options.fan_in : in * kernel), fan_out = static_cast<double>(out * kernel);
  const auto fill = [&](auto&& value) {
    for (Index i = 0; i < count; ++i) parameter.value()[i] = T(value(static_cast<std::uint64_t>(i)));
  };
  const auto uniform = [&](double bound) { fill([&](std::uint64_t i) { return stream.uniform(i, -bound, bound); }); };
  const auto normal = [&](double deviation) { fill([&](std::uint64_t i) { return deviation * stream.normal(i); }); };
  switch (how) {
    case Initializer::zeros:
      return fill([](std::uint64_t) { return 0.0; });
    case Initializer::ones:
      return fill([](std::uint64_t) { return 1.0; });
    case Initializer::constant:
      return fill([&](std::uint64_t) { return options.value; });
    case Initializer::uniform:
      return uniform(options.value);
    case Initializer::normal:
      return normal(options.value);
    case Initializer::trunc_normal:
      return fill([&](std::uint64_t i) {
        double draw = stream.normal(i);
        for (std::uint64_t round = 1; std::abs(draw) > 2; ++round) draw = stream.normal(i + round * static_cast<std::uint64_t>(count));
        return options.value * draw;
      });
    case Initializer::fan_in_uniform:
      return uniform(1 / std::sqrt(fan_in));
    case Initializer::xavier_uniform:
      return uniform(options.value * std::sqrt(6 / (fan_in + fan_out)));
    case Initializer::xavier_normal:
      return normal(options.value * std::sqrt(2 / (fan_in + fan_out)));
    case Initializer::kaiming_uniform:
      return uniform(options.value * std::sqrt(3 / fan_in));
    case Initializer::kaiming_normal:
      return normal(options.value / std::sqrt(fan_in));
    case Initializer::dirac:
    case Initializer::identity: {
      Index center = 0;  // of the kernel axes
      for (int axis = 2; axis < shape.rank(); ++axis) center = center * shape[axis] + shape[axis] / 2;
      require(shape.rank() >= 2, "initialize: dirac and identity need a matrix or a convolution weight, not a parameter of shape ", shape);
      fill([](std::uint64_t) { return 0.0; });
      for (Index c = 0; c < std::min(in, out); ++c) parameter.value()[(c * in + c) * kernel + center] = T(1);
      return;
    }
  }
}
HEED_COMPILE_ONCE(initialize);

}  // namespace heed::inline HEED_ABI
