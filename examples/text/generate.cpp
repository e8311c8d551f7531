// SPDX-License-Identifier: MIT
#include <chrono>

#include <fmt/core.h>

#include <heed/core/parallel.hpp>

#include "../program/interrupt.hpp"
#include "../program/threads.hpp"
#include "language_model.hpp"
#include "writer.hpp"

namespace text {

int generate(const GenerateOptions& options) {
  const program::Threads threads(options.threads);
  const LanguageModel model = load(options.model);
  heed::require(!options.prompt.empty(), "--prompt is empty: the model continues at least one character");
  Writer writer(model, model.vocabulary.numbers(options.prompt), options.temperature, options.seed, !options.no_cache);
  const program::InterruptScope interrupt;
  fmt::print("{}", options.prompt);
  const auto start = std::chrono::steady_clock::now();
  Index written = 0;
  for (; written < options.length && !program::InterruptScope::requested(); ++written) {
    fmt::print("{}", model.vocabulary[writer.next()]);
    std::fflush(stdout);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("\n");
  std::fflush(stdout);
  // Beside the text, so that that can go to a file.
  fmt::print(stderr, "\n{} characters in {:.2f} s, {:.0f} characters/s {} the cache of keys and values\n", written, seconds,
      static_cast<double>(written) / std::max(seconds, 1e-9), options.no_cache ? "without" : "with");
  return written < options.length ? program::kInterrupted : 0;
}

}  // namespace text
