// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <heed/io/atomic_file.hpp>

namespace program {

/// The folder of one training run: log.jsonl, one JSON record a line, and model.safetensors. Files appear whole or not at all, and a run that is
/// replaced stays until there is a new model to take its place.
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
    replaces_ = fs::exists(log_path(), ignored) || fs::exists(model_path(), ignored);
    heed::require<heed::FileError>(overwrite || !replaces_, folder,
        ": the folder holds a run; choose another one with --output, or replace that run with --overwrite");
  }

  /// Makes the folder and starts the log. Throws FileError.
  void open() {
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
      if (opened_) log({{"event", "failed"}, {"reason", error.what()}});
      throw;
    }
  }

  /// Adds a record to the log. The whole file is written again, so that a reader never sees half a line.
  void log(const nlohmann::ordered_json& record) {
    text_ += record.dump() + '\n';
    heed::write_file(writing_path(), text_);
  }

  /// The new run has written its model: now the log takes the place of the old one too.
  void model_is_written() {
    if (!std::exchange(replaces_, false)) return;
    std::error_code error;
    std::filesystem::rename(new_log_path(), log_path(), error);
    if (error) heed::fail<heed::FileError>(log_path(), ": cannot replace it: ", error.message());
  }

  std::string path() const { return folder_.string(); }
  std::string log_path() const { return (folder_ / "log.jsonl").string(); }
  std::string model_path() const { return (folder_ / "model.safetensors").string(); }

 private:
  std::string new_log_path() const { return log_path() + ".new"; }
  std::string writing_path() const { return replaces_ ? new_log_path() : log_path(); }

  std::filesystem::path folder_;
  std::string name_, text_;
  bool opened_ = false;
  bool replaces_ = false;  ///< an older run, until the new one has a model
};

}  // namespace program
