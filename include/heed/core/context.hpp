// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include <heed/core/fingerprint.hpp>

namespace heed::inline HEED_ABI {

/// What runs the pieces of a parallel loop, see core/parallel.hpp.
enum class Backend : unsigned char { automatic, openmp, std_thread, serial };

/// What the calling thread has set for the calls it makes, always through one of the scopes below: the number of threads and
/// who runs them, the random seed and step, and the path of layers that is being run. Nothing here belongs to the process.
struct Context {
  int threads = 0;                               ///< 0: as many as the back end offers
  Backend backend = Backend::automatic;          ///< of parallel loops, see BackendScope
  bool anomaly = false;                          ///< composed models look for NaN and infinity, see AnomalyScope
  bool evaluation = false;                       ///< training passes compute what inference does, see EvaluationScope
  std::uint64_t seed = 0;                        ///< of the innermost StepScope, 0 without
  std::uint64_t step = 0;                        ///< of the innermost StepScope, 0 without
  bool has_step = false;                         ///< a StepScope is active
  std::uint64_t step_scope = 0;                  ///< number of the innermost StepScope among those of the process
  std::uint64_t init_seed = 0, init_draws = 0;   ///< see SeedScope
  std::uint64_t dropout_caches = 0;              ///< how many caches took a number, see DropoutKey
  const class LayerScope* layer = nullptr;       ///< innermost layer at work, linked to its parents
  class ShapeObserver* shapes = nullptr;         ///< told of the shapes that composed models ask of their children
  class AttentionObserver* attention = nullptr;  ///< told of attention weights, see layers/attention_observer.hpp
  class BufferPool* pool = nullptr;              ///< where tensors take their memory from instead of the process's pool, see PoolScope
  class PreparedWeights* prepared = nullptr;     ///< where kernels keep weights in the layout that they want, see PreparedScope
};

/// The context of this thread. Change it through scopes only.
inline Context& context() {
  thread_local Context current;
  return current;
}

/// Limits the calls made by this thread to `threads` threads until the end of the scope.
class ThreadScope {
 public:
  /// Fewer than 1 are taken as 1.
  explicit ThreadScope(int threads) : saved_(context().threads) { context().threads = threads < 1 ? 1 : threads; }
  ~ThreadScope() { context().threads = saved_; }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int saved_;
};

/// Names the seed and the number of the training step, from which dropout draws (together with the layer's path and the
/// element's number), until the end of the scope. Several passes of one cache inside it, as of a gradient that is accumulated over parts of a
/// batch, draw differently, and the same again in another scope of this seed and step. Without a scope, see SeedScope.
class StepScope {
 public:
  /// `seed` is the run's, `step` the number of the training step; the same pair draws the same.
  StepScope(std::uint64_t seed, std::uint64_t step) : saved_(context()) {
    context().seed = seed;
    context().step = step;
    context().has_step = true;
    context().step_scope = next_number();
  }
  ~StepScope() {
    context().seed = saved_.seed;
    context().step = saved_.step;
    context().has_step = saved_.has_step;
    context().step_scope = saved_.step_scope;
  }
  StepScope(const StepScope&) = delete;
  StepScope& operator=(const StepScope&) = delete;

 private:
  /// 1, 2, ... over all threads: a cache that is used under two scopes can tell them apart, and no result depends on it otherwise.
  static std::uint64_t next_number() {
    static std::atomic<std::uint64_t> scopes{0};
    return ++scopes;
  }

  Context saved_;
};

/// While it lives, this thread's training passes compute what inference computes: `forward(x, cache)` normalises with running statistics and drops nothing, and
/// the backward pass that belongs to it leaves the statistics alone. So gradients are those of the finished model (torch.nn: after `model.eval()`).
class EvaluationScope {
 public:
  EvaluationScope() : outer_(context().evaluation) { context().evaluation = true; }
  ~EvaluationScope() { context().evaluation = outer_; }
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

 private:
  bool outer_;
};

/// Layers made by this thread inside the scope start from the streams (seed, 0), (seed, 1), ... in the order in which they are made,
/// so a model built twice under one seed has the same weights. Without a scope the streams are those of seed 0, counted by the thread.
/// Caches of dropout that are first used outside of a StepScope take numbers in the same way, from a count of their own.
class SeedScope {
 public:
  /// Opens the scope; inside another one its streams go on afterwards where they were.
  explicit SeedScope(std::uint64_t seed) : seed_(context().init_seed), draws_(context().init_draws), caches_(context().dropout_caches) {
    context().init_seed = seed;
    context().init_draws = 0;
    context().dropout_caches = 0;
  }
  ~SeedScope() {
    context().init_seed = seed_;
    context().init_draws = draws_;
    context().dropout_caches = caches_;
  }
  SeedScope(const SeedScope&) = delete;
  SeedScope& operator=(const SeedScope&) = delete;

 private:
  std::uint64_t seed_, draws_, caches_;
};

/// One step down in a composed model: composers open one around each call of a child. Costs a few instructions and no memory;
/// gives error messages their path and dropout its key. `name` must outlive the scope.
class LayerScope {
 public:
  /// Opens the scope of the child `name` of the layer at work.
  explicit LayerScope(std::string_view name) : name_(name), parent_(context().layer) {
    Fingerprint all = parent_ ? Fingerprint(parent_->hash_) : Fingerprint();
    hash_ = all.bytes(name.data(), name.size()).bytes(".", 1).value();  // of "parent.name."
    context().layer = this;
  }
  ~LayerScope() { context().layer = parent_; }
  LayerScope(const LayerScope&) = delete;
  LayerScope& operator=(const LayerScope&) = delete;

  /// A fingerprint of the path, from which dropout draws.
  std::uint64_t hash() const { return hash_; }
  /// The names from the root on, joined by dots: "0.attention".
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

}  // namespace heed::inline HEED_ABI
