// SPDX-License-Identifier: MIT
// A predictor looks at the weights of its model.
// expect: heed: the model must outlive the predictor
#include <heed/compose/predictor.hpp>
#include <heed/layers/linear.hpp>

void predict() {
  const heed::LinearOptions options{.in_features = 4, .out_features = 2};
#ifdef RIGHT
  const heed::Linear<float> model(options);
  heed::Predictor predictor(model, heed::Shape{8, 1, 4});
#else
  heed::Predictor predictor(heed::Linear<float>(options), heed::Shape{8, 1, 4});
#endif
}
