// SPDX-License-Identifier: MIT
// Texts to learn from: UTF-8, of which each character has a number.
#include "fuzz_target.hpp"
#include "text/corpus.hpp"
#include "text/vocabulary.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::File file(data, size);
  constexpr std::size_t kFactor = 96;  // a character may be one of its kind: a string in a tree, and in two lists
  fuzz::refused_or_read_within(kFactor, size, [&] {
    const std::string all = text::read_corpus({file.path()});
    fuzz::demand(all == std::string(fuzz::text_of(data, size)) + "\n\n");
    const text::Vocabulary vocabulary = text::Vocabulary::of(all);
    std::string again;
    for (const std::int64_t number : vocabulary.numbers(all)) again += vocabulary[number];
    fuzz::demand(again == all);
  });
  return 0;
}
