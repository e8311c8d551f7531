// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

#include <fmt/core.h>

#include <heed/distributed/communicator.hpp>
#if defined(HEED_MPI)
#include <chrono>
#include <thread>

#include <heed/distributed/mpi_communicator.hpp>
#endif

#include "command_line.hpp"
#include "interrupt.hpp"

namespace program {

/// Whether mpirun, or what else starts ranks, says that it did.
inline bool started_by_mpirun() {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_SIZE"})
    if (std::getenv(variable)) return true;
  return false;
}

/// Calls `action(communicator)` and returns what it returns: with the ranks of MPI if there are some, else with this process alone. Of several ranks only the
/// first writes to stdout, and one that ends with a sentence ends the job.
template <class Action>
int on_ranks([[maybe_unused]] std::string_view name, const Action& action) {
#if !defined(HEED_MPI)
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    const char* size = std::getenv(variable);
    heed::require(!size || std::string_view(size) == "1", "started as one of ", size ? size : "",
        " ranks, but built without MPI: each would train for itself; configure with -DHEED_MPI=ON");
  }
  heed::SingleProcess alone;
  return action(alone);
#else
  if (!started_by_mpirun()) {
    heed::SingleProcess alone;
    return action(alone);
  }
  const heed::MpiScope mpi;
  // Others wait while the first judges; a process that is gone ends the job at once, by mpirun.
  heed::MpiCommunicator ranks(MPI_COMM_WORLD, {.patience = 3600, .ending = [] { return InterruptScope::requested(); }});
  if (ranks.size() == 1) return action(ranks);
  const auto end_all = [&](const std::exception& error, std::chrono::milliseconds wait) {
    if (ranks.rank() > 0) std::this_thread::sleep_for(wait);  // what goes wrong everywhere is said by the first, which ends the others
    fmt::print(stderr, "{}: rank {}: {}\n", name, ranks.rank(), error.what());
    std::fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, kBadInput);
  };
  if (ranks.rank() > 0 && !std::freopen("/dev/null", "w", stdout)) return kBadInput;
  try {
    const int code = action(ranks);
    std::fflush(stdout);
    heed::any_rank(ranks, false);  // a wait that leaves the cores to those who are at work, which MPI_Finalize's does not
    return code;
  } catch (const heed::CommunicationError& error) {
    end_all(error, std::chrono::milliseconds(200));  // before mpirun's patience with the ranks is at its end
  } catch (const std::exception& error) {
    end_all(error, std::chrono::seconds(1));
  }
  return kBadInput;
#endif
}

}  // namespace program
