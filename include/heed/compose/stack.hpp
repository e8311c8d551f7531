// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <heed/compose/decode.hpp>
#include <heed/core/anomaly.hpp>
#include <heed/core/layer.hpp>

namespace heed::inline HEED_ABI {

namespace detail {
/// A layer whose calls may have a mask behind x.
template <class Layer, int Rank, class Mask>
concept TakesMask = requires(
    const Layer& layer, const TensorView<const typename Layer::scalar, Rank>& x, const Mask& mask, typename Layer::Cache& cache) {
  layer.forward(x, mask);
  layer.forward(x, mask, cache);
};
}  // namespace detail

/// A run-time number of blocks of one type, one after another, each with its own parameters ("0", "1", ...). The blocks keep the
/// shape, as encoder layers do. An empty stack is the identity. A mask in the call goes to every block, as torch.nn.TransformerEncoder's.
template <class Block>
class Stack : public LayerBase<Stack<Block>> {
 public:
  using scalar = typename Block::scalar;
  static constexpr int input_rank = detail::kInputRankOf<Block>;

  struct Cache {
    std::vector<typename Block::Cache> blocks;         ///< each block's own
    std::vector<Tensor<scalar, 1>> between;            ///< outputs of all blocks but the last
    bool filled = false;                               ///< forward has come to its end, and no backward has followed
    [[no_unique_address]] MoveOnly looks_into_itself;  ///< views of tensors beside them
  };

  /// Takes the blocks, first to last.
  explicit Stack(std::vector<Block> blocks) : blocks_(std::move(blocks)) {}

  Shape output_shape(const Shape& in) const {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const std::string name = std::to_string(i);
      const Shape out = child_shape(name, blocks_[i], in);
      LayerScope scope(name);
      require<ShapeError>(out == in, "Stack: the block turns ", in, " into ", out, "; stacked blocks must keep the shape");
    }
    return in;
  }

  using LayerBase<Stack<Block>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<scalar, Rank> forward(const TensorView<const scalar, Rank>& x) const {
    return infer(x, [&](std::size_t i, const auto& in) { return detail::infer(blocks_[i], in); });
  }
  /// Inference of blocks that take a mask (TransformerEncoderLayer).
  template <int Rank, class Mask>
    requires(detail::TakesMask<Block, Rank, Mask>)
  Tensor<scalar, Rank> forward(const TensorView<const scalar, Rank>& x, const Mask& mask)
  const {
    return infer(x, [&](std::size_t i, const auto& in) { return blocks_[i].forward(in, mask); });
  }

  struct DecodeState {
    std::vector<detail::DecodeStateOf<Block>> blocks;  ///< each block's own

    /// Tokens seen so far, of each sequence.
    Index length() const {
      Index most = 0;
      for (const auto& block : blocks) most = std::max(most, detail::decoded_length(block));
      return most;
    }
    /// Forgets all tokens but the first `length`.
    void truncate(Index length) {
      for (auto& block : blocks) detail::truncate_decoded(block, length);
    }
  };
  DecodeState decode_state(Index sequences, Index capacity) const {
    DecodeState state;
    for (const Block& block : blocks_) state.blocks.push_back(detail::decode_state(block, sequences, capacity));
    return state;
  }
  /// Inference of the tokens that follow those in `state` (see `Decoder`).
  template <int Rank>
  Tensor<scalar, Rank> decode(const TensorView<const scalar, Rank>& x, DecodeState& state) const {
    require(state.blocks.size() == blocks_.size(), "Stack: the state was made for a stack of ", state.blocks.size(),
        " blocks, this one has ", blocks_.size());
    detail::DecodeScope scope(state);
    auto y = infer(x, [&](std::size_t i, const auto& in) { return detail::infer(blocks_[i], in, state.blocks[i]); });
    scope.done();
    return y;
  }

