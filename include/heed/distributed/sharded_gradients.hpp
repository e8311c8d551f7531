// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <heed/core/fingerprint.hpp>
#include <heed/core/layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/distributed/communicator.hpp>
#include <heed/distributed/tree_sum.hpp>
#include <heed/kernels/elementwise.hpp>
#include <heed/optim/pieces.hpp>
#include <heed/optim/repeated_entries.hpp>

namespace heed::inline HEED_ABI {

/// What one shard of a batch gave, or all of them together.
struct ShardReport {
  double loss = 0;    ///< what the shard adds to the loss of the batch
  Index correct = 0;  ///< images that were classified rightly
  bool stop = false;  ///< a rank asked for an end
};

/// The gradients of a batch from those of its shards: fixed parts of the batch, each of which runs forward and backward alone. Batch statistics are those of a
/// shard; gradients are added up, and what the shards did to the buffers (running statistics) is averaged, weighted by images, in the order of one tree
/// (distributed/tree_sum.hpp). So the result depends on the number of shards, and not on which rank computes which.
///
/// The ranks exchange gradients as a reduce-scatter and a gather: each rank adds up one stretch of the parameters for all. A rank sends and receives
/// 2 (ranks - 1) / ranks times the bytes of gradients and buffers in a step.
template <class T>
class ShardedGradients {
 public:
  /// The model is walked by the caller and must stay where it is. Throws std::invalid_argument unless 1 <= ranks <= shards.
  ShardedGradients(std::vector<NamedParameter<T>> parameters, std::vector<NamedBuffer<T>> buffers, Index shards, Communicator& communicator)
      : parameters_(std::move(parameters)),
        buffers_(std::move(buffers)),
        repeated_parameters_(repeated_entries(parameters_, &NamedParameter<T>::parameter)),
        repeated_buffers_(repeated_entries(buffers_, &NamedBuffer<T>::buffer)),
        shards_(shards),
        communicator_(communicator),
        send_(static_cast<std::size_t>(communicator.size())),
        receive_(static_cast<std::size_t>(communicator.size())) {
    require(shards >= communicator.size(), "sharded training: ", shards, " shards of a batch cannot be shared by ", communicator.size(),
        " ranks; a number of shards that all numbers of ranks divide, such as 4 for 1, 2 and 4, gives the same result on each");
  }
  ShardedGradients(const ShardedGradients&) = delete;
  ShardedGradients& operator=(const ShardedGradients&) = delete;

  /// The number of shards of a batch.
  Index shards() const { return shards_; }
  /// Between the ranks that share the shards.
  const Communicator& communicator() const { return communicator_; }

  /// Calls `pass(shard, begin, end)` for this rank's shards of a batch of `images`, of which a batch of fewer images than ranks leaves some without any: it runs images [begin, end) forward and backward, gradients of what
  /// they add to the loss of the batch (see loss_share) added to zeros, and returns a ShardReport. Then all ranks have the same gradients, buffers and report. If
  /// the loss is not finite, there are no gradients.
  template <class Pass>
  ShardReport operator()(Index images, bool stop, const Pass& pass) {
    const Index ranks = communicator_.size(), shards = std::min(shards_, images);
    require(images > 0, "sharded training: a batch of ", images, " images, expected at least one");
    const auto first_of = [&](Index rank) { return rank * shards / ranks; };
    const auto begin_of = [&](Index shard) { return shard * images / shards; };
    const auto share_of = [&](Index shard) {
      return static_cast<double>(begin_of(shard + 1) - begin_of(shard)) / static_cast<double>(images);
    };

    const Index own = communicator_.rank(), first = first_of(own), last = first_of(own + 1);
    keep_buffers();
    auto words = Tensor<double, 1>({2 + 2 * ((shards + ranks - 1) / ranks)});
    words[0] = stop ? 1 : 0;
    nodes_.clear();
    laid_out_ = with_gradients();
    for (Index shard = first; shard < last; ++shard) {
      const ShardReport one = pass(shard, begin_of(shard), begin_of(shard + 1));
      words[2 + 2 * (shard - first)] = one.loss;
      words[3 + 2 * (shard - first)] = static_cast<double>(one.correct);
      lay_out();
      add_node(nodes_, {shard, 1, take_leaf(share_of(shard))}, join);
    }

    words[1] = static_cast<double>(Fingerprint().bytes(laid_out_.data(), static_cast<std::size_t>(laid_out_.size())).value() >> 11);
    ShardReport report;
    bool agree = true;
    const auto all = gather(communicator_, words.span());
    for (Index rank = 0; rank < ranks; ++rank) {
      report.stop = report.stop || all(rank, 0) != 0;
      agree = agree && all(rank, 1) == words[1];
      for (Index shard = first_of(rank); shard < first_of(rank + 1); ++shard) {
        report.loss += all(rank, 2 + 2 * (shard - first_of(rank)));
        report.correct += static_cast<Index>(all(rank, 3 + 2 * (shard - first_of(rank))));
      }
    }
    if (!std::isfinite(report.loss)) return report;
    if (!agree) agree_on_gradients();
    give_back(ranks == 1 ? join_nodes(nodes_, join) : sum_over_ranks(first_of));
    return report;
  }

