// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <heed/core/context.hpp>
#include <heed/core/parallel.hpp>
#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

/// A weight as it lies in memory: `rows` x `cols` elements, `row` of them from row to row.
template <class T>
struct WeightRows {
  const T* data;          ///< the first element
  Index rows, cols, row;  ///< of memory that is another's
};

/// Weights in the layouts that kernels make of them (packed for the register tile, transformed for Winograd), kept from call to call:
///
/// ```cpp
/// heed::PreparedWeights weights;
/// heed::PreparedScope scope(weights);  // for the calls of this thread
/// model.forward(x);                    // prepares
/// model.forward(x);                    // finds what is prepared: the same bits
/// ```
///
/// Each use reads the weight once and compares its fingerprint (64 bits for each 4096 numbers) with that of the weight which was prepared: after a training
/// step, or a change of one number, it is prepared anew, in the same memory. A store serves one thread at a time, and grows with each weight at a new address
/// until it is closed. `Predictor` has one.
class PreparedWeights {
 public:
  PreparedWeights() = default;
  PreparedWeights(const PreparedWeights&) = delete;
  PreparedWeights& operator=(const PreparedWeights&) = delete;

  /// From here on no further weight is kept: a weight at an address that is not known is prepared by each call, as it is without a store.
  void close() { closed_ = true; }
  /// The caller's word that kept weights stay as they are: uses do not look whether they do, and a changed one goes unnoticed. False: they look again.
  void freeze(bool frozen = true) { frozen_ = frozen; }
  /// Takes every kept weight for changed: its next use prepares it anew.
  void expire() {
    for (const auto& entry : entries_) entry->made = false;
  }
  /// Forgets all, is open again, and looks.
  void clear() { entries_.clear(), next_ = 0, closed_ = frozen_ = false; }
  /// How many are kept, and how many times one was prepared.
  std::size_t size() const { return entries_.size(); }
  /// How many times one was prepared.
  std::uint64_t made() const { return made_; }

  /// What `make(value)` makes of `weight` and `layout`, which names everything else that it depends on; null where it is not kept.
  template <class Value, class T, class Make>
  const Value* find(const WeightRows<T>& weight, const std::array<std::int64_t, 3>& layout, const Make& make) {
    const Key key{&kType<Value>, weight.data, {weight.rows, weight.cols, weight.row}, layout};
    for (std::size_t tried = 0; tried < entries_.size(); ++tried) {  // a model asks in the same order every time
      Entry& entry = *entries_[next_];
      next_ = next_ + 1 < entries_.size() ? next_ + 1 : 0;
      if (!(entry.key == key)) continue;
      Value& value = static_cast<Holder<Value>&>(entry).value;
      if (frozen_ && entry.made) return &value;
      take_prints(weight, entry.prints_now);
      if (!entry.made || !std::equal(entry.prints.span().begin(), entry.prints.span().end(), entry.prints_now.span().begin())) {
        entry.made = false;  // should `make` throw
        make(value);
        entry.made = true;
        ++made_;
        entry.prints.swap(entry.prints_now);
      }
      return &value;
    }
    if (closed_) return nullptr;
    auto entry = std::make_unique<Holder<Value>>();
    entry->key = key;
    take_prints(weight, entry->prints);
    take_prints(weight, entry->prints_now);  // memory for later
    make(entry->value);
    entry->made = true;
    ++made_;
    next_ = 0;
    entries_.push_back(std::move(entry));
    return &static_cast<Holder<Value>&>(*entries_.back()).value;
  }

 private:
  template <class Value>
  static constexpr char kType = 0;  // its address names the type

  struct Key {
    const void *type = nullptr, *weight = nullptr;
    std::array<Index, 3> rows{};
    std::array<std::int64_t, 3> layout{};
    bool operator==(const Key&) const = default;
  };
  struct Entry {
    virtual ~Entry() = default;
    Key key;
    Tensor<std::uint64_t, 1> prints, prints_now;  // one a line, see take_prints
    bool made = false;
  };
  template <class Value>
  struct Holder : Entry {
    Value value;
  };

