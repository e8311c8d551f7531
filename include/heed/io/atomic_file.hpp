// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <system_error>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

#include <heed/core/error.hpp>
#include <heed/core/random.hpp>

namespace heed::inline HEED_ABI {

namespace detail {
/// What stands between a path and the digits of its temporary name, and how many digits there are.
inline constexpr std::string_view kPartMark = ".part-";
inline constexpr std::size_t kPartDigits = 16;
}  // namespace detail

/// Whether a file's name ends as AtomicFile's temporary ones do. A program that is killed while it writes leaves such a file behind.
inline bool is_temporary_name(std::string_view name) {
  if (name.size() <= detail::kPartMark.size() + detail::kPartDigits) return false;
  const std::string_view digits = name.substr(name.size() - detail::kPartDigits);
  name.remove_suffix(detail::kPartDigits);
  return name.ends_with(detail::kPartMark) && digits.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Writes a file so that `path` holds either what it held before or all of the new content, never a part: the bytes go to a temporary
/// name in the same folder (`path` + ".part-" and 16 hexadecimal digits), `commit` flushes them to the device and renames. Without
/// `commit`, and after any failure, the temporary file is removed and `path` is untouched. A symbolic link stays one: the file that it
/// points to is replaced, or made if it is not there. The new file has the old one's permissions, from its first byte on. Throws FileError "`path`: cannot ...: cause".
class AtomicFile {
 public:
  /// Opens the temporary file.
  explicit AtomicFile(const std::string& path) : path_(path) {
    namespace fs = std::filesystem;
    std::error_code cause;
    const fs::file_status status = fs::status(path, cause);
    require<FileError>(!fs::is_directory(status), path, ": cannot write: it is a folder");
    require<FileError>(!fs::exists(status) || fs::is_regular_file(status), path, ": cannot write: it is not a regular file");
    target_ = path;
    constexpr int kMostLinks = 40;  // Linux's own limit
    for (int links = 0; fs::is_symlink(fs::symlink_status(target_, cause)); ++links) {
      require<FileError>(
          links < kMostLinks, path, ": cannot write: more than ", kMostLinks, " symbolic links lead on from it; is it a loop?");
      target_ = target_.parent_path() / fs::read_symlink(target_, cause);  // an absolute one takes the place of all before it
    }
    // Two writers of one path, in this process or another, need two temporary names; "x" refuses a name that is taken.
    static std::atomic<std::uint64_t> counter{0};
    constexpr int kAttempts = 8;
    for (int attempt = 0; attempt < kAttempts && !file_; ++attempt) {
      const auto now = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
      char digits[detail::kPartDigits + 1];
      std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(mix_bits(now ^ mix_bits(++counter))));
      temporary_ = target_;
      temporary_ += text(detail::kPartMark, digits);
      file_ = std::fopen(temporary_.string().c_str(), "wbx");
      if (!file_ && errno != EEXIST) break;
    }
    if (!file_) fail<FileError>(path, ": cannot create a temporary file beside it: ", std::strerror(errno));
    if (!fs::exists(status)) return;
    fs::permissions(temporary_, status.permissions(), cause);
    if (!cause) return;
    discard();
    fail<FileError>(path, ": cannot give its permissions to the temporary file: ", cause.message());
  }
  ~AtomicFile() { discard(); }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends bytes. Throws FileError where the device is full.
  void write(const void* data, std::size_t bytes) {
    require(file_ != nullptr, path_, ": cannot write after commit");
    if (bytes > 0 && std::fwrite(data, 1, bytes, file_) != bytes) give_up("write");
  }
  /// The same.
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }

  /// Makes the new content visible under `path`. (The folder's entry itself is not flushed: after a power failure the old file may be
  /// found, but no torn one.)
  void commit() {
    require(file_ != nullptr, path_, ": cannot commit twice");
    if (std::fflush(file_) != 0 || !flush_to_device()) give_up("flush");
    std::FILE* file = file_;
    file_ = nullptr;
    if (std::fclose(file) != 0) give_up("close");
    std::error_code cause;
    std::filesystem::rename(temporary_, target_, cause);
    if (cause) {
      std::error_code ignored;
      std::filesystem::remove(temporary_, ignored);
      fail<FileError>(path_, ": cannot rename the temporary file to it: ", cause.message());
    }
    temporary_.clear();
  }

 private:
  bool flush_to_device() {
#if defined(_WIN32)
    return _commit(_fileno(file_)) == 0;
#else
    return fsync(fileno(file_)) == 0 || errno == EINVAL;  // some file systems cannot and say so
#endif
  }
  [[noreturn]] void give_up(const char* what) {
    const std::string cause = std::strerror(errno);
    discard();
    fail<FileError>(path_, ": cannot ", what, ": ", cause);
  }
  void discard() noexcept {
    if (file_) std::fclose(file_);
    file_ = nullptr;
    std::error_code ignored;
    if (!temporary_.empty()) std::filesystem::remove(temporary_, ignored);
    temporary_.clear();
  }

  std::string path_;
  std::filesystem::path target_, temporary_;
  std::FILE* file_ = nullptr;
};

/// Replaces the content of `path` by `content`, all or nothing (see AtomicFile).
inline void write_file(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

namespace detail {
/// Room for a file's bytes. Throws FileError if there is none.
inline void reserve_file(std::string& content, std::uintmax_t bytes, const std::string& path) {
  const auto reserve = [&] {
    if (bytes > content.max_size()) return false;
    content.reserve(static_cast<std::size_t>(bytes));
    return true;
  };
#if defined(__cpp_exceptions)
  const auto reserved = [&] {
    try {
      return reserve();
    } catch (const std::bad_alloc&) {
      return false;
    }
  };
#else
  const auto& reserved = reserve;
#endif
  require<FileError>(reserved(), path, ": does not fit into memory (", bytes, " bytes)");
}
}  // namespace detail

/// All bytes of a regular file: devices and pipes, which may never end, are none. Throws FileError "`path`: cannot ...: cause", or if it does not fit
/// into memory.
inline std::string read_file(const std::string& path) {
  std::error_code cause;
  const std::filesystem::file_status status = std::filesystem::status(path, cause);
  require<FileError>(!std::filesystem::is_directory(status), path, ": cannot read: it is a folder");
  require<FileError>(!std::filesystem::exists(status) || std::filesystem::is_regular_file(status), path,
      ": cannot read: it is a device or a pipe, expected a regular file");
  std::string content;
  const std::uintmax_t size = std::filesystem::file_size(path, cause);
  if (!cause) detail::reserve_file(content, size, path);
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) fail<FileError>(path, ": cannot open: ", std::strerror(errno));
  char block[1 << 16];
  while (const std::size_t count = std::fread(block, 1, sizeof block, file)) content.append(block, count);
  const int error = std::ferror(file) ? errno : 0;
  std::fclose(file);
  if (error != 0) fail<FileError>(path, ": cannot read: ", std::strerror(error));
  return content;
}

}  // namespace heed::inline HEED_ABI
