// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <thread>

#include <heed/core/context.hpp>

using namespace heed;

TEST_CASE("ThreadScope nests and restores") {
  CHECK(context().threads == 0);
  {
    ThreadScope outer(3);
    CHECK(context().threads == 3);
    {
      ThreadScope inner(0);  // at least one thread does the work
      CHECK(context().threads == 1);
    }
    CHECK(context().threads == 3);
  }
  CHECK(context().threads == 0);
}

TEST_CASE("StepScope nests and restores") {
  CHECK_FALSE(context().has_step);
  {
    StepScope outer(7, 100);
    CHECK(context().has_step);
    {
      StepScope inner(8, 5);
      CHECK(context().seed == 8);
      CHECK(context().step == 5);
    }
    CHECK(context().seed == 7);
    CHECK(context().step == 100);
  }
  CHECK_FALSE(context().has_step);
}

TEST_CASE("StepScope leaves the other settings alone") {
  ThreadScope outside(2);
  StepScope step(1, 1);
  {
    ThreadScope inside(4);
    StepScope deeper(1, 2);
    CHECK(context().threads == 4);
  }
  CHECK(context().threads == 2);
}

TEST_CASE("LayerScope builds the path and its hash") {
  CHECK(layer_path() == "");
  CHECK(layer_path_hash() == 0);
  std::uint64_t first = 0;
  {
    LayerScope a("blocks");
    LayerScope b("0");
    CHECK(layer_path() == "blocks.0");
    first = layer_path_hash();
  }
  CHECK(layer_path() == "");
  {
    LayerScope a("blocks");
    {
      LayerScope b("1");
      CHECK(layer_path_hash() != first);
    }
    LayerScope b("0");
    CHECK(layer_path_hash() == first);  // of the path alone
  }
  LayerScope joined("blocks0");  // the dot counts
  CHECK(layer_path_hash() != first);
}

TEST_CASE("the context belongs to the thread") {
  ThreadScope threads(5);
  StepScope step(1, 2);
  LayerScope layer("outer");
  bool fresh = false;
  std::thread([&] { fresh = context().threads == 0 && !context().has_step && layer_path().empty(); }).join();
  CHECK(fresh);
  CHECK(layer_path() == "outer");
}
