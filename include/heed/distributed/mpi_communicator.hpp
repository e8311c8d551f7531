// SPDX-License-Identifier: MIT
#pragma once

// Not part of all.hpp: it needs an MPI (CMake: HEED_MPI=ON, or find_package(MPI) and MPI::MPI_CXX).
#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include <mpi.h>

#include <heed/distributed/communicator.hpp>

namespace heed::inline HEED_ABI {

/// MPI for as long as it lives (MPI_Init_thread, MPI_THREAD_FUNNELED: the thread that trains is the one that calls). Nothing is done if somebody
/// else has started MPI.
class MpiScope {
 public:
  MpiScope() {
    int running = 0, level = 0;
    MPI_Initialized(&running);
    if (running) return;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);
    started_ = true;
  }
  ~MpiScope() {
    if (started_) MPI_Finalize();
  }
  MpiScope(const MpiScope&) = delete;
  MpiScope& operator=(const MpiScope&) = delete;

 private:
  bool started_ = false;
};

struct MpiOptions {
  double patience = 600;              ///< seconds that the others may be silent
  std::function<bool()> ending = {};  ///< asked while waiting: is the job being ended from outside? Then the others get half a second
};

/// Ranks of MPI (the standard, 3.1 and later). Messages go from point to point, none larger than 1 GiB; nothing is added up by MPI, which promises no
/// order. Waiting ranks look again after 50 microseconds, so that several can share a core.
///
/// Collective: all ranks of `parent` make one, and MPI must outlive it. A rank that is lost takes the job with it: mpirun ends the others, whose
/// `exchange` then throws CommunicationError if `ending` says so, or if their patience is at its end; from then on it always does. A rank that leaves by an
/// exception has to end the job itself (MPI_Abort), else the others wait.
class MpiCommunicator final : public Communicator {
 public:
  /// MPI must be running, see MpiScope. Throws CommunicationError for what MPI reports.
  explicit MpiCommunicator(MPI_Comm parent = MPI_COMM_WORLD, MpiOptions options = {}) : options_(std::move(options)) {
    check(MPI_Comm_dup(parent, &comm_), "MPI_Comm_dup");
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiCommunicator() override {
    if (!broken_) MPI_Comm_free(&comm_);  // it waits for the others
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void exchange(const void* from, std::span<const Part> send, void* to, std::span<const Part> receive) override {
    require(static_cast<int>(send.size()) == size_ && static_cast<int>(receive.size()) == size_, "MpiCommunicator: ", send.size(), " and ",
        receive.size(), " parts for ", size_, " ranks");
    require<CommunicationError>(
        !broken_, "MpiCommunicator: an exchange has failed before, and what comes now may belong to it; end the job");
    requests_.clear();
    peers_.clear();
    receives_ = 0;
    const auto own = static_cast<std::size_t>(rank_);
    const auto at = [&](const void* memory, const Part& part, Index offset) {
      return const_cast<char*>(static_cast<const char*>(memory)) + part.begin + offset;
    };
    for (int step = 1; step < size_; ++step) {
      const int source = (rank_ + size_ - step) % size_;
      const Part& come = receive[static_cast<std::size_t>(source)];
      in_messages(come, [&](Index offset, int bytes) {
        check(MPI_Irecv(at(to, come, offset), bytes, MPI_BYTE, source, kTag, comm_, &request(source)), "MPI_Irecv");
        receives_ = requests_.size();
      });
    }
    for (int step = 1; step < size_; ++step) {  // not all to the same at first
      const int target = (rank_ + step) % size_;
      const Part& go = send[static_cast<std::size_t>(target)];
      in_messages(go, [&](Index offset, int bytes) {
        check(MPI_Isend(at(from, go, offset), bytes, MPI_BYTE, target, kTag, comm_, &request(target)), "MPI_Isend");
      });
    }
    if (send[own].bytes > 0) std::memcpy(at(to, receive[own], 0), at(from, send[own], 0), static_cast<std::size_t>(send[own].bytes));
    wait();
  }

 private:
  static constexpr int kTag = 0;
  static constexpr Index kLargest = Index{1} << 30;  // MPI counts in int

  template <class F>
  static void in_messages(const Part& part, const F& f) {
    for (Index offset = 0; offset < part.bytes; offset += kLargest) f(offset, static_cast<int>(std::min(kLargest, part.bytes - offset)));
  }
  MPI_Request& request(int peer) {
    peers_.push_back(peer);
    return requests_.emplace_back(MPI_REQUEST_NULL);
  }
  void check(int code, const char* call) {
    if (code == MPI_SUCCESS) return;
    abandon();
    char words[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, words, &length);
    fail<CommunicationError>(call, ": ", std::string(words, static_cast<std::size_t>(length)));
  }

  /// The caller gives back its memory: what comes late must not be written there. (Sends, which only read, cannot be taken back everywhere.)
  void abandon() {
    broken_ = true;
    for (std::size_t k = 0; k < receives_; ++k) {
      if (requests_[k] == MPI_REQUEST_NULL) continue;
      int done = 0;
      MPI_Cancel(&requests_[k]);
      MPI_Test(&requests_[k], &done, MPI_STATUS_IGNORE);
    }
  }

  void wait() {
    using Clock = std::chrono::steady_clock;
    const auto seconds = [](Clock::time_point since) { return std::chrono::duration<double>(Clock::now() - since).count(); };
    const Clock::time_point start = Clock::now();
    Clock::time_point ending;
    bool ends = false;
    for (int round = 0;; ++round) {
      int done = 0;
      check(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
      if (done) return;
      if (round < 200)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      if (!ends && options_.ending && options_.ending()) ends = true, ending = Clock::now();
      if (ends && seconds(ending) > 0.5) lost(", and the job is being ended from outside");
      if (seconds(start) > options_.patience) lost(text(" and has waited for ", options_.patience, " seconds"));
    }
  }
  [[noreturn]] void lost(const std::string& why) {
    std::string silent;
    for (std::size_t k = 0; k < requests_.size(); ++k) {
      int done = 0;
      MPI_Test(&requests_[k], &done, MPI_STATUS_IGNORE);
      const std::string name = text(silent.empty() ? "" : ", ", peers_[k]);
      if (!done && (", " + silent + ",").find(text(", ", peers_[k], ",")) == std::string::npos) silent += name;
    }
    abandon();
    fail<CommunicationError>("rank ", rank_, " of ", size_, " got no answer from rank ", silent, why, "; is that process lost?");
  }

  MpiOptions options_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  bool broken_ = false;
  std::vector<MPI_Request> requests_;  ///< the receives first
  std::size_t receives_ = 0;
  std::vector<int> peers_;  ///< who is at the other end of each
};

}  // namespace heed::inline HEED_ABI
