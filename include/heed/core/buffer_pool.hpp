// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>

namespace heed {

/// The one thing that the process shares: freed tensor buffers, kept for the next tensor of the same size class, so that a training
/// step after the first asks the system for no memory (fresh pages cost more than the kernels that fill them).
///
/// Buffers are 64-byte aligned (a cache line, an AVX-512 register). Size classes are powers of two in four steps, so at most a fifth
/// of a buffer is unused. At most `limit()` bytes (1 GiB unless set) lie idle; beyond that a freed buffer goes back to the system.
/// All functions may be called from any thread. Free buffers are linked through their own first bytes: the pool itself allocates nothing.
class BufferPool {
 public:
  static constexpr std::size_t kAlignment = 64;
  static constexpr std::size_t kDefaultLimit = std::size_t{1} << 30;

  /// The pool of the process, made at first use. It is never destroyed, so that static tensors may outlive main.
  static BufferPool& instance() {
    alignas(BufferPool) static unsigned char storage[sizeof(BufferPool)];
    static BufferPool* pool = new (storage) BufferPool;
    return *pool;
  }

  /// At least `bytes` bytes, uninitialised; null for 0. Throws std::bad_alloc. With `fresh`, idle buffers are left for others: what stays
  /// (gradients, an optimiser's state) must not take away, in a first step, what passes by, or the second step would have to ask again.
  void* acquire(std::size_t bytes, bool fresh = false) {
    if (bytes == 0) return nullptr;
    const int c = size_class(bytes);
    {
      std::lock_guard lock(mutex_);
      ++acquired_;
      if (Node* node = fresh ? nullptr : free_[c]) {
        free_[c] = node->next;
        idle_bytes_ -= class_bytes(c);
        return node;
      }
      ++from_system_;
    }
    return ::operator new(class_bytes(c), std::align_val_t{kAlignment});
  }

  /// Takes back a buffer from `acquire(bytes)`.
  void release(void* buffer, std::size_t bytes) noexcept {
    if (!buffer) return;
    const int c = size_class(bytes);
    {
      std::lock_guard lock(mutex_);
      if (idle_bytes_ + class_bytes(c) <= limit_) {
        free_[c] = new (buffer) Node{free_[c]};
        idle_bytes_ += class_bytes(c);
        return;
      }
    }
    ::operator delete(buffer, std::align_val_t{kAlignment});
  }

  /// Gives every idle buffer back to the system.
  void trim() noexcept {
    std::lock_guard lock(mutex_);
    trim_to(0);
  }

  /// The most bytes that may lie idle. A lower limit takes effect at once.
  void set_limit(std::size_t bytes) noexcept {
    std::lock_guard lock(mutex_);
    limit_ = bytes;
    trim_to(bytes);
  }
  std::size_t limit() const noexcept { return with_lock(limit_); }
  std::size_t idle_bytes() const noexcept { return with_lock(idle_bytes_); }
  /// Buffers handed out so far, and how many of them came from the system.
  std::uint64_t acquired() const noexcept { return with_lock(acquired_); }
  std::uint64_t from_system() const noexcept { return with_lock(from_system_); }

 private:
  struct Node {
    Node* next;
  };
  static constexpr int kSteps = 4, kClasses = kSteps * 58;

  BufferPool() = default;

  template <class Value>
  Value with_lock(const Value& value) const noexcept {
    std::lock_guard lock(mutex_);
    return value;
  }
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
        ::operator delete(node, std::align_val_t{kAlignment});
      }
  }

  mutable std::mutex mutex_;
  Node* free_[kClasses] = {};
  std::size_t limit_ = kDefaultLimit, idle_bytes_ = 0;
  std::uint64_t acquired_ = 0, from_system_ = 0;
};

}  // namespace heed
