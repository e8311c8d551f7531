// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <string>

#include <heed/distributed/tree_sum.hpp>

using namespace heed;

namespace {
/// Written out: which additions were made.
void join(std::string& left, const std::string& right) { left = "(" + left + " + " + right + ")"; }
std::string leaf(Index number) { return std::to_string(number); }

/// Leaves 0 to `leaves`, the way one holder adds them.
std::string whole(Index leaves) {
  std::vector<TreeNode<std::string>> nodes;
  for (Index i = 0; i < leaves; ++i) add_node(nodes, {i, 1, leaf(i)}, join);
  return join_nodes(nodes, join);
}
}  // namespace

TEST_CASE("leaves are added in pairs of pairs") {
  CHECK(whole(1) == "0");
  CHECK(whole(2) == "(0 + 1)");
  CHECK(whole(3) == "((0 + 1) + 2)");
  CHECK(whole(4) == "((0 + 1) + (2 + 3))");
  CHECK(whole(7) == "(((0 + 1) + (2 + 3)) + ((4 + 5) + 6))");
}

TEST_CASE("holders of any stretches make the additions that one holder makes") {
  for (Index leaves = 1; leaves <= 20; ++leaves)
    for (Index first = 0; first <= leaves; ++first)
      for (Index second = first; second <= leaves; ++second) {
        std::vector<TreeNode<std::string>> all;
        for (const auto& [begin, end] : {std::pair{Index{0}, first}, std::pair{first, second}, std::pair{second, leaves}}) {
          std::vector<TreeNode<std::string>> own;
          for (Index i = begin; i < end; ++i) add_node(own, {i, 1, leaf(i)}, join);
          const auto expected = nodes_of(begin, end);
          REQUIRE(own.size() == expected.size());
          for (std::size_t k = 0; k < own.size(); ++k) {
            CHECK((own[k].first == expected[k].first && own[k].leaves == expected[k].leaves));
            add_node(all, own[k], join);
          }
        }
        CHECK(join_nodes(all, join) == whole(leaves));
        CHECK(all.empty());
      }
}
