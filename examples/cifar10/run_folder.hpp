// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

#include <nlohmann/json.hpp>

#include <heed/io/atomic_file.hpp>

namespace cifar10 {

/// The folder of one training run: log.jsonl, one JSON record a line, and model.safetensors. Files appear whole or not at all.
class RunFolder {
 public:
  /// Chooses the folder and checks that it may be used; changes nothing. An empty `folder` stands for the next free runs/<net>-<number>.
  /// Throws FileError.
  RunFolder(const std::string& folder, const std::string& net, bool overwrite) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    if (folder.empty()) {
      int number = 1;
      do folder_ = fs::path("runs") / (heed::text(net, '-', number++));
      while (fs::exists(folder_, ignored));
      return;
    }
    folder_ = folder;
    heed::require<heed::FileError>(
        !fs::exists(folder_, ignored) || fs::is_directory(folder_, ignored), folder, ": expected a folder, found a file");
    heed::require<heed::FileError>(overwrite || (!fs::exists(log_path(), ignored) && !fs::exists(model_path(), ignored)), folder,
        ": the folder holds a run; choose another one with --output, or replace that run with --overwrite");
  }

  /// Makes the folder, and removes the run that it held. Throws FileError.
  void open() {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) heed::fail<heed::FileError>(folder_.string(), ": cannot make the folder: ", error.message());
    heed::write_file(log_path(), "");
    std::filesystem::remove(model_path(), error);
    if (error) heed::fail<heed::FileError>(model_path(), ": cannot remove it: ", error.message());
  }

  /// Adds a record to the log. The whole file is written again, so that a reader never sees half a line.
  void log(const nlohmann::ordered_json& record) {
    text_ += record.dump() + '\n';
    heed::write_file(log_path(), text_);
  }

  std::string path() const { return folder_.string(); }
  std::string log_path() const { return (folder_ / "log.jsonl").string(); }
  std::string model_path() const { return (folder_ / "model.safetensors").string(); }

 private:
  std::filesystem::path folder_;
  std::string text_;
};

}  // namespace cifar10