 private:
  using Node = TreeNode<Tensor<T, 1>>;

  static void join(Tensor<T, 1>& left, const Tensor<T, 1>& right) {
    kernels::elementwise(kernels::Add{}, left.size(), left.data(), static_cast<const T*>(left.data()), right.data());
  }

  // Gradients and buffers lie end to end on one line (optim/pieces.hpp).
  std::size_t arrays() const { return parameters_.size() + buffers_.size(); }
  Index size_of(std::size_t k) const {
    if (k < parameters_.size()) {
      const Parameter<T>& p = *parameters_[k].parameter;
      return repeated_parameters_[static_cast<Index>(k)] || p.frozen() || !p.has_gradient() ? 0 : p.size();
    }
    k -= parameters_.size();
    return repeated_buffers_[static_cast<Index>(k)] ? 0 : buffers_[k].buffer->size();
  }
  /// `on_gradient(line, gradient, count)` and `on_buffer(line, buffer, kept, count)` for pieces of the line.
  template <class OnGradient, class OnBuffer>
  void over_line(Tensor<T, 1>& line, const OnGradient& on_gradient, const OnBuffer& on_buffer) {
    parallel_for(line.size(), kPieceElements, [&](Index begin, Index end) {
      for_each_piece(
          arrays(), [&](std::size_t k) { return size_of(k); }, begin, end,
          [&](std::size_t k, Index from, Index to, Index place) {
            const std::size_t b = k - parameters_.size();
            if (k < parameters_.size())
              on_gradient(line.data() + place, parameters_[k].parameter->gradient() + from, to - from);
            else
              on_buffer(line.data() + place, buffers_[b].buffer->data() + from, kept_[b].data() + from, to - from);
          });
    });
  }

  void keep_buffers() {
    kept_.resize(buffers_.size());
    for (std::size_t k = 0; k < buffers_.size(); ++k) kept_[k] = *buffers_[k].buffer;
  }
  /// Which parameters have a gradient.
  Tensor<bool, 1> with_gradients() const {
    Tensor<bool, 1> have({static_cast<Index>(parameters_.size())});
    for (Index k = 0; k < have.size(); ++k) have[k] = parameters_[static_cast<std::size_t>(k)].parameter->has_gradient();
    return have;
  }
  /// The first gradient of a parameter may come from a later shard: a layer may use a part of itself in some passes alone. Then the lines of the shards before get
  /// zeros there.
  void lay_out() {
    Tensor<bool, 1> have = with_gradients();
    if (std::equal(have.data(), have.data() + have.size(), laid_out_.data())) return;
    for (Node& node : nodes_) {
      Tensor<T, 1> line = new_line();
      const T* from = node.value.data();
      T* to = line.data();
      for (std::size_t k = 0; k < arrays(); ++k) {
        const Index size = detail::aligned_size(size_of(k));
        if (k >= parameters_.size() || laid_out_[static_cast<Index>(k)]) std::copy_n(from, size, to), from += size;
        to += size;
      }
      node.value = std::move(line);
    }
    laid_out_ = std::move(have);
  }
  /// The ranks do not know the same gradients (one that has had no shard yet knows none): those that there are on any.
  void agree_on_gradients() {
    Tensor<double, 1> own({static_cast<Index>(parameters_.size())});
    for (Index k = 0; k < own.size(); ++k) own[k] = parameters_[static_cast<std::size_t>(k)].parameter->has_gradient();
    const auto all = gather(communicator_, own.span());
    for (Index rank = 0; rank < all.size(0); ++rank)
      for (Index k = 0; k < own.size(); ++k)
        if (all(rank, k) != 0) parameters_[static_cast<std::size_t>(k)].parameter->gradient();
    lay_out();
  }
  /// Gradients and buffers end to end.
  Tensor<T, 1> new_line() const {
    return Tensor<T, 1>({line_length(arrays(), [&](std::size_t k) { return size_of(k); })});
  }
  /// What a shard left in gradients and buffers, which are as they were before it.
  Tensor<T, 1> take_leaf(double share) {
    Tensor<T, 1> leaf = new_line();
    over_line(
        leaf,
        [](T* line, T* gradient, Index count) {
          std::copy_n(gradient, count, line);
          std::fill_n(gradient, count, T(0));
        },
        [&](T* line, T* buffer, const T* kept, Index count) {
          for (Index i = 0; i < count; ++i)
            line[i] = static_cast<T>(share) * (buffer[i] - kept[i]);  // 0 where nothing changes: exact for any shares
          std::copy_n(kept, count, buffer);
        });
    return leaf;
  }
  void give_back(Tensor<T, 1> line) {
    over_line(
        line, [](const T* sum, T* gradient, Index count) { std::copy_n(sum, count, gradient); },
        [](const T* change, T* buffer, const T* kept, Index count) {
          for (Index i = 0; i < count; ++i) buffer[i] = kept[i] + change[i];
        });
  }

