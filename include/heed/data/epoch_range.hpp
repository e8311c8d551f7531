// SPDX-License-Identifier: MIT
#pragma once

#include <iterator>
#include <type_traits>
#include <utility>

#include <heed/core/error.hpp>
#include <heed/core/shape.hpp>

namespace heed::inline HEED_ABI {

/// What is left of an epoch, for a range-based for loop: the batches that `source.next()` points at until it gives null. It goes over them once. A batch stays as it
/// is until the iterator moves on. Where the source counts its `passes()`, a range that goes on after another epoch was begun throws std::invalid_argument.
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
    explicit iterator(Source* source) : source_(source), batch_(source->next()) {
      if constexpr (requires { source_->passes(); }) pass_ = source_->passes();
    }
    const value_type& operator*() const { return *batch_; }
    const value_type* operator->() const { return batch_; }
    iterator& operator++() {
      if constexpr (requires { source_->passes(); })
        require(source_->passes() == pass_,
            "the batches of another epoch were asked for before this one was at its end: who judges or learns meanwhile needs batches of "
            "their own");
      batch_ = source_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) { return i.batch_ == nullptr; }
    /// @}

   private:
    Source* source_;
    const value_type* batch_;
    Index pass_ = 0;
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
