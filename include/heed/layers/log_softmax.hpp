// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/softmax_layer.hpp>

namespace heed::inline HEED_ABI {

struct LogSoftmaxOptions {
  int dim = -1;  ///< the axis along which exp(y) sums to 1; negative ones count from the end. Channels are the last axis here, not number 1
};

/// y = log(exp(x) / Σ exp(x)) = x - log Σ exp(x) along one axis (torch.nn.LogSoftmax).
///
/// Any shape; no parameters; the cache is a view of x. Where a whole row is -inf, y is -inf and the gradient 0 (torch: NaN).
template <class T>
class LogSoftmax : public SoftmaxLayer<LogSoftmax<T>, T> {
 public:
  static constexpr const char* kKind = "LogSoftmax";
  static constexpr bool kLog = true;

  explicit LogSoftmax(const LogSoftmaxOptions& options = {}) : SoftmaxLayer<LogSoftmax, T>(options.dim), options_(options) {}

  const LogSoftmaxOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  LogSoftmax<U> rebind() const {
    return LogSoftmax<U>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(kKind);
    visitor.option("dim", self.options_.dim);
  }

 private:
  LogSoftmaxOptions options_;
};

static_assert(Layer<LogSoftmax<float>>);

}  // namespace heed::inline HEED_ABI
