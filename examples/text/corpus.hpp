// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <heed/core/error.hpp>
#include <heed/io/utf8.hpp>

namespace text {

/// The files that `places` names: files as they are, of folders every .md and .txt below them; in the order of their names.
inline std::vector<std::filesystem::path> corpus_files(const std::vector<std::string>& places) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (const std::string& place : places) {
    std::error_code error;
    const auto kind = fs::status(place, error).type();
    if (kind == fs::file_type::regular) {
      files.push_back(place);
    } else if (kind == fs::file_type::directory) {
      std::vector<fs::path> found;
      for (fs::recursive_directory_iterator it(place, error), end; !error && it != end; it.increment(error))
        if (it->is_regular_file(error) && (it->path().extension() == ".md" || it->path().extension() == ".txt"))
          found.push_back(it->path());
      heed::require<heed::FileError>(!error, place, ": cannot read the folder: ", error.message());
      heed::require<heed::FileError>(!found.empty(), place, ": the folder holds no .md and no .txt files");
      std::sort(found.begin(), found.end());
      files.insert(files.end(), found.begin(), found.end());
    } else {
      heed::fail<heed::FileError>(place, ": there is no such file or folder; name text to learn with --data");
    }
  }
  return files;
}

/// All files one after the other, empty lines between them. Throws FileError for what cannot be read and what is not UTF-8.
inline std::string read_corpus(const std::vector<std::filesystem::path>& files) {
  std::string all;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(in), {}};
    heed::require<heed::FileError>(in.good() || in.eof(), file.string(), ": cannot be read");
    heed::require<heed::FileError>(heed::is_utf8(content), file.string(), ": expected text in UTF-8, found other bytes");
    all += content;
    all += "\n\n";
  }
  return all;
}

}  // namespace text
