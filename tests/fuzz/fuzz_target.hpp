// SPDX-License-Identifier: MIT
#pragma once

// A fuzz target is one function of a file's bytes, `LLVMFuzzerTestOneInput` (llvm.org/docs/LibFuzzer.html). Linked with libFuzzer (preset "fuzz") it searches for bytes
// that break a reader; linked with replay.cpp it is a test that reads the files of its corpus. Whatever the bytes are, a reader either
// reads them or throws FileError: anything else that it throws ends the program.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include <heed/core/error.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) { return {reinterpret_cast<const char*>(data), size}; }

/// `read()`, which may refuse the bytes with a sentence that names the file.
template <class Read>
void refused_or_read(const Read& read) {
  try {
    read();
  } catch (const heed::FileError& error) {
    if (std::string_view(error.what()).find("input") == std::string_view::npos) std::abort();
  }
}

/// What must hold of everything that was read.
inline void demand(bool holds) {
  if (!holds) std::abort();
}

/// A file of these bytes, for readers that want one. The name holds "input".
class File {
 public:
  File(const std::uint8_t* data, std::size_t size)
      : path_(std::filesystem::temp_directory_path() / heed::text("heed-fuzz-input-", own_number())) {
    std::FILE* file = std::fopen(path_.string().c_str(), "wb");
    if (!file || std::fwrite(data, 1, size, file) != size || std::fclose(file) != 0) std::abort();
  }
  ~File() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  /// Differs between processes that run side by side.
  static std::uintptr_t own_number() {
    static const std::uintptr_t number =
        reinterpret_cast<std::uintptr_t>(&number) ^
        static_cast<std::uintptr_t>(std::filesystem::file_time_type::clock::now().time_since_epoch().count());
    return number;
  }
  std::filesystem::path path_;
};

}  // namespace fuzz
