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

/// While it lives, the composed models that this thread calls look at whatever their layers give, forward and backward. The first layer that gives a NaN or an
/// infinity ends the call with an AnomalyError that names its path, what it gave and where. (Two layers that `Sequential` runs in one pass are named by the first,
/// backward by the second.) It reads every tensor once more.
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

/// Throws AnomalyError if `x` holds what is no number; `what` says what it is: "forward gives".
template <class X>
void require_finite(std::string_view what, const X& x, const std::string& hint = "") {
  if constexpr (std::is_floating_point_v<Element<X>>)
    if (const Index place = first_anomaly(x.data(), x.size()); place >= 0)
      fail<AnomalyError>(what, ' ', x.data()[place], " at element ", place, " of ", x.shape(), hint, at_step());
}

/// Under an AnomalyScope: looks at what `layer` has given. Its weights, spoiled by an earlier step, would be the cause and are looked at first.
template <class L, class Y>
void watch_forward([[maybe_unused]] const L& layer, [[maybe_unused]] const Y& y) {
  if constexpr (std::is_floating_point_v<Element<Y>>) {
    if (!context().anomaly) [[likely]]
      return;
    const Index wrong = first_anomaly(y.data(), y.size());
    if (wrong < 0) return;
    for (const auto& [name, parameter] : named_parameters(const_cast<L&>(layer)))
      if (const Index place = first_anomaly(parameter->value(), parameter->size()); place >= 0)
        fail<AnomalyError>("forward gives ", y.data()[wrong], ", since its ", name, " holds ", parameter->value()[place], " at element ",
            place, " of ", parameter->shape(), ": an earlier step made it so", at_step());
    require_finite("forward gives", y, "; what it was given was finite");
  }
}
/// The same of its backward pass: of the gradients of its weights and its input.
template <class L, class Dx>
void watch_backward([[maybe_unused]] L& layer, [[maybe_unused]] const Dx& dx) {
  if constexpr (std::is_floating_point_v<Element<Dx>>) {
    if (!context().anomaly) [[likely]]
      return;
    for (const auto& [name, parameter] : named_parameters(layer))
      if (parameter->has_gradient())
        if (const Index place = first_anomaly(parameter->gradient(), parameter->size()); place >= 0)
          fail<AnomalyError>("backward gives a gradient of ", name, " that is ", parameter->gradient()[place], " at element ", place,
              " of ", parameter->shape(), "; what it was given was finite", at_step());
    require_finite("backward gives", dx, "; what it was given was finite");
  }
}

}  // namespace detail

}  // namespace heed::inline HEED_ABI
