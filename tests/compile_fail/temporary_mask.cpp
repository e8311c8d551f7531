// SPDX-License-Identifier: MIT
// A mask is looked at until backward has run: the view of a temporary tensor would dangle behind the statement.
// expect: heed: a mask is looked at, not copied
#include <heed/layers/attention_mask.hpp>

heed::Tensor<bool, 2> make_mask();

void mask_of(heed::AttentionMask<float>& mask, const heed::Tensor<bool, 2>& mine) {
#ifdef RIGHT
  mask.attend = mine;
#else
  mask.attend = make_mask();
  static_cast<void>(mine);
#endif
}
