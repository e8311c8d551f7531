// SPDX-License-Identifier: MIT
// A rank of a job that exchanges parts of all sizes, or waits for one that never comes ("silent"), as tests/distributed/mpi_communicator_test.sh has it; or
// that says how long the gradients of N parameters are on their way ("time N"; docs/scaling.md): mpirun -np 2 heed_mpi_communicator time 1000000
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include <heed/distributed/mpi_communicator.hpp>
#include <heed/distributed/sharded_gradients.hpp>

using heed::Communicator, heed::Index;

namespace {

/// Bytes that rank `from` has for rank `to`: none, few, or more than a message of any small limit.
Index bytes_for(Index from, Index to) { return (from + 2 * to) % 4 == 0 ? 0 : (from + 1) * (to + 1) * 70001; }
char byte_of(Index from, Index to, Index place) { return static_cast<char>((from * 7 + to * 31 + place * 13) % 127); }

bool exchanges(Communicator& ranks) {
  const Index size = ranks.size(), own = ranks.rank();
  std::vector<Communicator::Part> send, receive;
  std::vector<char> from;
  Index total = 0;
  for (Index other = 0; other < size; ++other) {
    send.push_back({static_cast<Index>(from.size()), bytes_for(own, other)});
    for (Index i = 0; i < send.back().bytes; ++i) from.push_back(byte_of(own, other, i));
    receive.push_back({total + 5, bytes_for(other, own)});  // five bytes between the parts
    total += 5 + receive.back().bytes;
  }
  std::vector<char> to(static_cast<std::size_t>(total), 'x');
  ranks.exchange(from.data(), send, to.data(), receive);
  for (Index other = 0; other < size; ++other) {
    const auto& part = receive[static_cast<std::size_t>(other)];
    for (Index i = 0; i < part.bytes; ++i)
      if (to[static_cast<std::size_t>(part.begin + i)] != byte_of(other, own, i)) return false;
    for (Index i = 1; i <= 5; ++i)
      if (to[static_cast<std::size_t>(part.begin - i)] != 'x') return false;
  }
  return true;
}

/// Seconds of a step that does nothing but exchange: the median of many.
double exchange_seconds(Communicator& ranks, Index parameters) {
  heed::Parameter<float> parameter(heed::Shape{parameters});
  parameter.gradient();
  heed::ShardedGradients<float> sharded({{"parameter", &parameter}}, {}, ranks.size(), ranks);
  std::vector<double> seconds;
  for (int step = 0; step < 60; ++step) {
    heed::any_rank(ranks, false);  // all start at once
    const auto start = std::chrono::steady_clock::now();
    sharded(ranks.size(), false, [](Index, Index, Index) { return heed::ShardReport(); });
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + 30, seconds.end());
  return seconds[30];
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "exchange";
  const heed::MpiScope mpi, again;
  heed::MpiCommunicator ranks(MPI_COMM_WORLD, {.patience = what == "silent" ? 0.3 : 60});
  try {
    if (what == "silent") {
      const double word = 1;
      if (ranks.rank() != 1) {
        try {
          heed::gather(ranks, {&word, 1});
        } catch (const heed::CommunicationError& error) {
          std::printf("%s\n", error.what());
          heed::gather(ranks, {&word, 1});  // throws: the late answer may not be taken for the next one
        }
      }
      std::this_thread::sleep_for(std::chrono::seconds(5));  // rank 1 says nothing
      return 0;
    }
    if (what == "time") {
      const Index parameters = argc > 2 ? std::atol(argv[2]) : 1000000;
      const double seconds = exchange_seconds(ranks, parameters);
      const double bytes = 2.0 * (ranks.size() - 1) / ranks.size() * 4.0 * static_cast<double>(parameters);
      if (ranks.rank() == 0)
        std::printf("%d ranks, %ld parameters: %.0f bytes sent by each, %.3f ms\n", ranks.size(), static_cast<long>(parameters), bytes,
            1e3 * seconds);
      return 0;
    }
    for (int round = 0; round < 20; ++round)
      if (!exchanges(ranks)) {
        std::printf("rank %d: wrong bytes in round %d\n", ranks.rank(), round);
        MPI_Abort(MPI_COMM_WORLD, 1);
      }
    const double word = ranks.rank();
    const auto all = heed::gather(ranks, {&word, 1});
    for (Index r = 0; r < ranks.size(); ++r)
      if (all(r, 0) != static_cast<double>(r)) MPI_Abort(MPI_COMM_WORLD, 1);
    if (ranks.rank() == 0) std::printf("%d ranks: all bytes came\n", ranks.size());
    return 0;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    std::fflush(stdout);
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
}
