// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string_view>

#include <heed/core/chunk_shares.hpp>
#include <heed/core/config.hpp>
#include <heed/core/context.hpp>
#include <heed/core/isa.hpp>
#include <heed/core/tensor.hpp>

// What runs the loops is chosen at run time (Backend) among what this program was compiled with (core/config.hpp): OpenMP, std::thread, and always a plain loop.
#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(HEED_PARALLEL_THREADS)
#include <thread>
#include <vector>
#endif

namespace heed::inline HEED_ABI {

/// Whether this program was built with a back end. All have the serial one.
constexpr bool has_backend(Backend backend) {
#if defined(HEED_PARALLEL_OPENMP)
  if (backend == Backend::openmp) return true;
#endif
#if defined(HEED_PARALLEL_THREADS)
  if (backend == Backend::std_thread) return true;
#endif
  return backend == Backend::serial || backend == Backend::automatic;
}

/// "openmp", "std_thread", "serial", "automatic".
constexpr std::string_view backend_name(Backend backend) {
  switch (backend) {
    case Backend::openmp:
      return "openmp";
    case Backend::std_thread:
      return "std_thread";
    case Backend::serial:
      return "serial";
    default:
      return "automatic";
  }
}

/// What runs the loops of this thread's calls: the innermost BackendScope's choice, else the first of OpenMP, std::thread and the plain loop that this program
/// was built with (std::thread before OpenMP where HEED_PARALLEL_STD_THREAD says so).
inline Backend backend() {
  if (context().backend != Backend::automatic) return context().backend;
#if defined(HEED_PARALLEL_STD_THREAD) && defined(HEED_PARALLEL_THREADS)
  return Backend::std_thread;
#else
  return has_backend(Backend::openmp) ? Backend::openmp : Backend::serial;
#endif
}

/// Lets the calls made by this thread run their loops on `backend` until the end of the scope. A result has the same bits on each. Throws
/// std::invalid_argument if this program was built without it.
class BackendScope {
 public:
  /// Opens the scope for the calling thread.
  explicit BackendScope(Backend backend) : saved_(context().backend) {
    require(has_backend(backend), "BackendScope: this program was built without ", backend_name(backend),
        backend == Backend::openmp ? "; compile it with OpenMP (-fopenmp), or take std_thread or serial"
                                   : "; compile it with -DHEED_PARALLEL_STD_THREAD or with OpenMP, or take serial");
    context().backend = backend;
  }
  ~BackendScope() { context().backend = saved_; }
  BackendScope(const BackendScope&) = delete;
  BackendScope& operator=(const BackendScope&) = delete;

 private:
  Backend saved_;
};

/// The number of threads that the next call made by this thread may use: the innermost ThreadScope's, else the back end's default (OMP_NUM_THREADS or the
/// cores). Inside a parallel region, heed's or the caller's own OpenMP one, it is 1: the outer level has the cores.
inline int thread_count() {
#if defined(_OPENMP)
  if (omp_in_parallel()) return 1;
#endif
  switch (backend()) {
#if defined(HEED_PARALLEL_OPENMP)
    case Backend::openmp:
      return context().threads > 0 ? context().threads : omp_get_max_threads();
#endif
#if defined(HEED_PARALLEL_THREADS)
    case Backend::std_thread:
      return context().threads > 0 ? context().threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#endif
    default:
      return 1;
  }
}

namespace detail {

inline int worker_count(Index chunks) {
  if (chunks > 1) (void)isa_level();  // a wrong HEED_ISA is the caller's exception: within the loop it would end the program
  return static_cast<int>(std::min<Index>({chunks, chunks > 1 && chunks <= ChunkShares::kMostChunks ? thread_count() : 1, kMaxWorkers}));
}

/// The body of a loop without its type, so that what runs loops is compiled once and not for each of them: `call(body, chunk, worker)`.
struct ChunkBody {
  const void* body;
  void (*call)(const void* body, Index chunk, int worker);

