// SPDX-License-Identifier: MIT
// heed_benchmarks [--heed_threads=N] [--heed_shapes=FILE] [--heed_naive] [Google Benchmark's flags], see docs/benchmarks.md.
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "timed_case.hpp"

namespace {

using namespace bench;

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#elif defined(__GNUC__)
constexpr const char* kCompiler = "g++ " __VERSION__;
#else
constexpr const char* kCompiler = "unknown";
#endif

/// What follows "name=" if the argument is that flag.
std::optional<std::string> flag(std::string_view argument, std::string_view name) {
  if (!argument.starts_with(name)) return std::nullopt;
  return std::string(argument.substr(name.size()));
}

int read_threads(const std::string& number) {
  int threads = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), threads);
  require(error == std::errc() && end == number.data() + number.size() && threads > 0,
      "--heed_threads takes a number of threads, 1 or more, not '", number, "'");
  return threads;
}

/// The benchmarks of a line "<family> <shape>"; none of an empty line or of what follows a #.
void add_line(std::string line) {
  line.resize(std::min(line.find('#'), line.size()));
  constexpr const char* kBlanks = " \t\r";
  std::string words[2];
  for (std::size_t i = line.find_first_not_of(kBlanks), count = 0; i != std::string::npos;
       i = line.find_first_not_of(kBlanks, i), ++count) {
    const std::size_t end = std::min(line.find_first_of(kBlanks, i), line.size());
    require(count < 2, "'", line.substr(i), "' follows behind the shape; a line is a family and a shape");
    words[count] = line.substr(i, end - i);
    i = end;
  }
  if (words[0].empty()) return;
  std::string known;
  for (const Family& family : families()) {
    if (family.name == words[0]) return family.add_shape(words[1]);
    known += (known.empty() ? "" : ", ") + family.name;
  }
  fail("'", words[0], "' is no family of benchmarks; there are ", known);
}

void add_file(const std::string& path) {
  std::error_code ignored;
  require(!std::filesystem::exists(path, ignored) || std::filesystem::is_regular_file(path, ignored), path,
      ": expected a file of shapes, found a folder, a device or a pipe");
  std::ifstream file(path);
  require(file.is_open(), path, ": the file cannot be read");
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    try {
      add_line(line);
    } catch (const std::invalid_argument& error) {
      fail(path, ':', number, ": ", error.what());
    }
  }
}

void print_help() {
  std::printf(
      "heed_benchmarks [--heed_threads=<number>]  threads that a call may use\n"
      "          [--heed_shapes=<file>]     instead of the list: a line for each workload, its family and its shape; # begins a comment\n"
      "          [--heed_naive]             also hold cases against plain loops, and name those in which these are faster\n");
  for (const Family& family : families()) std::printf("            %s %s\n", family.name.c_str(), family.form.c_str());
  std::printf("and the flags of Google Benchmark:\n");
}

void print_slower() {
  const AgainstNaive& all = against_naive();
  std::fprintf(stderr, "%zu of %d cases are slower than plain loops\n", all.slower.size(), all.cases);
  for (const auto& [name, ratio] : all.slower) std::fprintf(stderr, "  %-60s over_naive %.2f\n", name.c_str(), ratio);
}

int run(int argc, char** argv) {
  int kept = 1, threads = thread_count();
  bool listed = false;
  std::optional<std::string> shapes;
  for (int i = 1; i < argc; ++i) {
    if (const auto number = flag(argv[i], "--heed_threads="))
      threads = read_threads(*number);
    else if (auto path = flag(argv[i], "--heed_shapes="))
      shapes = std::move(path);
    else if (std::string_view(argv[i]) == "--heed_naive")
      against_naive().asked = true;
    else if (std::string_view(argv[i]) == "--help")
      print_help(), argv[kept++] = argv[i];
    else
      listed = listed || std::string_view(argv[i]).starts_with("--benchmark_list_tests"), argv[kept++] = argv[i];
  }
  argc = kept;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;

  if (shapes) {
    add_file(*shapes);
  } else {
    for (const Family& family : families())
      for (const std::string& shape : family.shapes) family.add_shape(shape);
  }
  const ThreadScope scope(threads);
  benchmark::AddCustomContext("heed_version", text(HEED_VERSION_MAJOR, '.', HEED_VERSION_MINOR, '.', HEED_VERSION_PATCH));
  benchmark::AddCustomContext("heed_compiler", kCompiler);
  benchmark::AddCustomContext("heed_isa", isa_name());
  benchmark::AddCustomContext("heed_threads", std::to_string(thread_count()));
  const std::size_t timed = benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  require(timed > 0 || listed, "nothing was timed: ", shapes ? *shapes + " holds no shape, or " : "",
      "no name fits --benchmark_filter; --benchmark_list_tests prints the names");
  if (against_naive().asked) print_slower();
  return failed_cases() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "heed_benchmarks: %s\n", error.what());
    return 2;
  }
}
