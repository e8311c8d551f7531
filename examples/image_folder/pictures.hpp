// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <heed/core/parallel.hpp>
#include <heed/data/dataset.hpp>
#include <heed/data/shuffle.hpp>

#include "../program/picture_file.hpp"
#include "options.hpp"

namespace image_folder {

/// The pictures of a folder with a folder for each class, as a net sees them, and how they are divided.
struct Pictures {
  heed::ImageDataset images;
  std::vector<Index> learned, held_out;  ///< numbers of images
  std::vector<std::string> unreadable;   ///< a sentence for each picture that was left out
  std::vector<std::string> unknown;      ///< what else was: files of other kinds, and folders without pictures
};

namespace detail {
namespace fs = std::filesystem;

inline bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

/// What the name ends with, in small letters: ".jpg".
inline std::string kind_of(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}
inline bool is_picture(const std::string& kind) {
  return kind == ".png" || kind == ".jpg" || kind == ".jpeg" || kind == ".ppm" || kind == ".pgm";
}

/// What a folder of classes holds.
struct Found {
  std::vector<std::pair<std::string, std::vector<std::string>>> classes;  ///< name and pictures, by name
  std::map<std::string, Index> other_kinds;                               ///< how many files of each
  std::vector<std::string> empty;                                         ///< folders without pictures

  /// What is left out, in sentences.
  std::vector<std::string> left_out() const {
    std::vector<std::string> sentences;
    Index count = 0;
    std::string kinds, folders;
    for (const auto& [kind, files] : other_kinds) {
      count += files;
      kinds += heed::text(kinds.empty() ? "" : ", ", files, ' ', kind.empty() ? "without an ending" : kind);
    }
    if (count > 0) sentences.push_back(heed::text(count, count == 1 ? " file" : " files", " of kinds that are not read: ", kinds));
    for (const std::string& name : empty) folders += (folders.empty() ? "" : ", ") + name;
    if (!empty.empty())
      sentences.push_back(
          heed::text(empty.size(), empty.size() == 1 ? " folder" : " folders", " without PNG, JPEG or PPM pictures: ", folders));
    return sentences;
  }
};

/// The pictures in a folder and the folders in it, in the order of their names; what is hidden is left out, files of other kinds are counted.
inline std::vector<std::string> picture_files(const fs::path& folder, std::map<std::string, Index>& other_kinds) {
  std::vector<std::string> files;
  for (fs::recursive_directory_iterator at(folder), end; at != end; ++at) {
    if (is_hidden(at->path())) {
      if (at->is_directory()) at.disable_recursion_pending();
    } else if (at->is_regular_file()) {
      if (const std::string kind = kind_of(at->path()); is_picture(kind))
        files.push_back(at->path().string());
      else
        ++other_kinds[kind];
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The folders of the classes; those without pictures are none.
inline Found classes_in(const std::string& folder) {
  Found found;
  try {
    if (!fs::exists(folder)) heed::fail<heed::FileError>(folder, ": no such folder");
    if (!fs::is_directory(folder)) heed::fail<heed::FileError>(folder, ": expected a folder, found a file");
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      if (!entry.is_directory() || is_hidden(entry.path())) continue;
      auto files = picture_files(entry.path(), found.other_kinds);
      const std::string name = entry.path().filename().string();
      if (files.empty())
        found.empty.push_back(name);
      else
        found.classes.emplace_back(name, std::move(files));
    }
  } catch (const fs::filesystem_error& error) {
    heed::fail<heed::FileError>(error.path1().string(), ": cannot be read: ", error.code().message());
  }
  std::sort(found.classes.begin(), found.classes.end());
  std::sort(found.empty.begin(), found.empty.end());
  std::string left_out;
  for (const std::string& words : found.left_out()) left_out += "; " + words;
  heed::require<heed::FileError>(found.classes.size() >= 2, folder,
      ": expected a folder of PNG, JPEG or PPM pictures for each of two or more classes (", (fs::path(folder) / "cat" / "1.jpg").string(),
      ", ", (fs::path(folder) / "dog" / "1.jpg").string(), "), found ", found.classes.size(), left_out);
  return found;
}
}  // namespace detail

/// Reads all pictures, as `size` x `size` pixels of their centred squares: 3 size² bytes each in memory. What cannot be read is left out and named. Of each
/// class the share `held_out`, at least one picture unless it is 0, is held out: which ones depends on the files alone. Throws FileError if there are fewer than
/// two classes, or if a class has too few pictures.
inline Pictures read_pictures(const std::string& folder, Index size, double held_out) {
  const detail::Found found = detail::classes_in(folder);
  std::vector<std::string> files, names;
  std::vector<int> labels;
  for (const auto& [name, of_class] : found.classes) {
    files.insert(files.end(), of_class.begin(), of_class.end());
    labels.insert(labels.end(), of_class.size(), static_cast<int>(names.size()));
    names.push_back(name);
  }
  const Index count = static_cast<Index>(files.size()), pixels = size * size * 3;
  heed::Tensor<std::uint8_t, 4> images({count, size, size, 3});
  std::vector<std::string> errors(files.size());
  heed::parallel_for(count, 1, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const auto at = static_cast<std::size_t>(i);
      try {
        std::copy_n(program::centred(program::load_picture(files[at]), size).data(), pixels, images.data() + i * pixels);
      } catch (const std::exception& error) {  // nothing leaves a parallel loop
        errors[at] = error.what();
      }
    }
  });

  Pictures result;
  result.unknown = found.left_out();
  std::vector<std::vector<Index>> of_class(names.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (errors[i].empty())
      of_class[static_cast<std::size_t>(labels[i])].push_back(static_cast<Index>(i));
    else
      result.unreadable.push_back(errors[i]);
  }
  for (std::size_t c = 0; c < names.size(); ++c) {
    const Index here = static_cast<Index>(of_class[c].size());
    const Index out = held_out > 0 ? std::max<Index>(1, static_cast<Index>(held_out * static_cast<double>(here) + 0.5)) : 0;
    heed::require<heed::FileError>(out < here, folder, ": class \"", names[c], "\" has ", here, " readable pictures, of which ", out,
        " are held out; expected one more at least", result.unreadable.empty() ? "" : " (",
        result.unreadable.empty() ? "" : result.unreadable.front(), result.unreadable.empty() ? "" : ")");
    const std::vector<Index> order = heed::shuffled(here, 0, 0);
    for (Index i = 0; i < here; ++i)
      (i < out ? result.held_out : result.learned).push_back(of_class[c][static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
  }
  result.images = heed::ImageDataset(std::move(images), std::move(labels), static_cast<int>(names.size()), names);
  return result;
}

}  // namespace image_folder
