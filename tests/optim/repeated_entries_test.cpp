// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <heed/core/layer.hpp>
#include <heed/optim/repeated_entries.hpp>

#include "catch.hpp"

using namespace heed;

TEST_CASE("of entries that point to one object the first counts, wherever the others stand") {
  Parameter<float> p[3];
  const auto repeated = [&](const std::vector<int>& which) {
    std::vector<NamedParameter<float>> list;
    for (int k : which) list.push_back({std::to_string(list.size()), &p[k]});
    const Tensor<bool, 1> found = repeated_entries(list, &NamedParameter<float>::parameter);
    return std::vector<bool>(found.data(), found.data() + found.size());
  };
  CHECK(repeated({}).empty());
  CHECK(repeated({2}) == std::vector<bool>{false});
  CHECK(repeated({2, 0, 1}) == std::vector<bool>{false, false, false});
  CHECK(repeated({2, 0, 2, 1, 0, 2}) == std::vector<bool>{false, false, true, false, true, true});
}

TEST_CASE("buffers are told apart, too, and later calls ask the system for nothing") {
  Tensor<double, 1> a({2}), b({2});
  const std::vector<NamedBuffer<double>> list = {{"a", &a}, {"b", &b}, {"again", &a}};
  const Tensor<bool, 1> first = repeated_entries(list, &NamedBuffer<double>::buffer);
  CHECK_FALSE(first[1]);
  CHECK(first[2]);
  repeated_entries(list, &NamedBuffer<double>::buffer);
  const auto from_system = BufferPool::instance().from_system();
  repeated_entries(list, &NamedBuffer<double>::buffer);
  CHECK(BufferPool::instance().from_system() == from_system);
}
