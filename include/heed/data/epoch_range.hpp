// SPDX-License-Identifier: MIT
#pragma once

#include <iterator>
#include <type_traits>
#include <utility>

#include <heed/core/shape.hpp>

namespace heed::inline HEED_ABI {

/// What is left of an epoch, for a range-based for loop: the batches that `source.next()` points at until it gives null. It goes over them once. A batch stays as it
/// is until the iterator moves on.
template <class Source>
class EpochRange {
 public:
  /// Of the batches.
  class iterator {
   public:
    /// For the standard library's algorithms.
    /// @{
    using value_type = std::remove_cvref_t<decltype(*std::declval<Source&>().next())>;
    using difference_type = Index;
    using iterator_concept = std::input_iterator_tag;
    /// @}

    /// An input iterator: `++` makes the next batch, and throws what a data set's own functions have thrown.
    /// @{
    explicit iterator(Source* source) : source_(source), batch_(source->next()) {}
    const value_type& operator*() const { return *batch_; }
    const value_type* operator->() const { return batch_; }
    iterator& operator++() {
      batch_ = source_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) { return i.batch_ == nullptr; }
    /// @}

   private:
    Source* source_;
    const value_type* batch_;
  };

  /// Looks at `source`, which must outlive it.
  explicit EpochRange(Source& source) : source_(&source) {}

  /// For the range-based for loop.
  /// @{
  iterator begin() const { return iterator(source_); }
  std::default_sentinel_t end() const { return {}; }
  /// @}

 private:
  Source* source_;
};

}  // namespace heed::inline HEED_ABI
