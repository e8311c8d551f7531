// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <string>

/// A new empty folder in the system's place for temporary files, removed with all it holds at the end of the scope.
class ScratchFolder {
 public:
  ScratchFolder() {
    static std::atomic<int> counter{0};
    do {
      const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
      path_ = std::filesystem::temp_directory_path() / ("heed-test-" + std::to_string(now) + "-" + std::to_string(++counter));
    } while (!std::filesystem::create_directory(path_));  // somebody else has it: another name
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::string path() const { return path_.string(); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  /// Entries in the folder.
  long count() const {
    return static_cast<long>(std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
  }

 private:
  std::filesystem::path path_;
};
