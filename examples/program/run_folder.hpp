// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <heed/core/shape.hpp>
#include <heed/io/atomic_file.hpp>

#include "json_text.hpp"

namespace program {

/// The folder of one training run: log.jsonl, one JSON record a line, model.safetensors, and while the run is not finished checkpoint.safetensors, if it
/// writes any. Files appear whole or not at all, and a run that is replaced stays until there is a new model, which was judged, to take its place.
class RunFolder {
 public:
  /// Chooses the folder and checks that it may be used; changes nothing. An empty `folder` stands for the next free runs/<name>-<number>, which
  /// `open` takes. Throws FileError.
  RunFolder(const std::string& folder, const std::string& name, bool overwrite) : folder_(folder), name_(name) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    if (folder.empty()) return;
    heed::require<heed::FileError>(
        !fs::exists(folder_, ignored) || fs::is_directory(folder_, ignored), folder, ": expected a folder, found a file");
    replaces_ = fs::exists(log_path(), ignored) || fs::exists(model_path(), ignored) || fs::exists(checkpoint_path(), ignored);
    heed::require<heed::FileError>(overwrite || !replaces_, folder,
        ": the folder holds a run; choose another one with --output, or replace that run with --overwrite");
  }

  /// The folder of a run that goes on from its checkpoint; changes nothing. Throws FileError if there is none.
  static RunFolder of_interrupted_run(const std::string& folder) {
    RunFolder result;
    result.folder_ = folder;
    std::error_code ignored;
    const bool finished =
        std::filesystem::exists(result.model_path(), ignored) && !std::filesystem::exists(result.checkpoint_path(), ignored);
    heed::require<heed::FileError>(std::filesystem::exists(result.checkpoint_path(), ignored), result.checkpoint_path(),
        ": there is no checkpoint to resume from",
        finished ? "; the run that the folder holds is finished, or made none (--checkpoint-every)" : "");
    return result;
  }

  /// The folder as a process sees it that leaves all writing to another one.
  static RunFolder of_onlooker(const std::string& folder) {
    RunFolder result;
    result.folder_ = folder;
    result.writes_ = false;
    return result;
  }
  /// Tells an onlooker which folder the other process has opened.
  void told(const std::string& folder) {
    if (!writes_) folder_ = folder;
  }

  /// Goes on with the first `records` of the log, what was written behind them is made again, and removes what writing left behind when the program was
  /// killed. Throws FileError.
  void reopen(heed::Index records) {
    if (!writes_) return;
    namespace fs = std::filesystem;
    text_ = heed::read_file(log_path());
    std::size_t end = 0;
    for (heed::Index i = 0; i < records; ++i) {
      end = text_.find('\n', end);
      heed::require<heed::FileError>(end != std::string::npos, log_path(), ": expected ", records, " records, found ", i,
          "; the log is not that of the checkpoint beside it");
      ++end;
    }
    text_.resize(end);
    heed::write_file(log_path(), text_);
    opened_ = true;
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_, ignored))
      if (heed::is_temporary_name(entry.path().filename().string())) fs::remove(entry.path(), ignored);
  }

  /// Makes the folder and starts the log. Throws FileError.
  void open() {
    if (!writes_) return;
    namespace fs = std::filesystem;
    std::error_code error;
    if (folder_.empty()) {
      fs::create_directories("runs", error);
      for (int number = 1; !error; ++number) {  // the first that this process makes: two runs never share one
        folder_ = fs::path("runs") / heed::text(name_, '-', number);
        if (fs::create_directory(folder_, error)) break;
      }
    } else {
      fs::create_directories(folder_, error);
    }
    if (error) heed::fail<heed::FileError>(folder_.string(), ": cannot make the folder: ", error.message());
    heed::write_file(writing_path(), "");
    opened_ = true;
  }

  /// Gives what `run()` gives. If that fails behind `open` (a loss that is no number, a full disk), the log says how the run ended.
  template <class Run>
  int logged(const Run& run) {
    try {
      return run();
    } catch (const std::runtime_error& error) {
      try {
        if (opened_) log({{"event", "failed"}, {"reason", error.what()}});
      } catch (const heed::FileError&) {  // the same full disk
      }
      throw;
    }
  }

  /// Adds a record to the log. The whole file is written again, so that a reader never sees half a line.
  void log(const nlohmann::ordered_json& record) {
    if (!writes_) return;
    text_ += json_text(record) + '\n';
    heed::write_file(writing_path(), text_);
  }

  /// The new run has written its model: now the log takes the place of the old one too, and then the old checkpoint goes. A program that is killed in between leaves
  /// nothing that --resume takes for what it is not: the old checkpoint goes on beside its own log, and beside the new log it is refused, unless the recipe is
  /// the same. (Two files cannot be renamed at once: for a moment the old log stands beside the new model, and log.jsonl.new, still there, says so.)
  void model_is_written() {
    if (!std::exchange(replaces_, false)) return;
    std::error_code error;
    std::filesystem::rename(new_log_path(), log_path(), error);
    if (error) heed::fail<heed::FileError>(log_path(), ": cannot replace it: ", error.message());
    remove_checkpoint();  // of the old run
  }

  /// The run is finished: there is nothing to resume.
  void remove_checkpoint() {
    std::error_code ignored;
    std::filesystem::remove(checkpoint_path(), ignored);
  }

  /// What the folder holds when the run has been stopped, in a sentence.
  std::string words_when_stopped() const {
    return replaces_
               ? heed::text("Nothing of this run is kept: it was not judged yet, and the run that it was to replace stays in ", path())
               : heed::text("The model so far is saved in ", model_path());
  }

  /// False for an onlooker.
  bool writes() const { return writes_; }
  /// Another run lies here, whose place this one has not taken yet.
  bool replaces() const { return replaces_; }
  /// Lines of the log.
  heed::Index records() const { return static_cast<heed::Index>(std::count(text_.begin(), text_.end(), '\n')); }

  std::string path() const { return folder_.string(); }
  std::string checkpoint_path() const { return (folder_ / "checkpoint.safetensors").string(); }
  std::string log_path() const { return (folder_ / "log.jsonl").string(); }
  std::string model_path() const { return (folder_ / "model.safetensors").string(); }

 private:
  RunFolder() = default;
  std::string new_log_path() const { return log_path() + ".new"; }
  std::string writing_path() const { return replaces_ ? new_log_path() : log_path(); }

  std::filesystem::path folder_;
  std::string name_, text_;
  bool opened_ = false;
  bool writes_ = true;
  bool replaces_ = false;  ///< an older run, until the new one has a model
};

}  // namespace program