  template <int Rank>
  Tensor<scalar, Rank> forward(const TensorView<const scalar, Rank>& x, Cache& cache) const {
    return train(x, cache, [](const Block& block, const auto& in, auto& own) { return block.forward(in, own); });
  }
  /// Training of blocks that take a mask. What the mask looks at must live until backward has run.
  template <int Rank, class Mask>
    requires(detail::TakesMask<Block, Rank, Mask>)
  Tensor<scalar, Rank> forward(const TensorView<const scalar, Rank>& x, const Mask& mask, Cache& cache)
  const {
    return train(x, cache, [&](const Block& block, const auto& in, auto& own) { return block.forward(in, mask, own); });
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<scalar, Rank> forward(Tensor<scalar, Rank>&& x, Cache& cache) const;
  template <int Rank, class Mask>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<scalar, Rank> forward(Tensor<scalar, Rank>&& x, const Mask& mask, Cache& cache) const;

  /// Frees the tensors between the blocks on its way.
  template <int Rank>
  Tensor<scalar, Rank> backward(const TensorView<const scalar, Rank>& dy, Cache& cache) {
    require_filled("Stack", std::exchange(cache.filled, false));
    require(cache.blocks.size() == blocks_.size(), "Stack: the cache was filled by a stack of ", cache.blocks.size(),
        " blocks, this one has ", blocks_.size());
    if (blocks_.empty()) return Tensor<scalar, Rank>(dy);
    Tensor<scalar, Rank> d;
    for (std::size_t i = blocks_.size(); i-- > 0;) {
      const std::string name = std::to_string(i);
      LayerScope scope(name);
      d = i + 1 == blocks_.size() ? blocks_[i].backward(dy, cache.blocks[i]) : blocks_[i].backward(d, cache.blocks[i]);
      if (i > 0) cache.between[i - 1].release();  // nobody reads it again
      detail::watch_backward(blocks_[i], d);
    }
    return d;
  }

  /// The number of blocks.
  std::size_t size() const { return blocks_.size(); }
  /// Block i, 0 ... size() - 1.
  Block& operator[](std::size_t i) { return blocks_[i]; }
  const Block& operator[](std::size_t i) const { return blocks_[i]; }

  template <class U>
  auto rebind() const {
    using Rebound = decltype(blocks_.front().template rebind<U>());
    std::vector<Rebound> blocks;
    for (const Block& block : blocks_) blocks.push_back(block.template rebind<U>());
    return Stack<Rebound>(std::move(blocks));
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Stack");
    for (std::size_t i = 0; i < self.blocks_.size(); ++i) visitor.child(std::to_string(i), self.blocks_[i]);
  }

 private:
  template <int Rank, class Pass>
  Tensor<scalar, Rank> train(const TensorView<const scalar, Rank>& x, Cache& cache, const Pass& pass) const {
    cache.filled = false;
    output_shape(x.shape());
    cache.blocks.resize(blocks_.size());
    cache.between.resize(blocks_.empty() ? 0 : blocks_.size() - 1);
    Tensor<scalar, Rank> y;
    if (blocks_.empty()) y = Tensor<scalar, Rank>(x);
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const std::string name = std::to_string(i);
      LayerScope scope(name);
      if (i + 1 < blocks_.size()) cache.between[i].release();  // of an earlier pass: its memory is free for this one
      if (i == 0) {
        y = pass(blocks_[i], x, cache.blocks[i]);
      } else {
        Tensor<scalar, Rank> next = pass(blocks_[i], y, cache.blocks[i]);
        cache.between[i - 1] = std::move(y).flattened();  // the memory stays where it is: block i's cache looks at it
        y = std::move(next);
      }
      detail::watch_forward(blocks_[i], y);
    }
    cache.filled = true;
    return y;
  }
  /// pass(i, x of block i) gives its y.
  template <int Rank, class Pass>
  Tensor<scalar, Rank> infer(const TensorView<const scalar, Rank>& x, const Pass& pass) const {
    output_shape(x.shape());
    if (blocks_.empty()) return Tensor<scalar, Rank>(x);
    Tensor<scalar, Rank> y;
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const std::string name = std::to_string(i);
      LayerScope scope(name);
      y = i == 0 ? pass(i, x) : pass(i, y);
      detail::watch_forward(blocks_[i], y);
    }
    return y;
  }

  std::vector<Block> blocks_;
};

}  // namespace heed::inline HEED_ABI
