// SPDX-License-Identifier: MIT
#pragma once

#include <barrier>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

#include <heed/distributed/communicator.hpp>

/// Ranks that are threads of this program: what they give each other lies in plain memory.
class ThreadRanks {
 public:
  explicit ThreadRanks(int size) : from_(static_cast<std::size_t>(size)), send_(from_.size()), barrier_(size) {}

  class Rank final : public heed::Communicator {
   public:
    Rank(ThreadRanks& all, int rank) : all_(all), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(all_.from_.size()); }
    void exchange(const void* from, std::span<const Part> send, void* to, std::span<const Part> receive) override {
      const auto own = static_cast<std::size_t>(rank_);
      all_.from_[own] = static_cast<const char*>(from);
      all_.send_[own] = send.data();
      all_.barrier_.arrive_and_wait();
      for (std::size_t r = 0; r < all_.from_.size(); ++r) {
        const Part given = all_.send_[r][own];
        heed::require(
            given.bytes == receive[r].bytes, "rank ", r, " gives ", given.bytes, " bytes, rank ", own, " expects ", receive[r].bytes);
        if (given.bytes > 0)
          std::memcpy(static_cast<char*>(to) + receive[r].begin, all_.from_[r] + given.begin, static_cast<std::size_t>(given.bytes));
      }
      all_.barrier_.arrive_and_wait();
    }

   private:
    ThreadRanks& all_;
    int rank_;
  };

  /// Calls `body(communicator)` in as many threads as there are ranks, and throws what the first of them threw.
  template <class Body>
  static void run(int size, const Body& body) {
    ThreadRanks ranks(size);
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(size));
    {
      std::vector<std::jthread> threads;
      for (int rank = 0; rank < size; ++rank)
        threads.emplace_back([&, rank] {
          Rank communicator(ranks, rank);
          try {
            body(communicator);
          } catch (...) {
            errors[static_cast<std::size_t>(rank)] = std::current_exception();
            ranks.barrier_.arrive_and_drop();
          }
        });
    }
    for (const auto& error : errors)
      if (error) std::rethrow_exception(error);
  }

 private:
  std::vector<const char*> from_;
  std::vector<const heed::Communicator::Part*> send_;
  std::barrier<> barrier_;
};
