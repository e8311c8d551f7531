// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/core.h>

#include <heed/data/cifar.hpp>
#include <heed/data/generated.hpp>
#include <heed/data/normalize.hpp>

namespace cifar10 {

struct DataSource {
  heed::TrainTest images;
  std::string folder;
  bool generated = false;

  /// As the log calls it.
  const char* name() const { return generated ? "generated" : "cifar10"; }
};

/// Folders that may hold the data when nobody names one: data/cifar-10-batches-bin here and in the source tree.
inline std::vector<std::filesystem::path> usual_data_folders() {
  std::vector<std::filesystem::path> folders{std::filesystem::path("data") / "cifar-10-batches-bin"};
#ifdef CIFAR10_SOURCE_ROOT
  folders.push_back(std::filesystem::path(CIFAR10_SOURCE_ROOT) / "data" / "cifar-10-batches-bin");
#endif
  return folders;
}

/// The folder of the data: `folder`, else $CIFAR10_DIR, else that of `usual_data_folders` which holds them; empty if there is none.
inline std::string data_folder(const std::string& folder) {
  if (!folder.empty()) return folder;
  if (const char* named = std::getenv("CIFAR10_DIR"); named && *named) return named;
  std::error_code ignored;
  for (const std::filesystem::path& usual : usual_data_folders())
    if (std::filesystem::exists(usual / "data_batch_1.bin", ignored)) return usual.string();
  return "";
}

/// Where the generated sample set lies if there is no other.
inline std::filesystem::path generated_folder() { return std::filesystem::path("data") / "generated-batches-bin"; }

/// The files that `find_data` reads, over which nothing may be written.
inline std::vector<std::string> data_files(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code ignored;
  const std::filesystem::path named = data_folder(folder);
  for (const auto& entry : std::filesystem::directory_iterator(named.empty() ? generated_folder() : named, ignored))
    if (entry.path().extension() == ".bin" || entry.path().filename() == "batches.meta.txt") files.push_back(entry.path().string());
  return files;
}

/// Reads CIFAR-10 from `folder`, else from $CIFAR10_DIR, else from one of `usual_data_folders`. A folder that somebody named must be right: what
/// is wrong with it is an error. If nobody named one and there is none, the generated sample set is written to a folder beside the usual
/// one and read from there, which is said aloud (where several processes do it, by one that `says`).
inline DataSource find_data(std::string folder, bool says = true) {
  namespace fs = std::filesystem;
  folder = data_folder(folder);
  std::error_code ignored;

  const auto note = [&](const auto& words, const auto&... parts) {
    if (says) fmt::print(stderr, fmt::runtime(words), parts...);
  };
  DataSource source{.images = {}, .folder = folder};
  if (folder.empty()) {
    source.folder = generated_folder().string();
    note(
        "\n"
        "  *** CIFAR-10 was not found: this is the GENERATED SAMPLE SET, drawn shapes and no photographs. ***\n"
        "  *** Its accuracies cannot be compared with anything. For the real data name their folder with   ***\n"
        "  *** --data or $CIFAR10_DIR, or unpack cifar-10-binary.tar.gz in data/.                           ***\n"
        "\n");
    // The test batch is written last, each file under a name of its own until it is whole: where it is, the set is whole.
    if (!fs::exists(fs::path(source.folder) / "test_batch.bin", ignored)) heed::write_generated_set(source.folder);
  }
  source.images = heed::load_cifar10(source.folder);
  source.generated = heed::is_generated(source.images.train);
  if (source.generated && !folder.empty())
    note("\n  *** {} holds the GENERATED SAMPLE SET: drawn shapes and no photographs. ***\n\n", folder);
  constexpr heed::Index kTrainImages = 50000, kTestImages = 10000;  // of the whole CIFAR-10
  if (!source.generated && (source.images.train.size() != kTrainImages || source.images.test.size() != kTestImages))
    note("\n  *** {} holds {} training and {} test images, CIFAR-10 has {} and {}: accuracies cannot be compared. ***\n\n", source.folder,
        source.images.train.size(), source.images.test.size(), kTrainImages, kTestImages);
  return source;
}

/// CIFAR-10's own numbers; of other images, those of the training part.
inline heed::Normalization normalization_of(const DataSource& source, const heed::ImageDataset& train) {
  return source.generated ? heed::channel_statistics(train) : heed::Normalization::cifar10();
}

}  // namespace cifar10
