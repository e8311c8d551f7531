// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include <heed/core/tensor.hpp>
#include <heed/data/epoch_range.hpp>
#include <heed/data/shuffle.hpp>

namespace heed::inline HEED_ABI {

struct TensorBatchOptions {
  Index batch_size = 256;  ///< examples a batch; the last one may have fewer
  bool shuffle = false;    ///< a new order every epoch; otherwise that of the tensors
  bool drop_last = false;  ///< leave out a last batch that is not full
  std::uint64_t seed = 0;  ///< of the order
};

namespace detail {

/// The numbers of some of `examples` examples, each of which has as many: rows of a tensor, or labels of a vector.
template <class T, int Rank>
void take_examples(const Tensor<T, Rank>& from, Index examples, const std::vector<Index>& which, Tensor<T, Rank>& to) {
  Shape shape = from.shape();
  shape[0] = static_cast<Index>(which.size());
  to.resize(shape);
  const Index width = from.size() / examples;
  T* next = to.data();
  for (const Index example : which) next = std::copy_n(from.data() + example * width, width, next);
}
template <class Label>
void take_examples(const std::vector<Label>& from, Index examples, const std::vector<Index>& which, std::vector<Label>& to) {
  const auto width = static_cast<std::ptrdiff_t>(from.size()) / examples;
  to.clear();
  for (const Index example : which) to.insert(to.end(), from.begin() + example * width, from.begin() + (example + 1) * width);
}
/// How many there are: of a tensor its first axis.
template <class T, int Rank>
Index examples_in(const Tensor<T, Rank>& tensor) {
  return tensor.size(0);
}
template <class Label>
Index examples_in(const std::vector<Label>& labels) {
  return static_cast<Index>(labels.size());
}

}  // namespace detail

/// The batches of examples that lie in tensors, epoch by epoch, for a Trainer or a loop of your own: tables, signals, token sequences, anything but pictures
/// (which Batches augments).
///
/// ```cpp
/// TensorBatches batches(tokens, labels, {.batch_size = 32, .shuffle = true});
/// for (const auto& batch : batches.epoch(3)) learn(batch.inputs, batch.targets);
/// ```
///
/// `inputs` has an example on each place of its first axis. `Targets` is a tensor of the same first axis, or a vector of labels, the same number for each example
/// (token sequences have one for each token). What a batch holds is a pure function of the tensors, the options, the epoch and its number, so that a run is resumed
/// by `epoch(e, first_batch)`. Looks at the tensors, which must outlive it. One thread at a time may use it.
template <class X, int Rank, class Targets>
class TensorBatches {
 public:
  /// Some examples.
  struct Batch {
    Tensor<X, Rank> inputs;      ///< those of the examples, one behind the other
    Targets targets;             ///< likewise
    std::vector<Index> indices;  ///< their numbers
    Index number = 0;            ///< of the batch within its epoch

    /// The number of examples.
    Index size() const { return static_cast<Index>(indices.size()); }
  };

  /// Throws ShapeError if the sizes do not belong together, std::invalid_argument if there would be no batch at all.
  TensorBatches(const Tensor<X, Rank>& inputs, const Targets& targets, const TensorBatchOptions& options = {})
      : inputs_(inputs), targets_(targets), options_(options) {
    const Index examples = inputs.size() == 0 ? 0 : inputs.size(0), count = detail::examples_in(targets);
    require(examples > 0, "TensorBatches: there are no inputs");
    if constexpr (requires { targets.shape(); })
      require<ShapeError>(count == examples, "TensorBatches: inputs ", inputs.shape(), " have ", examples, " examples, targets ",
          targets.shape(), " have ", count);
    else
      require<ShapeError>(count > 0 && count % examples == 0, "TensorBatches: ", count, " labels for ", examples,
          " examples; expected the same number for each");
    require(options.batch_size > 0, "TensorBatches: batch_size is ", options.batch_size, ", expected at least 1");
    options_.batch_size = options.drop_last ? options.batch_size : std::min(options.batch_size, examples);
    count_ = options_.drop_last ? examples / options_.batch_size : (examples + options_.batch_size - 1) / options_.batch_size;
    require(count_ > 0, "TensorBatches: ", examples, " examples do not fill one batch of ", options_.batch_size, ", and drop_last is set");
    order_.resize(static_cast<std::size_t>(examples));
    std::iota(order_.begin(), order_.end(), Index(0));  // stays, unless epochs are shuffled
  }
  /// Tensors that are gone before they are used.
  /// @{
  HEED_REFUSED("the tensors are looked at, not copied, and a temporary is gone before it is used: give it a name")
  TensorBatches(Tensor<X, Rank>&&, const Targets&, const TensorBatchOptions& = {});
  HEED_REFUSED("the targets are looked at, not copied, and a temporary is gone before it is used: give them a name")
  TensorBatches(const Tensor<X, Rank>&, Targets&&, const TensorBatchOptions& = {});
  /// @}

  /// Batches in an epoch.
  Index size() const { return count_; }
  const TensorBatchOptions& options() const { return options_; }

  /// The batches of epoch number `epoch`, from number `first_batch` on. A new epoch ends the one before. Throws std::invalid_argument if there is no such batch and
  /// it is not the end of the epoch.
  EpochRange<TensorBatches> epoch(Index epoch, Index first_batch = 0) {
    require(epoch >= 0 && first_batch >= 0 && first_batch <= count_, "TensorBatches: batch ", first_batch, " of epoch ", epoch,
        " asked for, an epoch has ", count_);
    if (options_.shuffle) shuffle_order(order_, options_.seed, epoch);
    next_ = first_batch, ++passes_;
    return EpochRange<TensorBatches>(*this);
  }
  /// Epochs that were begun, whole ones or not.
  Index passes() const { return passes_; }
  /// The next batch, or null at the end of the epoch. Valid until the next call.
  const Batch* next() {
    if (next_ == count_) return nullptr;
    const auto begin = order_.begin() + next_ * options_.batch_size;
    batch_.indices.assign(begin, begin + std::min<Index>(options_.batch_size, order_.end() - begin));
    batch_.number = next_++;
    detail::take_examples(inputs_, inputs_.size(0), batch_.indices, batch_.inputs);
    detail::take_examples(targets_, inputs_.size(0), batch_.indices, batch_.targets);
    return &batch_;
  }

 private:
  const Tensor<X, Rank>& inputs_;
  const Targets& targets_;
  TensorBatchOptions options_;
  Index count_ = 0, next_ = 0, passes_ = 0;
  std::vector<Index> order_;
  Batch batch_;
};

}  // namespace heed::inline HEED_ABI
