// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/core/shape.hpp>
#include <heed/io/utf8.hpp>

namespace text {

/// The characters that a model knows, each a piece of UTF-8, sorted; a character's number is its place.
class Vocabulary {
 public:
  Vocabulary() = default;
  explicit Vocabulary(std::vector<std::string> characters) : characters_(std::move(characters)) {
    for (std::size_t i = 0; i < characters_.size(); ++i) numbers_[characters_[i]] = static_cast<std::int64_t>(i);
  }
  /// All characters of `text`, which is UTF-8.
  static Vocabulary of(std::string_view text) {
    std::vector<std::string> characters;
    std::map<std::string, bool, std::less<>> seen;
    for (; !text.empty(); text.remove_prefix(heed::utf8_length(text)))
      if (const auto character = text.substr(0, heed::utf8_length(text)); !seen.contains(character)) seen[std::string(character)] = true;
    for (const auto& [character, known] : seen) characters.push_back(character);
    return Vocabulary(std::move(characters));
  }

  heed::Index size() const { return static_cast<heed::Index>(characters_.size()); }
  const std::vector<std::string>& characters() const { return characters_; }
  const std::string& operator[](std::int64_t number) const { return characters_[static_cast<std::size_t>(number)]; }

  /// The numbers of the characters of `text`. Throws std::invalid_argument for what is no UTF-8 and for characters that are not known.
  std::vector<std::int64_t> numbers(std::string_view text) const {
    std::vector<std::int64_t> result;
    for (std::size_t length; !text.empty(); text.remove_prefix(length)) {
      length = heed::utf8_length(text);
      heed::require(length > 0, "the text is not UTF-8 from character ", result.size() + 1, " on");
      const auto found = numbers_.find(text.substr(0, length));
      heed::require(found != numbers_.end(), "the model does not know the character '", text.substr(0, length),
          "': the text that it was trained on has none");
      result.push_back(found->second);
    }
    return result;
  }

 private:
  std::vector<std::string> characters_;
  std::map<std::string, std::int64_t, std::less<>> numbers_;
};

}  // namespace text
