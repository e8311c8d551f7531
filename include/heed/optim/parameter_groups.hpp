// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <heed/core/error.hpp>

namespace heed::inline HEED_ABI {

/// What changes for the parameters whose name matches `pattern`: `{"*.bias", {.weight_decay = 0}}`. Changes that are not named keep the
/// optimiser's own options.
template <class Changes>
struct ParameterRule {
  std::string pattern;  ///< of a full name; `*` stands for any characters
  Changes changes;      ///< an optimiser's changes: AdamChanges, SgdChanges, MuonChanges
};

/// Does the whole name match? `*` stands for any run of characters, also an empty one and one with dots; every other character for itself.
inline bool name_matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, tried = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;  // behind the star, which takes nothing at first
      tried = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star;  // the last star takes one character more
      n = ++tried;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

/// For each name the position of the **first** rule that matches it, or `rules.size()` for the optimiser's own options.
/// A rule that gets no parameter is a mistake and throws std::invalid_argument.
template <class Named, class Changes>
std::vector<std::size_t> assign_groups(const std::vector<Named>& parameters, const std::vector<ParameterRule<Changes>>& rules) {
  std::vector<std::size_t> groups;
  std::vector<bool> matched(rules.size()), used(rules.size() + 1);  // used: and the optimiser's own options
  for (const Named& parameter : parameters) {
    std::size_t group = rules.size();
    for (std::size_t r = rules.size(); r-- > 0;)
      if (name_matches(rules[r].pattern, parameter.name)) {
        matched[r] = true;
        group = r;
      }
    used[group] = true;
    groups.push_back(group);
  }
  for (std::size_t r = 0; r < rules.size(); ++r) {
    require(matched[r], "parameter rule \"", rules[r].pattern, "\" matches none of the ", parameters.size(), " parameters (the first is ",
        parameters.empty() ? "missing" : parameters.front().name, "); use * for any run of characters");
    require(used[r], "parameter rule \"", rules[r].pattern, "\" gets no parameter: earlier rules take all that it matches");
  }
  return groups;
}

/// The options of every group: one set a rule, and the optimiser's own at the end.
template <class Options, class Changes>
std::vector<Options> group_options(const Options& own, const std::vector<ParameterRule<Changes>>& rules) {
  std::vector<Options> options;
  for (const auto& rule : rules) options.push_back(rule.changes.applied_to(own));
  options.push_back(own);
  return options;
}

}  // namespace heed::inline HEED_ABI
