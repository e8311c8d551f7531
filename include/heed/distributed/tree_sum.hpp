// SPDX-License-Identifier: MIT
#pragma once

#include <utility>
#include <vector>

#include <heed/core/shape.hpp>

// A sum of numbered leaves in the order of one tree: neighbours in pairs, the pairs' sums in pairs, and so on; what finds no neighbour waits for the next
// level. ((0 + 1) + (2 + 3)) + 4. Whoever holds leaves in a row adds up the nodes that lie in it, and whoever gets these nodes goes on: the same additions of the
// same numbers, wherever the row was cut.

namespace heed::inline HEED_ABI {

/// The sum of leaves `first` to `first + leaves`, a power of two of them, of which `first` is a multiple.
template <class Value>
struct TreeNode {
  Index first, leaves;  ///< numbers of the leaves
  Value value;          ///< their sum
};

/// Adds the node that follows those in `nodes`, and joins those that form a larger one: `join(left, right)` is left += right.
template <class Value, class Join>
void add_node(std::vector<TreeNode<Value>>& nodes, TreeNode<Value> node, const Join& join) {
  while (!nodes.empty() && nodes.back().leaves == node.leaves && nodes.back().first % (2 * node.leaves) == 0) {
    TreeNode<Value> left = std::move(nodes.back());
    nodes.pop_back();
    join(left.value, node.value);
    left.leaves *= 2;
    node = std::move(left);
  }
  nodes.push_back(std::move(node));
}

/// The sum of all, of at least one, which takes them out of `nodes`.
template <class Value, class Join>
Value join_nodes(std::vector<TreeNode<Value>>& nodes, const Join& join) {
  Value sum = std::move(nodes.back().value);  // cppcheck-suppress containerOutOfBounds ; there is a rank
  for (nodes.pop_back(); !nodes.empty(); nodes.pop_back()) {
    join(nodes.back().value, sum);
    sum = std::move(nodes.back().value);
  }
  return sum;
}

/// The nodes that leaves `begin` to `end` come to, without their values.
inline std::vector<TreeNode<char>> nodes_of(Index begin, Index end) {
  std::vector<TreeNode<char>> nodes;
  for (Index leaf = begin; leaf < end; ++leaf) add_node(nodes, {leaf, 1, 0}, [](char&, char) {});
  return nodes;
}

}  // namespace heed::inline HEED_ABI
