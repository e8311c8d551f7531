// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "run_log.hpp"
#include "statistics.hpp"

namespace cifar10 {

/// A finished run, with what its log says of recipe and data.
struct FinishedRun {
  std::string name;
  Json recipe, result;
};

/// The results that one table may compare: of each net the runs with recipe and data of its first, and of these the last with each arm and seed. `left_out`
/// gets a sentence for each other.
inline std::vector<Json> comparable(const std::vector<FinishedRun>& runs, std::vector<std::string>& left_out) {
  std::map<std::string, const FinishedRun*> first;  // of each net
  std::vector<const FinishedRun*> kept;
  for (const FinishedRun& run : runs) {
    const FinishedRun& model = *first.try_emplace(run.result.at("net"), &run).first->second;
    if (const std::string key = first_difference(model.recipe, run.recipe); !key.empty()) {
      left_out.push_back(fmt::format("{} is left out: it was made with {} {}, {} with {}.", run.name, key,
          run.recipe.value(key, Json()).dump(), model.name, model.recipe.at(key).dump()));
      continue;
    }
    const auto same = std::find_if(kept.begin(), kept.end(), [&](const FinishedRun* other) {
      return first_difference(
          {{"net", run.result.at("net")}, {"attention", run.result.at("attention")}, {"seed", run.result.at("seed")}}, other->result)
          .empty();
    });
    if (same == kept.end()) {
      kept.push_back(&run);
      continue;
    }
    left_out.push_back(fmt::format("{} is left out: {} has the same net, attention and seed, and comes later.", (*same)->name, run.name));
    *same = &run;
  }
  std::vector<Json> results;
  for (const FinishedRun* run : kept) results.push_back(run->result);
  return results;
}

/// The runs of one net with one thing in the place of attention.
struct Arm {
  std::string net, attention;
  std::map<std::uint64_t, Json> runs;  ///< their results, by seed

  /// Of a measure, in %.
  Summary accuracy(const char* measure) const {
    std::vector<double> all;
    for (const auto& [seed, run] : runs) all.push_back(100 * run.at(measure).get<double>());
    return summarize(all);
  }
  /// The measure's distance to that of `other`, in points, over the pairs of one seed.
  Summary above(const Arm& other, const char* measure) const {
    std::vector<double> all;
    for (const auto& [seed, run] : runs)
      if (const auto pair = other.runs.find(seed); pair != other.runs.end())
        all.push_back(100 * (run.at(measure).get<double>() - pair->second.at(measure).get<double>()));
    return summarize(all);
  }
};

/// The arms of results, in the order in which they come first. Of two runs from one seed the later counts.
inline std::vector<Arm> arms_of(const std::vector<Json>& results) {
  std::vector<Arm> arms;
  for (const Json& result : results) {
    const std::string net = result.at("net"), attention = result.at("attention");
    auto arm = std::find_if(arms.begin(), arms.end(), [&](const Arm& a) { return a.net == net && a.attention == attention; });
    if (arm == arms.end()) arm = arms.insert(arms.end(), {net, attention, {}});
    arm->runs[result.at("seed").get<std::uint64_t>()] = result;
  }
  return arms;
}

/// The arm with attention of the same net; null if there is none, or it is this one.
inline const Arm* attending(const std::vector<Arm>& arms, const Arm& arm) {
  const auto full = std::find_if(arms.begin(), arms.end(), [&](const Arm& a) { return a.net == arm.net && a.attention == "full"; });
  return full == arms.end() || &*full == &arm ? nullptr : &*full;
}

/// "90.78 ± 0.12": mean and deviation of the runs.
inline std::string mean_and_deviation(const Summary& s) {
  return s.count == 0 ? "–" : s.count == 1 ? fmt::format("{:.2f}", s.mean) : fmt::format("{:.2f} ± {:.2f}", s.mean, s.deviation);
}
/// "+1.50 [+0.90, +2.10]": mean and the interval that holds it with 95 %.
inline std::string mean_and_interval(const Summary& s) {
  return s.count == 0   ? "–"
         : s.count == 1 ? fmt::format("{:+.2f}", s.mean)
                        : fmt::format("{:+.2f} [{:+.2f}, {:+.2f}]", s.mean, s.mean - s.margin(), s.mean + s.margin());
}

}  // namespace cifar10