  /// A one-to-one map of 64 bits. Turned before it is multiplied: signs, the highest bits of numbers, would stay the highest bits, and what two signs change
  /// in one step two others could undo in the next.
  static std::uint64_t mix(std::uint64_t bits) {
    return std::rotl(bits, 29) * 0x9e3779b97f4a7c15u;  // odd, without a pattern: 2^64 / golden ratio
  }
  /// 64 bits that follow from `bytes` bytes. If one word changes they do; changes of several words pass unseen with a chance of about 2^-64.
  static std::uint64_t fingerprint(const void* data, std::size_t bytes) {
    Chains chains;
    const auto* from = static_cast<const unsigned char*>(data);
    for (; bytes >= sizeof chains.bits; from += sizeof chains.bits, bytes -= sizeof chains.bits) chains.take(from);
    unsigned char rest[sizeof chains.bits] = {};
    if (bytes > 0) std::memcpy(rest, from, bytes);
    chains.take(rest);
    std::uint64_t result = 0;
    for (const std::uint64_t chain : chains.bits) result = mix(result ^ chain);
    return result;
  }
  /// Eight products in flight: 22 GB/s a core, which is what L3 gives (Granite Rapids).
  struct Chains {
    std::uint64_t bits[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    HEED_INLINE void take(const unsigned char* from) {
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        std::uint64_t word;
        std::memcpy(&word, from + 8 * i, 8);
        bits[i] = mix(bits[i] ^ word);
      }
    }
  };
  /// The fingerprints of a weight's lines: its rows, or, where these lie without gaps, pieces of a fixed length.
  template <class T>
  static void take_prints(const WeightRows<T>& weight, Tensor<std::uint64_t, 1>& prints) {
    constexpr Index kPiece = 4096, kParallel = 65536;  // elements: below the second, waking threads costs more
    const bool whole = weight.row == weight.cols || weight.rows == 1;
    const Index total = weight.rows * weight.cols, length = whole ? kPiece : weight.cols, step = whole ? kPiece : weight.row;
    const Index lines = whole ? (total + kPiece - 1) / kPiece : weight.rows;
    prints.resize({lines});
    parallel_for(lines, total < kParallel ? lines : kPiece / std::max<Index>(length, 1), [&](Index begin, Index end) {
      for (Index line = begin; line < end; ++line) {
        const Index count = whole ? std::min(length, total - line * length) : length;
        prints[line] = fingerprint(weight.data + line * step, static_cast<std::size_t>(count) * sizeof(T));
      }
    });
  }

  std::vector<std::unique_ptr<Entry>> entries_;
  std::size_t next_ = 0;
  std::uint64_t made_ = 0;
  bool closed_ = false, frozen_ = false;
};

/// Until the end of the scope, kernels that the calling thread runs keep what they prepare in `weights`, which must live as long.
class PreparedScope {
 public:
  /// Opens the scope for the calling thread.
  explicit PreparedScope(PreparedWeights& weights) : saved_(std::exchange(context().prepared, &weights)) {}
  ~PreparedScope() { context().prepared = saved_; }
  PreparedScope(const PreparedScope&) = delete;
  PreparedScope& operator=(const PreparedScope&) = delete;

 private:
  PreparedWeights* saved_;
};

/// For kernels: what `make(value)` makes of `weight` and `layout`, kept in the store of the innermost PreparedScope, or else made in `own`.
/// (Arguments by value: g++ 13 and newer take a reference beside a temporary for one into it.)
template <class Value, class T, class Make>
const Value& prepared(WeightRows<T> weight, std::array<std::int64_t, 3> layout, Value& own, const Make& make) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>)  // all of whose bytes are the number
    if (PreparedWeights* store = context().prepared)
      if (const Value* kept = store->find<Value>(weight, layout, make)) return *kept;
  make(own);
  return own;
}

}  // namespace heed::inline HEED_ABI