  void operator()(Index chunk, int worker) const { call(body, chunk, worker); }
};

#if defined(HEED_PARALLEL_THREADS)
/// Threads are started by the call and joined before it returns: nothing lives longer than its use.
inline void run_on_threads(Index chunks, int workers, ChunkBody body) {
  ChunkShares shares(chunks, workers);
  const auto work = [&](int worker) {
    ThreadScope inner(1);
    for (Index chunk = shares.take(worker); chunk >= 0; chunk = shares.take(worker)) body(chunk, worker);
  };
  std::vector<std::thread> helpers;
  const auto start = [&] {
    helpers.reserve(static_cast<std::size_t>(workers - 1));
    for (int i = 1; i < workers; ++i) helpers.emplace_back(work, i);
  };
#if defined(__cpp_exceptions)
  try {
    start();
  } catch (...) {  // the system gives no more threads: those that started and this one take all chunks
  }
#else
  start();
#endif
  work(0);
  for (std::thread& helper : helpers) helper.join();
}
#endif

/// The one parallel loop: calls `body(chunk, worker)` for each chunk in any order, with a worker below `workers` for each thread.
inline void run_chunks(Index chunks, int workers, ChunkBody body) {
  if (workers > 1) {
#if defined(HEED_PARALLEL_OPENMP)
    if (backend() == Backend::openmp) {
      ChunkShares shares(chunks, workers);
#pragma omp parallel num_threads(workers)
      {
        const int worker = omp_get_thread_num();
        for (Index chunk = shares.take(worker); chunk >= 0; chunk = shares.take(worker)) body(chunk, worker);
      }
      return;
    }
#endif
#if defined(HEED_PARALLEL_THREADS)
    if (backend() == Backend::std_thread) return run_on_threads(chunks, workers, body);
#endif
  }
  for (Index chunk = 0; chunk < chunks; ++chunk) body(chunk, 0);
}

template <class Run>
void run_chunks(Index chunks, int workers, const Run& run) {
  if (chunks == 1) return run(0, 0);  // small work is called directly: 15 ns of the 165 that a linear layer of 8 features takes
  run_chunks(
      chunks, workers, ChunkBody{&run, [](const void* body, Index chunk, int worker) { (*static_cast<const Run*>(body))(chunk, worker); }});
}

/// Makes the scratch of the remaining workers, one a stack frame, and then calls `then()`.
template <class Scratch, class Make, class Then>
void with_scratch(int worker, int workers, Scratch** slots, const Make& make, const Then& then) {
  if (worker == workers) return then();
  auto scratch = make();
  slots[worker] = &scratch;
  with_scratch(worker + 1, workers, slots, make, then);
}

}  // namespace detail

/// Calls `body(begin, end)` for the ranges [0, grain), [grain, 2 grain), ... that cover [0, count), on up to `thread_count()` threads in
/// any order. The ranges depend on `count` and `grain` alone, so a body that writes only what belongs to its range gives the same bits
/// with any number of threads. The body must not throw.
template <class Body>
void parallel_for(Index count, Index grain, const Body& body) {
  const Index step = std::max<Index>(grain, 1), chunks = (count + step - 1) / step;
  detail::run_chunks(
      chunks, detail::worker_count(chunks), [&](Index chunk, int) { body(chunk * step, std::min(count, (chunk + 1) * step)); });
}

/// The same for bodies that need memory of their own: calls `body(begin, end, scratch)`, with one `make()` for each thread. The calling
/// thread makes them all before the loop starts, so what a call takes from the pool does not depend on which thread does what.
template <class Make, class Body>
void parallel_for(Index count, Index grain, const Make& make, const Body& body) {
  const Index step = std::max<Index>(grain, 1), chunks = (count + step - 1) / step;
  const int workers = detail::worker_count(chunks);
  decltype(make())* slots[detail::kMaxWorkers];
  if (chunks > 0)
    detail::with_scratch(0, workers, slots, make, [&] {
      detail::run_chunks(
          chunks, workers, [&](Index chunk, int worker) { body(chunk * step, std::min(count, (chunk + 1) * step), *slots[worker]); });
    });
}

/// The grain of a loop of few long and equal jobs: `grain` or less, so that each thread gets as many chunks. (Three chunks of 3, 3 and 2 jobs take two threads as long
/// as five jobs; four chunks of 2 take four.)
inline Index even_grain(Index count, Index grain) {
  const Index chunks = (count + grain - 1) / grain, threads = thread_count(),
              even = std::min(count, (chunks + threads - 1) / threads * threads);
  return chunks <= 1 || even > 2 * chunks ? grain : (count + even - 1) / even;
}

/// The most shards that a sum over rows is cut into, whatever the number of threads: enough to balance a few dozen cores.
inline constexpr Index kMaxShards = 32;

/// Rows of a shard when `count` rows are summed: at least `grain`, and a function of the two alone.
inline Index shard_rows(Index count, Index grain) {
  grain = std::max<Index>(grain, 1);
  const Index shards = std::clamp<Index>(count / grain, 1, kMaxShards);
  return (count + shards - 1) / shards;
}

namespace detail {
/// Adds the rows of `partial` to `sums`, in their order.
template <class T>
void fold(const Tensor<T, 2>& partial, T* sums) {
  parallel_for(partial.features(), 4096, [&](Index begin, Index end) {
    for (Index s = 0; s < partial.rows(); ++s)
      for (Index i = begin; i < end; ++i) sums[i] += partial.data()[s * partial.features() + i];
  });
}
HEED_COMPILE_ONCE(fold);
}  // namespace detail

/// Adds to sums[0 ... width) what `body(begin, end, partial)` adds to `partial` (which starts at zero) over fixed shards of
/// [0, count). The partial sums are folded in the order of the shards, so the result does not depend on the number of threads.
template <class T, class Body>
void parallel_sum(Index count, Index grain, Index width, T* sums, const Body& body) {
  if (count <= 0) return;
  const Index rows = shard_rows(count, grain), shards = (count + rows - 1) / rows;
  Tensor<T, 2> partial({shards, width});
  parallel_for(count, rows, [&](Index begin, Index end) { body(begin, end, partial.data() + begin / rows * width); });
  detail::fold(partial, sums);
}

}  // namespace heed::inline HEED_ABI
