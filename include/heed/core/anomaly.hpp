// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <heed/core/layer.hpp>

namespace heed::inline HEED_ABI {

/// A number that is NaN or infinite where training cannot go on with it.
class AnomalyError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// While it lives, the composed models that this thread calls look at whatever their layers give, forward and backward, and so do layers that are made of others. The
/// first layer that gives a NaN or an infinity ends the call with an AnomalyError that names its path, what it gave and where. (Two layers that `Sequential` runs in one
/// pass are named by the first, backward by the second.) It reads every tensor once more.
class AnomalyScope {
 public:
  AnomalyScope() : saved_(context().anomaly) { context().anomaly = true; }
  ~AnomalyScope() { context().anomaly = saved_; }
  AnomalyScope(const AnomalyScope&) = delete;
  AnomalyScope& operator=(const AnomalyScope&) = delete;

 private:
  bool saved_;
};

/// The place of the first NaN or infinity, -1 if there is none.
template <class T>
Index first_anomaly(const T* data, Index count) {
  if constexpr (std::is_floating_point_v<T>)
    for (Index i = 0; i < count; ++i)
      if (!std::isfinite(data[i])) return i;
  return -1;
}

namespace detail {

/// ", at step 12" in a training step.
inline std::string at_step() { return context().has_step ? text(", at step ", context().step) : std::string(); }

template <class X>
using Element = std::remove_cvref_t<decltype(*std::declval<const X&>().data())>;

/// Throws AnomalyError if `data` holds what is no number; `what` says what it is: "forward gives". Null holds nothing: a layer that has no gradient of its
/// input to give returns a tensor without memory.
template <class T>
void require_finite(std::string_view what, const T* data, const Shape& shape, std::string_view hint = "") {
  if (const Index place = data ? first_anomaly(data, shape.size()) : -1; place >= 0)
    fail<AnomalyError>(what, ' ', data[place], " at element ", place, " of ", shape, hint, at_step());
}

/// Throws if `y`, which a layer with these parameters has given, holds what is no number. Weights that an earlier step has spoiled would be the cause.
template <class T>
void require_finite_output(const T* y, const Shape& shape, const std::vector<NamedParameter<T>>& parameters) {
  const Index wrong = first_anomaly(y, shape.size());
  if (wrong < 0) return;
  for (const auto& [name, parameter] : parameters)
    if (const Index place = first_anomaly<T>(parameter->value(), parameter->size()); place >= 0)
      fail<AnomalyError>("forward gives ", y[wrong], ", since its ", name, " holds ", parameter->value()[place], " at element ", place,
          " of ", parameter->shape(), ": an earlier step made it so", at_step());
  require_finite("forward gives", y, shape, "; what it was given was finite");
}
HEED_COMPILE_ONCE(require_finite_output);
/// The same of a backward pass: of the gradients of the parameters and of the input.
template <class T>
void require_finite_gradients(const T* dx, const Shape& shape, const std::vector<NamedParameter<T>>& parameters) {
  for (const auto& [name, parameter] : parameters)
    if (parameter->has_gradient())
      if (const Index place = first_anomaly<T>(parameter->gradient(), parameter->size()); place >= 0)
        fail<AnomalyError>("backward gives a gradient of ", name, " that is ", parameter->gradient()[place], " at element ", place, " of ",
            parameter->shape(), "; what it was given was finite", at_step());
  require_finite("backward gives", dx, shape, "; what it was given was finite");
}
HEED_COMPILE_ONCE(require_finite_gradients);

/// Under an AnomalyScope: looks at what `layer` has given.
template <class L, class Y>
void watch_forward([[maybe_unused]] const L& layer, [[maybe_unused]] const Y& y) {
  if constexpr (std::is_floating_point_v<Element<Y>>)
    if (context().anomaly) [[unlikely]]
      require_finite_output(y.data(), y.shape(), named_parameters(const_cast<L&>(layer)));
}
template <class L, class Dx>
void watch_backward([[maybe_unused]] L& layer, [[maybe_unused]] const Dx& dx) {
  if constexpr (std::is_floating_point_v<Element<Dx>>)
    if (context().anomaly) [[unlikely]]
      require_finite_gradients(dx.data(), dx.shape(), named_parameters(layer));
}
/// The same of what a layer makes between its parts; `what` says what it is: "adding a branch gives".
template <class X>
void watch_between([[maybe_unused]] std::string_view what, [[maybe_unused]] const X& x) {
  if constexpr (std::is_floating_point_v<Element<X>>)
    if (context().anomaly) [[unlikely]]
      require_finite(what, x.data(), x.shape());
}

}  // namespace detail

/// For layers that are made of others: `pass()`, which runs the part called `name` and gives its y. What fails in it is said under that name, and what dropout
/// draws in it depends on the name (parts without one would all drop the same elements).
template <class Part, class Pass>
auto forward_part(std::string_view name, const Part& part, const Pass& pass) {
  const LayerScope scope(name);
  auto y = pass();
  detail::watch_forward(part, y);
  return y;
}
/// The same of a backward pass, which gives dx.
template <class Part, class Pass>
auto backward_part(std::string_view name, Part& part, const Pass& pass) {
  const LayerScope scope(name);
  auto dx = pass();
  detail::watch_backward(part, dx);
  return dx;
}
/// The same of a part that adds its gradient to dx.
template <class Part, class Dy, class Cache, class Dx>
void backward_add_part(std::string_view name, Part& part, const Dy& dy, Cache& cache, const Dx& dx) {
  const LayerScope scope(name);
  part.backward_add(dy, cache, dx);
  detail::watch_backward(part, dx);
}

}  // namespace heed::inline HEED_ABI
