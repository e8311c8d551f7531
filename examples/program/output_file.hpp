// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <heed/io/atomic_file.hpp>

namespace program {

/// Throws FileError unless the file that `option` names may be written, before there is work that would be lost: it is none of those that are `read`, it is not
/// there yet unless `overwrite` is set, and its folder takes new files. An empty `path` is no file, and always right.
inline void check_output(const std::string& path, std::string_view option, bool overwrite, const std::vector<std::string>& read) {
  if (path.empty()) return;
  std::error_code ignored;
  for (const std::string& other : read)
    heed::require<heed::FileError>(
        !std::filesystem::equivalent(path, other, ignored), path, ": ", option, " names a file that is read; choose another one");
  heed::require<heed::FileError>(overwrite || !std::filesystem::exists(path, ignored), path,
      ": the file exists already; choose another one, or replace it with --overwrite");
  const heed::AtomicFile tried(path);  // without `commit` nothing of it stays
}

/// The same of a picture that is written: its name must end in .png.
inline void check_picture_output(const std::string& path, std::string_view option, bool overwrite, const std::vector<std::string>& read) {
  heed::require<heed::FileError>(path.empty() || path.ends_with(".png") || path.ends_with(".PNG"), path, ": ", option,
      " writes a PNG file, expected a name that ends in .png");
  check_output(path, option, overwrite, read);
}

}  // namespace program
