// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <utility>

#include <heed/core/error.hpp>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace heed::inline HEED_ABI {

/// The one thing that the process shares: freed tensor buffers, kept for the next tensor of the same size class, so that a training
/// step after the first asks the system for no memory (fresh pages cost more than the kernels that fill them). Whoever needs buffers that
/// nobody else takes makes a pool of his own and opens a PoolScope; `Predictor` does.
///
/// Buffers are 64-byte aligned (a cache line, an AVX-512 register); those of 4 MiB and more ask Linux for huge pages, without which a convolution that
/// walks through several of them is 10 % slower. Size classes are powers of two in four steps, so at most a fifth
/// of a buffer is unused (of less than 256 bytes half of it: they have whole lines). At most `limit()` bytes lie idle; beyond that a freed buffer goes back to the system. Unless set, the limit
/// follows the use: it is the most bytes that were ever in use at once, and 1 GiB at least. So it does not cut into the steps of a large
/// model; only a step whose tensors of many sizes, freed one after another, add up to more than it ever holds at once gets into
/// the limit, asks the system again every time, and wants `set_limit` with more.
/// All functions may be called from any thread. Free buffers are linked through their own first bytes: the pool itself allocates nothing.
class BufferPool {
 public:
  static constexpr std::size_t kAlignment = 64;                       ///< bytes; every buffer begins at a multiple
  static constexpr std::size_t kDefaultLimit = std::size_t{1} << 30;  ///< bytes that `limit()` is at least, unless it is set

  /// A pool of one's own, see PoolScope.
  BufferPool() = default;
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool() { trim_to(0); }

  /// The pool that tensors of the calling thread use: that of the innermost PoolScope, else the one of the process.
  static BufferPool& current() { return context().pool ? *context().pool : instance(); }

  /// The pool of the process, made at first use. It is never destroyed, so that static tensors may outlive main.
  static BufferPool& instance() {
    alignas(BufferPool) static unsigned char storage[sizeof(BufferPool)];
    static BufferPool* pool = new (storage) BufferPool;
    return *pool;
  }

  /// At least `bytes` bytes, uninitialised; null for 0. Throws std::bad_alloc, and ShapeError for more bytes than can be addressed.
  /// With `fresh`, idle buffers are left for others: what stays (gradients, an optimiser's state) must not take away, in a first step,
  /// what passes by, or the second step would have to ask again.
  void* acquire(std::size_t bytes, bool fresh = false) {
    if (bytes == 0) return nullptr;
    require<ShapeError>(bytes <= std::size_t{PTRDIFF_MAX}, "BufferPool: ", bytes, " bytes are more than can be addressed");
    const int c = size_class(bytes);
    const std::size_t size = class_bytes(c);
    {
      std::lock_guard lock(mutex_);
      if (Node* node = fresh ? nullptr : free_[c]) {
        free_[c] = node->next;
        idle_bytes_ -= size;
        hand_out(size);
        return node;
      }
    }
    void* buffer = system_buffer(size);
    std::lock_guard lock(mutex_);
    ++from_system_;
    hand_out(size);
    return buffer;
  }

  /// Takes back a buffer from `acquire(bytes, fresh)`. A fresh one goes to the system: the next of its kind would leave it idle,
  /// and so one model after another would let more lie.
  void release(void* buffer, std::size_t bytes, bool fresh = false) noexcept {
    if (!buffer) return;
    const int c = size_class(bytes);
    const std::size_t size = class_bytes(c);
    {
      std::lock_guard lock(mutex_);
      used_bytes_ -= std::min(size, used_bytes_);  // a buffer may have come from another pool
      if (!fresh && idle_bytes_ + size <= current_limit()) {
        free_[c] = new (buffer) Node{free_[c]};
        idle_bytes_ += size;
        return;
      }
    }
    return_buffer(buffer, size);
  }

  /// Gives every idle buffer back to the system, and lets a limit that follows the use begin with the bytes in use now.
  void trim() noexcept {
    std::lock_guard lock(mutex_);
    trim_to(0);
    most_used_bytes_ = used_bytes_;
  }

