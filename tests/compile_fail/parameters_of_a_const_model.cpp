// SPDX-License-Identifier: MIT
// An optimiser writes weights, so it cannot have those of a const model.
// expect: the model must not be const
#include <heed/layers/linear.hpp>
#include <heed/optim/adam.hpp>

#ifdef RIGHT
void train(heed::Linear<float>& model) {
#else
void train(const heed::Linear<float>& model) {
#endif
  heed::Adam<float> optimizer(heed::named_parameters(model));
}