  /// The sum of all ranks' nodes, of which this one may have none. Each rank adds up its stretch of the line for all.
  template <class FirstOf>
  Tensor<T, 1> sum_over_ranks(const FirstOf& first_of) {
    const Index ranks = communicator_.size(), own = communicator_.rank(), bytes = static_cast<Index>(sizeof(T));
    Tensor<T, 1> line = nodes_.empty() ? new_line() : std::move(nodes_.front().value);
    const Index length = line.size(), width = detail::aligned_size((length + ranks - 1) / ranks);
    const auto stretch = [&](Index rank) { return std::min(length, width * rank); };
    const auto width_of = [&](Index rank) { return stretch(rank + 1) - stretch(rank); };
    const Index count = width_of(own);
    std::vector<std::vector<TreeNode<char>>> theirs;
    std::size_t rounds = 0;
    for (Index rank = 0; rank < ranks; ++rank) {
      theirs.push_back(nodes_of(first_of(rank), first_of(rank + 1)));
      rounds = std::max(rounds, theirs.back().size());
    }

    std::vector<Tensor<T, 1>> received;  // a round each: one node of every rank that has so many
    for (std::size_t round = 0; round < rounds; ++round) {
      received.push_back(Tensor<T, 1>::uninitialized({ranks * count}));
      const bool has = round < nodes_.size();
      for (Index rank = 0; rank < ranks; ++rank) {
        const auto r = static_cast<std::size_t>(rank);
        send_[r] = {stretch(rank) * bytes, has ? width_of(rank) * bytes : 0};
        receive_[r] = {rank * count * bytes, round < theirs[r].size() ? count * bytes : 0};
      }
      const T* from = round == 0 ? line.data() : has ? nodes_[round].value.data() : nullptr;
      communicator_.exchange(from, send_, received.back().data(), receive_);
    }

    std::vector<Node> nodes;
    for (Index rank = 0; rank < ranks; ++rank)
      for (std::size_t k = 0; k < theirs[static_cast<std::size_t>(rank)].size(); ++k) {
        const auto& node = theirs[static_cast<std::size_t>(rank)][k];
        add_node(nodes, {node.first, node.leaves, Tensor<T, 1>(received[k].view().slice(rank * count, (rank + 1) * count))}, join);
      }
    const Tensor<T, 1> sum = join_nodes(nodes, join);
    for (Index rank = 0; rank < ranks; ++rank) {
      const auto r = static_cast<std::size_t>(rank);
      send_[r] = {0, count * bytes};
      receive_[r] = {stretch(rank) * bytes, width_of(rank) * bytes};
    }
    communicator_.exchange(sum.data(), send_, line.data(), receive_);
    return line;
  }

  std::vector<NamedParameter<T>> parameters_;
  std::vector<NamedBuffer<T>> buffers_;
  Tensor<bool, 1> repeated_parameters_, repeated_buffers_;
  Index shards_;
  Communicator& communicator_;
  std::vector<Communicator::Part> send_, receive_;
  std::vector<Tensor<T, 1>> kept_;  ///< the buffers at the step's start
  std::vector<Node> nodes_;         ///< of this rank's shards
  Tensor<bool, 1> laid_out_;        ///< the parameters that the nodes have a place for
};

}  // namespace heed::inline HEED_ABI
