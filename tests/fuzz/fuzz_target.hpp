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
#include <functional>
#include <string>
#include <string_view>

#include <heed/core/buffer_pool.hpp>
#include <heed/core/error.hpp>
#include <heed/core/parallel.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) { return {reinterpret_cast<const char*>(data), size}; }

/// What must hold of everything that was read.
inline void demand(bool holds) {
  if (!holds) std::abort();
}

/// `read()`, which may refuse the bytes with a sentence that names the file.
template <class Read>
void refused_or_read(const Read& read) {
  try {
    read();
  } catch (const heed::FileError& error) {
    demand(std::string_view(error.what()).find("input") != std::string_view::npos);
  }
}

/// The most bytes that were held at once while `body` ran, beside those that were held before; 0 where they cannot be counted.
std::size_t most_bytes(const std::function<void()>& body);

/// `body()`, which holds at most `factor` bytes of memory at once for each of a file's `size`, and what names, messages and the buffers of streams take.
template <class Body>
void within(std::size_t factor, std::size_t size, const Body& body) {
  constexpr std::size_t kBesides = std::size_t{1} << 15;
  // The threads of loops are made once and are no reader's: LLVM's OpenMP takes a megabyte for them.
  [[maybe_unused]] static const bool started = (heed::parallel_for(heed::thread_count(), 1, [](heed::Index, heed::Index) {}), true);
  const std::size_t most = most_bytes([&] {
    heed::BufferPool none;  // a buffer from its idle ones would not be counted
    none.set_limit(0);
    const heed::PoolScope scope(none);
    body();
  });
  if (most <= factor * size + kBesides) return;
  std::fprintf(stderr, "of a file of %zu bytes the reader made %zu\n", size, most);
  std::abort();
}
/// Both: how most readers are called.
template <class Read>
void refused_or_read_within(std::size_t factor, std::size_t size, const Read& read) {
  within(factor, size, [&] { refused_or_read(read); });
}

/// A file of these bytes, for readers that want one. The name holds "input".
class File {
 public:
  File(const std::uint8_t* data, std::size_t size)
      : path_(std::filesystem::temp_directory_path() / heed::text("heed-fuzz-input-", own_number())) {
    std::FILE* file = std::fopen(path_.string().c_str(), "wb");
    const bool written = file && (size == 0 || std::fwrite(data, 1, size, file) == size);  // libFuzzer's empty input is a null pointer
    if (!written || std::fclose(file) != 0) std::abort();
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
