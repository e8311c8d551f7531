// SPDX-License-Identifier: MIT
// A mask that a function returns as const is a temporary as well.
// expect: heed: a mask is looked at, not copied
#include <heed/layers/attention_mask.hpp>

const heed::Tensor<bool, 2> made();

bool first() {
#ifdef RIGHT
  const heed::Tensor<bool, 2> mask = made();
  const heed::MaskView<bool> view(mask);
#else
  const heed::MaskView<bool> view(made());
#endif
  return view.data()[0];
}
