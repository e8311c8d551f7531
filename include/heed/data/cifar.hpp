// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <heed/core/parallel.hpp>
#include <heed/data/dataset.hpp>
#include <heed/io/atomic_file.hpp>

namespace heed::inline HEED_ABI {

/// A record of the CIFAR binary format (https://www.cs.toronto.edu/~kriz/cifar.html): label bytes, then 32 x 32 bytes of red, as many of
/// green and of blue, each row by row. CIFAR-10 has one label byte, CIFAR-100 two: coarse, then fine.
/// @{
inline constexpr Index kCifarSide = 32, kCifarChannels = 3, kCifarPixels = kCifarSide * kCifarSide * kCifarChannels;
inline constexpr Index kCifar10Record = 1 + kCifarPixels, kCifar100Record = 2 + kCifarPixels;
/// @}

/// Which of CIFAR-100's two labels is meant: one of 100 classes, or of the 20 groups that they form.
enum class CifarLabels { fine, coarse };

/// The class names of CIFAR-10, in the order of its labels.
inline std::vector<std::string> cifar10_class_names() {
  return {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
}

namespace detail {

struct CifarFormat {
  const char* name;
  Index record;          // bytes
  int label_classes[2];  // of each label byte; 0: there is none
  int used_label;        // which label byte counts
  const char* archive;   // where the hint sends the reader

  int classes() const { return label_classes[used_label]; }
  Index label_bytes() const { return record - kCifarPixels; }
};

inline CifarFormat cifar10_format() {
  return {"CIFAR-10", kCifar10Record, {10, 0}, 0, "the binary version, cifar-10-binary.tar.gz, unpacks to cifar-10-batches-bin"};
}
inline CifarFormat cifar100_format(CifarLabels labels) {
  return {"CIFAR-100", kCifar100Record, {20, 100}, labels == CifarLabels::fine ? 1 : 0,
      "the binary version, cifar-100-binary.tar.gz, unpacks to cifar-100-binary"};
}

/// Bytes in a regular file. Throws FileError.
inline Index file_bytes(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) fail<FileError>(path.string(), ": no such file; is the folder the right one?");
  if (!std::filesystem::is_regular_file(status)) fail<FileError>(path.string(), ": expected a file, found a folder or a device");
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) fail<FileError>(path.string(), ": its size cannot be read (", error.message(), ")");
  return static_cast<Index>(bytes);
}

/// Records in a file. Throws FileError unless it holds whole records and at least one.
inline Index cifar_records(const std::filesystem::path& path, const CifarFormat& format) {
  const Index bytes = file_bytes(path), records = bytes / format.record, rest = bytes % format.record;
  if (bytes == 0)
    fail<FileError>(path.string(), ": at offset 0: expected a ", format.name, " record of ", format.record,
        " bytes, found an empty file; was its download or unpacking cut short?");
  if (rest != 0) {
    const Index other = format.record == kCifar10Record ? kCifar100Record : kCifar10Record;
    fail<FileError>(path.string(), ": at offset ", records * format.record, ": expected a ", format.name, " record of ", format.record,
        " bytes, found ", rest, " (the file has ", bytes, " bytes); ",
        bytes % other == 0 ? (other == kCifar10Record ? "is this a CIFAR-10 file?" : "is this a CIFAR-100 file?")
                           : "was its download or unpacking cut short?");
  }
  return records;
}

/// Planes of red, green and blue to pixels, and back.
inline void interleave_planes(const unsigned char* planes, std::uint8_t* pixels) {
  constexpr Index kPlane = kCifarSide * kCifarSide;
  for (Index p = 0; p < kPlane; ++p)
    for (Index c = 0; c < kCifarChannels; ++c) pixels[p * kCifarChannels + c] = planes[c * kPlane + p];
}
inline void separate_planes(const std::uint8_t* pixels, unsigned char* planes) {
  constexpr Index kPlane = kCifarSide * kCifarSide;
  for (Index p = 0; p < kPlane; ++p)
    for (Index c = 0; c < kCifarChannels; ++c) planes[c * kPlane + p] = pixels[p * kCifarChannels + c];
}

/// Reads `records` records of one file. Throws FileError.
inline void read_cifar_file(
    const std::filesystem::path& path, const CifarFormat& format, Index records, std::uint8_t* images, int* labels) {
  constexpr Index kRecordsAtOnce = 512;  // 1.5 MB, some of it still in the cache when it is turned into pixels
  std::ifstream file(path, std::ios::binary);
  if (!file) fail<FileError>(path.string(), ": the file cannot be opened for reading; are you allowed to?");
  std::vector<unsigned char> bytes(static_cast<std::size_t>(std::min(records, kRecordsAtOnce) * format.record));
  for (Index begin = 0; begin < records; begin += kRecordsAtOnce) {
    const Index count = std::min(kRecordsAtOnce, records - begin), wanted = count * format.record, offset = begin * format.record;
    file.read(reinterpret_cast<char*>(bytes.data()), wanted);
    if (file.gcount() != wanted)
      fail<FileError>(path.string(), ": at offset ", offset, ": expected ", wanted, " more bytes, found ",
          static_cast<Index>(file.gcount()), "; did the file change while it was read?");
    for (Index r = 0; r < count; ++r)
      for (Index l = 0; l < format.label_bytes(); ++l) {
        const int label = bytes[static_cast<std::size_t>(r * format.record + l)];
        if (label >= format.label_classes[l])
          fail<FileError>(path.string(), ": at offset ", offset + r * format.record + l, ": expected a ", format.name,
              format.label_bytes() == 1 ? ""
              : l == 0                  ? " coarse"
                                        : " fine",
              " label 0 to ", format.label_classes[l] - 1, ", found ", label, " (record ", begin + r,
              "); is the file damaged, or of another format?");
        if (l == format.used_label) labels[begin + r] = label;
      }
    parallel_for(count, 64, [&](Index from, Index to) {
      for (Index r = from; r < to; ++r)
        interleave_planes(bytes.data() + r * format.record + format.label_bytes(), images + (begin + r) * kCifarPixels);
    });
  }
}

inline ImageDataset read_cifar(
    const std::vector<std::filesystem::path>& files, const CifarFormat& format, std::vector<std::string> class_names) {
  require(!files.empty(), format.name, ": the list of files is empty");
  std::vector<Index> records;
  Index total = 0;
  for (const std::filesystem::path& file : files) total += records.emplace_back(cifar_records(file, format));
  auto images = Tensor<std::uint8_t, 4>::uninitialized(image_shape(total, kCifarSide, kCifarSide, kCifarChannels));
  std::vector<int> labels(static_cast<std::size_t>(total));
  Index begin = 0;
  for (std::size_t i = 0; i < files.size(); begin += records[i++])
    read_cifar_file(files[i], format, records[i], images.data() + begin * kCifarPixels, labels.data() + begin);
  return {std::move(images), std::move(labels), format.classes(), std::move(class_names)};
}

/// `names` inside `folder`. Throws a FileError that lists all that are missing.
inline std::vector<std::filesystem::path> files_in(
    const std::filesystem::path& folder, const std::vector<std::string>& names, const CifarFormat& format) {
  std::error_code error;
  if (!std::filesystem::exists(folder, error)) fail<FileError>(folder.string(), ": no such folder; ", format.archive);
  if (!std::filesystem::is_directory(folder, error))
    fail<FileError>(folder.string(), ": expected a folder with ", format.name, " files, found a file");
  std::vector<std::filesystem::path> files;
  std::string missing, inner;
  for (const std::string& name : names) {
    files.push_back(folder / name);
    if (!std::filesystem::exists(files.back(), error)) missing += (missing.empty() ? "" : ", ") + name;
  }
  if (missing.empty()) return files;
  for (const char* name : {"cifar-10-batches-bin", "cifar-100-binary"})
    if (std::filesystem::exists(folder / name / names.front(), error)) inner = (folder / name).string();
  const bool python = std::filesystem::exists(folder / std::filesystem::path(names.front()).stem(), error);
  fail<FileError>(folder.string(), ": ", format.name, " files are missing: ", missing, "; ",
      !inner.empty() ? "did you mean " + inner + "?"
                     : (python ? "the folder holds the Python version, but " : "") + std::string(format.archive));
}

/// One name a line. `fallback` if there is no such file. Throws FileError unless it lists `count` names.
inline std::vector<std::string> read_class_names(const std::filesystem::path& path, std::size_t count, std::vector<std::string> fallback) {
  constexpr Index kMostBytes = 1 << 16;  // the longest list of the two sets has 1 KB
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return fallback;
  const Index bytes = file_bytes(path);
  if (bytes > kMostBytes)
    fail<FileError>(path.string(), ": at offset 0: expected a list of ", count, " class names, found a file of ", bytes, " bytes");
  std::ifstream file(path, std::ios::binary);
  std::vector<std::string> names;
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  if (names.size() != count)
    fail<FileError>(path.string(), ": at offset ", bytes, ": expected ", count, " class names, one a line, found ", names.size(),
        "; without this file the usual names are used");
  return names;
}

inline std::vector<std::string> cifar10_training_files() {
  return {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"};
}

inline std::vector<std::string> cifar10_files() {
  std::vector<std::string> names = cifar10_training_files();
  names.push_back("test_batch.bin");
  return names;
}

}  // namespace detail

/// Reads any list of CIFAR-10 files, one after another, of any number of records each. Throws FileError with path, offset, what was
/// expected and what was found: a file is missing, empty, cut off, or holds a label above 9.
inline ImageDataset read_cifar10(
    const std::vector<std::filesystem::path>& files, std::vector<std::string> class_names = cifar10_class_names()) {
  return detail::read_cifar(files, detail::cifar10_format(), std::move(class_names));
}

/// Reads the files called `names` of a folder, with the class names of its batches.meta.txt (the usual ones without it). Throws FileError.
inline ImageDataset read_cifar10_folder(const std::filesystem::path& folder, const std::vector<std::string>& names) {
  const auto files = detail::files_in(folder, names, detail::cifar10_format());
  return read_cifar10(files, detail::read_class_names(folder / "batches.meta.txt", 10, cifar10_class_names()));
}

/// Reads all of CIFAR-10 (or of a set in its format) from a folder: data_batch_1.bin to data_batch_5.bin and test_batch.bin. Throws
/// FileError as `read_cifar10` does, and also if the five batches differ in length, which shows a file that was cut off between two records.
inline TrainTest load_cifar10(const std::filesystem::path& folder) {
  const detail::CifarFormat format = detail::cifar10_format();
  std::vector<std::filesystem::path> files = detail::files_in(folder, detail::cifar10_files(), format);
  const std::vector<std::string> class_names = detail::read_class_names(folder / "batches.meta.txt", 10, cifar10_class_names());
  const std::filesystem::path test = files.back();
  files.pop_back();
  std::vector<Index> records;
  for (const std::filesystem::path& file : files) records.push_back(detail::cifar_records(file, format));
  const Index longest = *std::max_element(records.begin(), records.end());
  for (std::size_t i = 0; i < files.size(); ++i)
    if (records[i] != longest)
      fail<FileError>(files[i].string(), ": at offset ", records[i] * format.record, ": expected ", longest,
          " records as in the longest of the five batches, found ", records[i], "; was its download or unpacking cut short?");
  return {read_cifar10(files, class_names), read_cifar10(std::vector{test}, class_names)};
}

/// Reads any list of CIFAR-100 files, one after another. Throws FileError as `read_cifar10` does.
inline ImageDataset read_cifar100(
    const std::vector<std::filesystem::path>& files, CifarLabels labels = CifarLabels::fine, std::vector<std::string> class_names = {}) {
  return detail::read_cifar(files, detail::cifar100_format(labels), std::move(class_names));
}

/// Reads CIFAR-100 from a folder: train.bin and test.bin, with the names of fine_label_names.txt or coarse_label_names.txt if they are
/// there. Throws FileError.
inline TrainTest load_cifar100(const std::filesystem::path& folder, CifarLabels labels = CifarLabels::fine) {
  const auto files = detail::files_in(folder, {"train.bin", "test.bin"}, detail::cifar100_format(labels));
  const bool fine = labels == CifarLabels::fine;
  const auto names = detail::read_class_names(folder / (fine ? "fine_label_names.txt" : "coarse_label_names.txt"), fine ? 100 : 20, {});
  return {read_cifar100(std::vector{files[0]}, labels, names), read_cifar100(std::vector{files[1]}, labels, names)};
}

/// Writes a file of the CIFAR-10 format: 32 x 32 x 3 byte images, at least one, at most ten classes. It appears under its name when it is complete, in
/// place of an older one. Throws ShapeError, std::invalid_argument or FileError.
inline void write_cifar10(const std::filesystem::path& path, const ImageDataset& dataset) {
  require<ShapeError>(dataset.image_shape() == Shape{kCifarSide, kCifarSide, kCifarChannels}, "write_cifar10: images are ",
      dataset.image_shape(), ", the format holds ", Shape{kCifarSide, kCifarSide, kCifarChannels});
  require(dataset.classes() <= 10, "write_cifar10: ", dataset.classes(), " classes, the format holds 10");
  require(dataset.size() > 0, "write_cifar10: the data set is empty, a file holds one image at least");
  AtomicFile file(path.string());
  unsigned char record[kCifar10Record];
  for (Index i = 0; i < dataset.size(); ++i) {
    record[0] = static_cast<unsigned char>(dataset.label(i));
    detail::separate_planes(dataset.image(i), record + 1);
    file.write(record, sizeof record);
  }
  file.commit();
}

/// Writes a whole set: five equal training batches (so their number must be a multiple of five), a test batch, and batches.meta.txt, which holds
/// a class name a line: none may be empty, hold a line break, or end in a blank. Makes the folder if it is not there. Throws as `write_cifar10` does.
inline void write_cifar10_folder(const std::filesystem::path& folder, const TrainTest& data) {
  require(data.train.size() > 0 && data.train.size() % 5 == 0 && data.test.size() > 0, "write_cifar10_folder: ", data.train.size(),
      " training and ", data.test.size(), " test images; expected a multiple of 5, and at least one");
  std::string names;
  for (int label = 0; label < 10; ++label) {
    const std::string name = class_name(data.train, label);
    const bool line = !name.empty() && name.find('\n') == std::string::npos && name.find_last_of(" \t\r") != name.size() - 1;
    require(line, "write_cifar10_folder: class ", label, " is called \"", name,
        "\"; expected a name without line breaks that does not end in a blank");
    names += name + '\n';
  }
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail<FileError>(folder.string(), ": the folder cannot be made (", error.message(), ")");
  write_file((folder / "batches.meta.txt").string(), names);  // first, so that a folder that was left half written tells what it is
  const Index batch = data.train.size() / 5;
  Index begin = 0;
  for (const std::string& name : detail::cifar10_training_files()) {
    write_cifar10(folder / name, data.train.range(begin, begin + batch));
    begin += batch;
  }
  write_cifar10(folder / "test_batch.bin", data.test);
}

}  // namespace heed::inline HEED_ABI
