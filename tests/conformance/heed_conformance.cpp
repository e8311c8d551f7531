// SPDX-License-Identifier: MIT
// heed_conformance DIR... [--verbose]: runs reference cases through the library, in float and in double.
//
// For each operator a line "operator passed failed unsupported", in the end "N passed, N failed, N unsupported" cases. A case passes when
// float and double both pass, forward and gradients. A feature that the library does not have is unsupported, never passed.
// Exit code: 0, 1 if a case fails, 2 for a folder without cases, a file that cannot be read or a wrong argument.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>

#include "adapters.hpp"

namespace conformance {
namespace {

enum class Outcome { passed, failed, unsupported };

/// What became of a case, in one scalar type or as a whole.
struct Verdict {
  Outcome outcome = Outcome::passed;
  std::string words;  ///< the largest error, or the reason
};

/// Runs the case in T and judges it.
template <class T>
Verdict judge(const ReferenceCase& reference, void (*adapter)(Run<T>&)) {
  Run<T> run(reference);
  try {
    adapter(run);
  } catch (const Unsupported& feature) {
    return {Outcome::unsupported, feature.reason};
  } catch (const std::exception& error) {
    return {Outcome::failed, error.what()};
  }
  const Comparison* worst = nullptr;
  for (const Comparison& c : run.comparisons())
    if (!worst || c.use() > worst->use()) worst = &c;
  if (!worst) return {Outcome::failed, "nothing was compared"};
  std::string words;
  if (!worst->fault.empty()) {
    words = heed::text(worst->tensor, ": ", worst->fault);
  } else {
    char figures[160];
    std::snprintf(
        figures, sizeof figures, "error %.2g (largest element %.2g, tolerance %.2g)", worst->error, worst->magnitude, worst->tolerance);
    words = heed::text(worst->tensor, ' ', figures);
  }
  if (!worst->passed()) return {Outcome::failed, words};
  const auto unused = run.unused();
  if (!unused.empty()) return {Outcome::failed, heed::text("the adapter does not look at ", unused.front())};
  return {Outcome::passed, words};
}

Verdict judge(const ReferenceCase& reference, const Adapters& adapters) {
  const auto adapter = adapters.find(reference.operation());
  if (adapter == adapters.end()) return {Outcome::unsupported, "no adapter for operator " + reference.operation()};
  for (const auto& entry : reference.file().entries())
    if (entry.dtype == heed::Dtype::f16 || entry.dtype == heed::Dtype::bf16)
      return {Outcome::unsupported, heed::text("tensors of ", heed::dtype_name(entry.dtype), ": the library computes in float and double")};
  const Verdict in_double = judge<double>(reference, adapter->second.in_double);
  const Verdict in_float = judge<float>(reference, adapter->second.in_float);
  // A failure in either type is the case's; what is unsupported in one is not a pass.
  Outcome outcome = Outcome::passed;
  for (const Verdict& verdict : {in_double, in_float})
    if (verdict.outcome == Outcome::failed || (verdict.outcome == Outcome::unsupported && outcome == Outcome::passed))
      outcome = verdict.outcome;
  if (outcome == Outcome::unsupported) return {outcome, in_double.outcome == outcome ? in_double.words : in_float.words};
  return {outcome, heed::text("double ", in_double.words, "; float ", in_float.words)};
}

/// Every *.safetensors in the folder and the folders below it, in the order of their paths.
std::vector<std::string> cases_of(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code cause;
  heed::require<heed::FileError>(fs::is_directory(folder, cause), folder, ": this is no folder");
  std::vector<std::string> paths;
  fs::recursive_directory_iterator walk(folder, cause), end;
  for (; !cause && walk != end; walk.increment(cause))
    if (walk->path().extension() == ".safetensors") paths.push_back(walk->path().string());
  heed::require<heed::FileError>(!cause, folder, ": cannot list the folder: ", cause.message());
  heed::require<heed::FileError>(!paths.empty(), folder, ": there are no reference cases (*.safetensors) in this folder");
  std::sort(paths.begin(), paths.end());
  return paths;
}

struct Tally {
  int counts[3] = {};
  std::vector<std::string> lines;  ///< one a case
};

int run(const std::vector<std::string>& folders, bool verbose) {
  Adapters adapters;
  add_row_adapters(adapters);
  add_image_adapters(adapters);
  add_attention_adapters(adapters);
  add_loss_adapters(adapters);
  add_optimizer_adapters(adapters);
  add_net_adapters(adapters);
  add_onnx_row_adapters(adapters);
  add_onnx_image_adapters(adapters);
  add_onnx_attention_adapters(adapters);
  add_onnx_position_adapters(adapters);
  add_onnx_loss_adapters(adapters);
  add_onnx_optimizer_adapters(adapters);

  constexpr const char* kOutcomes[] = {"passed", "failed", "unsupported"};
  std::map<std::string, Tally> operators;
  int total[3] = {};
  for (const std::string& folder : folders)
    for (const std::string& path : cases_of(folder)) {
      const ReferenceCase reference(path);
      const Verdict verdict = judge(reference, adapters);
      const int outcome = static_cast<int>(verdict.outcome);
      Tally& tally = operators[reference.operation()];
      ++tally.counts[outcome];
      ++total[outcome];
      if (verbose || verdict.outcome == Outcome::failed)
        tally.lines.push_back(heed::text("  ", kOutcomes[outcome], ' ', reference.name(), ": ", verdict.words));
    }
  for (const auto& [name, tally] : operators) {
    std::printf("%s %d %d %d\n", name.c_str(), tally.counts[0], tally.counts[1], tally.counts[2]);
    for (const std::string& line : tally.lines) std::printf("%s\n", line.c_str());
  }
  std::printf("%d passed, %d failed, %d unsupported\n", total[0], total[1], total[2]);
  return total[1] > 0 ? 1 : 0;
}

}  // namespace
}  // namespace conformance

int main(int argc, char** argv) {
  std::vector<std::string> folders;
  bool verbose = false, usage = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--verbose")
      verbose = true;
    else if (argument.starts_with("-"))
      usage = true;
    else
      folders.push_back(argument);
  }
  if (usage || folders.empty()) {
    std::fprintf(stderr,
        "usage: heed_conformance DIR... [--verbose]\nRuns the reference cases (*.safetensors) in the folders through the library.\n");
    return 2;
  }
  try {
    return conformance::run(folders, verbose);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "heed_conformance: %s\n", error.what());
    return 2;
  }
}