  /// The most bytes that may lie idle, whatever is used. A lower limit takes effect at once.
  void set_limit(std::size_t bytes) noexcept {
    std::lock_guard lock(mutex_);
    limit_ = bytes;
    follows_use_ = false;
    trim_to(bytes);
  }
  /// Takes a `set_limit` back: the limit follows the use again.
  void reset_limit() noexcept {
    std::lock_guard lock(mutex_);
    follows_use_ = true;
    trim_to(current_limit());
  }
  /// Bytes that may lie idle.
  std::size_t limit() const noexcept {
    std::lock_guard lock(mutex_);
    return current_limit();
  }
  /// Bytes that lie idle.
  std::size_t idle_bytes() const noexcept { return with_lock(idle_bytes_); }
  /// Bytes of the buffers that are handed out.
  std::size_t used_bytes() const noexcept { return with_lock(used_bytes_); }
  /// Buffers handed out so far, and how many of them came from the system.
  std::uint64_t acquired() const noexcept { return with_lock(acquired_); }
  /// How many of `acquired()` came from the system.
  std::uint64_t from_system() const noexcept { return with_lock(from_system_); }

 private:
  struct Node {
    Node* next;
  };
  static constexpr int kSteps = 4, kClasses = kSteps * 58;

  /// Large buffers begin where a huge page of 2 MiB does.
  static std::align_val_t alignment(std::size_t size) {
    return std::align_val_t{size < (std::size_t{4} << 20) ? kAlignment : std::size_t{2} << 20};
  }
  static void* system_buffer(std::size_t size) {
    void* buffer = ::operator new(size, alignment(size));
#if defined(MADV_HUGEPAGE)
    if (alignment(size) > std::align_val_t{kAlignment}) madvise(buffer, size, MADV_HUGEPAGE);  // advice: it may be declined
#endif
    return buffer;
  }
  static void return_buffer(void* buffer, std::size_t size) noexcept { ::operator delete(buffer, alignment(size)); }

  template <class Value>
  Value with_lock(const Value& value) const noexcept {
    std::lock_guard lock(mutex_);
    return value;
  }
  void hand_out(std::size_t size) noexcept {
    ++acquired_;
    used_bytes_ += size;
    most_used_bytes_ = std::max(most_used_bytes_, used_bytes_);
  }
  std::size_t current_limit() const noexcept { return follows_use_ ? std::max(kDefaultLimit, most_used_bytes_) : limit_; }
  /// Class c holds (4 + c % 4) << (c / 4) lines of 64 bytes / 4: 64, 80, 96, 112, 128, 160, ... bytes, rounded up to whole lines.
  static std::size_t class_bytes(int c) {
    const std::size_t bytes = (static_cast<std::size_t>(kSteps + c % kSteps) << (c / kSteps)) * (kAlignment / kSteps);
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  static int size_class(std::size_t bytes) {
    const std::size_t units = (bytes + kAlignment / kSteps - 1) / (kAlignment / kSteps);  // of 16 bytes
    if (units <= kSteps) return 0;
    const int shift = static_cast<int>(std::bit_width(units)) - 3;  // the top three bits name the class, rounded up
    const std::size_t top = (units + (std::size_t{1} << shift) - 1) >> shift;
    return shift * kSteps + static_cast<int>(top) - kSteps;
  }
  void trim_to(std::size_t bytes) noexcept {
    for (int c = kClasses - 1; c >= 0; --c)
      while (free_[c] && idle_bytes_ > bytes) {
        Node* node = free_[c];
        free_[c] = node->next;
        idle_bytes_ -= class_bytes(c);
        return_buffer(node, class_bytes(c));
      }
  }

  mutable std::mutex mutex_;
  Node* free_[kClasses] = {};
  bool follows_use_ = true;
  std::size_t limit_ = kDefaultLimit;  // unless it follows the use
  std::size_t idle_bytes_ = 0, used_bytes_ = 0, most_used_bytes_ = 0;
  std::uint64_t acquired_ = 0, from_system_ = 0;
};

/// Until the end of the scope the calling thread's tensors take their memory from `pool`, which must live as long as the scope, and give it
/// back there. A tensor may cross the border either way: its buffer then goes to the pool that is current when it ends, and `used_bytes()` of the one that
/// it left keeps counting it. Where many leave for good, `set_limit` says what may lie idle.
class PoolScope {
 public:
  /// Opens the scope for the calling thread.
  explicit PoolScope(BufferPool& pool) : saved_(std::exchange(context().pool, &pool)) {}
  ~PoolScope() { context().pool = saved_; }
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;

 private:
  BufferPool* saved_;
};

}  // namespace heed::inline HEED_ABI
