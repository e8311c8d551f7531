// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <heed/core/config.hpp>

namespace program {

inline constexpr int kBadInput = 2;  ///< the exit code of everything that ends with a sentence

/// A check that reads as the library's sentences do: of a number that `fits`, which NaN must not do.
template <class Fits>
CLI::Validator number_that(const Fits& fits, const std::string& what) {
  return {[fits, what](std::string& given) {
            double value = 0;
            return CLI::detail::lexical_cast(given, value) && fits(value) ? std::string()
                                                                          : fmt::format("{} expected, '{}' given", what, given);
          },
      what};
}
inline CLI::Validator between(double least, double most, const std::string& what) {
  return number_that([least, most](double value) { return value >= least && value <= most; }, what);
}
inline CLI::Validator at_least(double least, const std::string& what) { return between(least, 1e15, what); }
/// 0 ... 1, without 1.
inline CLI::Validator share() {
  return number_that([](double value) { return value >= 0 && value < 1; }, "a number from 0 to below 1");
}

/// An option that is a whole number from `least`.
template <class Number>
CLI::Option* add_whole(CLI::App* command, const char* name, Number& value, int least, const char* what) {
  return command->add_option(name, value, what)->check(at_least(least, fmt::format("a whole number from {}", least)));
}
/// An option that is a whole number from `least` to `most`; its default is shown.
template <class Number>
CLI::Option* add_within(CLI::App* command, const char* name, Number& value, int least, int most, const char* what) {
  return command->add_option(name, value, what)->check(CLI::Range(least, most))->type_name("N")->capture_default_str();
}
/// --threads; without it the value stays.
inline CLI::Option* add_threads(CLI::App* command, int& threads) {
  return command->add_option("--threads", threads, "Threads to use (all cores)")->check(CLI::Range(1, 1024));
}

/// --version, and that one of the subcommands must be given.
inline void prepare(CLI::App& app) {
  app.set_version_flag(
      "--version", fmt::format("{}, heed {}.{}.{}", app.get_name(), HEED_VERSION_MAJOR, HEED_VERSION_MINOR, HEED_VERSION_PATCH));
  app.require_subcommand(1);
}

/// Reads the arguments and returns what `action()` returns; whatever goes wrong ends with a sentence on stderr.
template <class Action>
int run(CLI::App& app, int argc, char** argv, const Action& action) {
  const std::string name = app.get_name();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    fmt::print(stderr, "{}: {}\nTry {} --help.\n", name, error.what(), name);
    return kBadInput;
  }
  try {
    const int code = action();
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
    fmt::print(stderr, "{}: the output could not be written; is the disk full?\n", name);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "{}: not enough memory\n", name);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
  }
  return kBadInput;
}

}  // namespace program
