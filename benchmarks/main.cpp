// SPDX-License-Identifier: MIT
// heed_benchmarks [--heed_threads=N] [Google Benchmark's flags]
#include <cstdlib>
#include <cstring>
#include <string>

#include <benchmark/benchmark.h>

#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>

int main(int argc, char** argv) {
  int kept = 1, threads = heed::thread_count();
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--heed_threads=", 15) == 0)
      threads = std::atoi(argv[i] + 15);
    else
      argv[kept++] = argv[i];
  }
  argc = kept;
  if (threads < 1) {
    std::fprintf(stderr, "heed_benchmarks: --heed_threads takes a number of threads, 1 or more\n");
    return 2;
  }
  heed::ThreadScope scope(threads);
  benchmark::AddCustomContext("heed_isa", heed::isa_name());
  benchmark::AddCustomContext("heed_threads", std::to_string(heed::thread_count()));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
