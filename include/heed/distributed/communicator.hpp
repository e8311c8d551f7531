// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include <heed/core/error.hpp>
#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

/// Another process of those that work together is lost, or does not answer.
class CommunicationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Processes ("ranks") that work together. They do one thing: bytes go from one to the other. What has to be added up is added by heed, in an order that is its
/// own and the same for any number of ranks. `MpiCommunicator` (distributed/mpi_communicator.hpp) does it over MPI.
class Communicator {
 public:
  /// Some bytes of a piece of memory.
  struct Part {
    Index begin = 0, bytes = 0;  ///< in bytes
  };

  virtual ~Communicator() = default;
  virtual int rank() const = 0;  ///< of this process: 0 ... size() - 1
  virtual int size() const = 0;  ///< how many processes there are

  /// Gives each rank r, this one included, its part `send[r]` of `from`, and puts what it gives into part `receive[r]` of `to`. All ranks call it, and
  /// for each pair both have the same number of bytes in mind. Parts of `from` may overlap, those of `to` may not. Throws CommunicationError.
  virtual void exchange(const void* from, std::span<const Part> send, void* to, std::span<const Part> receive) = 0;
};

/// The only process there is.
class SingleProcess final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void exchange(const void* from, std::span<const Part> send, void* to, std::span<const Part> receive) override {
    require(
        send.size() == 1 && receive.size() == 1 && send[0].bytes == receive[0].bytes, "SingleProcess: one part to send and one to receive");
    if (send[0].bytes > 0)
      std::memcpy(static_cast<char*>(to) + receive[0].begin, static_cast<const char*>(from) + send[0].begin,
          static_cast<std::size_t>(send[0].bytes));
  }
};

/// What each rank says, in the order of the ranks: (size(), own.size()). All ranks say as many numbers.
inline Tensor<double, 2> gather(Communicator& communicator, std::span<const double> own) {
  const Index ranks = communicator.size(), bytes = static_cast<Index>(own.size_bytes());
  auto all = Tensor<double, 2>::uninitialized({ranks, static_cast<Index>(own.size())});
  using Parts = Tensor<Communicator::Part, 1>;  // from the pool: every step asks
  Parts send = Parts::uninitialized({ranks}), receive = Parts::uninitialized({ranks});
  for (Index r = 0; r < ranks; ++r) send[r] = {0, bytes}, receive[r] = {r * bytes, bytes};
  communicator.exchange(own.data(), send.span(), all.data(), receive.span());
  return all;
}

/// Whether any rank says so.
inline bool any_rank(Communicator& communicator, bool own) {
  const double word = own ? 1 : 0;
  const auto all = gather(communicator, {&word, 1});
  for (Index r = 0; r < all.size(); ++r)
    if (all[r] != 0) return true;
  return false;
}

/// Whether all ranks say the same word, of which 64 bytes count.
inline bool all_ranks_say(Communicator& communicator, std::string_view own) {
  double word[8] = {};  // bytes: they are sent as doubles and compared as bytes
  std::memcpy(word, own.data(), std::min(own.size(), sizeof word));
  const auto all = gather(communicator, word);
  for (Index r = 0; r < communicator.size(); ++r)
    if (std::memcmp(static_cast<const void*>(&all(r, 0)), static_cast<const void*>(word), sizeof word) != 0) return false;  // NOLINT
  return true;
}

/// The words of the first rank that has some, of which 1,024 bytes count; empty if none has.
inline std::string first_words(Communicator& communicator, std::string_view own) {
  double words[128] = {};  // bytes: they are sent as doubles
  std::memcpy(words, own.data(), std::min(own.size(), sizeof words));
  const auto all = gather(communicator, words);
  for (Index r = 0; r < communicator.size(); ++r) {
    char said[sizeof words];
    std::memcpy(said, &all(r, 0), sizeof words);
    if (said[0] != 0) return {said, static_cast<std::size_t>(std::find(said, said + sizeof said, '\0') - said)};
  }
  return {};
}

}  // namespace heed::inline HEED_ABI
