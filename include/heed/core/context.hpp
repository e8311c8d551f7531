// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace heed {

/// What the calling thread has set for the calls it makes, always through one of the scopes below: the number of threads,
/// the random seed and step, and the path of layers that is being run. Nothing here belongs to the process.
struct Context {
  int threads = 0;  ///< 0: as many as the back end offers
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  bool has_step = false;                         ///< a StepScope is active
  std::uint64_t init_seed = 0, init_draws = 0;   ///< see SeedScope
  const class LayerScope* layer = nullptr;       ///< innermost layer at work, linked to its parents
  class ShapeObserver* shapes = nullptr;         ///< told of the shapes that composed models ask of their children
  class AttentionObserver* attention = nullptr;  ///< told of attention weights, see layers/attention_observer.hpp
};

/// The context of this thread. Change it through scopes only.
inline Context& context() {
  thread_local Context current;
  return current;
}

/// Limits the calls made by this thread to `threads` threads until the end of the scope.
class ThreadScope {
 public:
  explicit ThreadScope(int threads) : saved_(context().threads) { context().threads = threads < 1 ? 1 : threads; }
  ~ThreadScope() { context().threads = saved_; }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int saved_;
};

/// Names the seed and the number of the training step, from which dropout draws (together with the layer's path and the
/// element's number), until the end of the scope. Without one, a layer counts the calls made with its cache.
class StepScope {
 public:
  StepScope(std::uint64_t seed, std::uint64_t step) : saved_(context()) {
    context().seed = seed;
    context().step = step;
    context().has_step = true;
  }
  ~StepScope() {
    context().seed = saved_.seed;
    context().step = saved_.step;
    context().has_step = saved_.has_step;
  }
  StepScope(const StepScope&) = delete;
  StepScope& operator=(const StepScope&) = delete;

 private:
  Context saved_;
};

/// Layers made by this thread inside the scope start from the streams (seed, 0), (seed, 1), ... in the order in which they are made,
/// so a model built twice under one seed has the same weights. Without a scope the streams are those of seed 0, counted by the thread.
class SeedScope {
 public:
  explicit SeedScope(std::uint64_t seed) : seed_(context().init_seed), draws_(context().init_draws) {
    context().init_seed = seed;
    context().init_draws = 0;
  }
  ~SeedScope() {
    context().init_seed = seed_;
    context().init_draws = draws_;
  }
  SeedScope(const SeedScope&) = delete;
  SeedScope& operator=(const SeedScope&) = delete;

 private:
  std::uint64_t seed_, draws_;
};

/// One step down in a composed model: composers open one around each call of a child. Costs a few instructions and no memory;
/// gives error messages their path and dropout its key. `name` must outlive the scope.
class LayerScope {
 public:
  explicit LayerScope(std::string_view name) : name_(name), parent_(context().layer) {
    std::uint64_t h = parent_ ? parent_->hash_ : 0xcbf29ce484222325u;  // FNV-1a over "parent.name"
    for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    hash_ = (h ^ '.') * 0x100000001b3u;
    context().layer = this;
  }
  ~LayerScope() { context().layer = parent_; }
  LayerScope(const LayerScope&) = delete;
  LayerScope& operator=(const LayerScope&) = delete;

  std::uint64_t hash() const { return hash_; }
  std::string path() const {
    std::string result = parent_ ? parent_->path() + "." : std::string();
    return result.append(name_);
  }

 private:
  std::string_view name_;
  const LayerScope* parent_;
  std::uint64_t hash_;
};

/// The dotted path of the layer at work ("2.attention.qkv"), empty outside of composed models.
inline std::string layer_path() { return context().layer ? context().layer->path() : std::string(); }

/// A hash of `layer_path()`.
inline std::uint64_t layer_path_hash() { return context().layer ? context().layer->hash() : 0; }

}  // namespace heed
