// SPDX-License-Identifier: MIT
// predict/demo|small|large[/batchN][/checked]: inference through a Predictor, which prepares the weights once and takes them as constant, or looks whether they
// changed; and forward/...: as the model does it alone.
#include <heed/compose/predictor.hpp>

#include "net_workload.hpp"

namespace {

using namespace bench;

struct ForwardCase {
  NetWorkload w;
  cifar10::Net<float> model = w.model<float>();
  Tensor<float, 4> x = w.input();

  void run() { benchmark::DoNotOptimize(model.forward(x).data()); }
  std::string check() { return check(model.forward(x)); }

  /// Some images' logits, in double.
  std::string check(const TensorView<const float, 2>& logits) const {
    const auto items = samples_of(w.images());
    const auto expected = w.twin(model).forward(converted<double>(gather(x, items)));
    return difference("the logits", gather(logits, items).data(), numbers<double, 2>(expected));
  }
};

struct PredictCase : ForwardCase {
  Predictor<cifar10::Net<float>> predictor{model, x.shape()};
  Tensor<float, 2> logits{predictor.output_shape()};

  PredictCase(const NetWorkload& workload, bool checked) : ForwardCase{workload} { predictor.freeze(!checked); }

  void run() { benchmark::DoNotOptimize(predictor.predict(x, logits.view())); }
  std::string check() { return predictor.predict(x, logits.view()) ? ForwardCase::check(logits) : "the predictor refuses the shapes"; }
};

struct ForwardWorkload : NetWorkload {
  void add(const std::string& name) const {
    add_case(name, work(false), [w = *this] { return ForwardCase{w}; });
  }
};
struct PredictWorkload : NetWorkload {
  bool checked = false;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    NetWorkload::walk(self, v);
    v.option("checked", self.checked);
  }
  void add(const std::string& name) const {
    add_case(name, work(false), [w = *this] { return PredictCase(w, w.checked); });
  }
};

[[maybe_unused]] const bool known =
    family<PredictWorkload>("predict", {"demo", "small", "large", "demo/batch1", "small/batch1", "large/batch1", "large/batch1/checked"}) &&
    family<ForwardWorkload>("forward", {"demo", "small", "large", "demo/batch1", "small/batch1", "large/batch1"});

}  // namespace
