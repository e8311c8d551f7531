// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/data/cifar.hpp>
#include <heed/data/normalize.hpp>

#include "catch.hpp"
#include "io/scratch_folder.hpp"

using namespace heed;
namespace fs = std::filesystem;

namespace {

void write_bytes(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

/// Byte i of image n: a rule that differs for every plane, row and column.
int pixel_byte(Index n, Index c, Index y, Index x) { return static_cast<int>((17 * n + 71 * c + 5 * y + 3 * x) % 256); }

std::string record(Index n, const std::string& labels) {
  std::string bytes = labels;
  for (Index c = 0; c < 3; ++c)
    for (Index y = 0; y < 32; ++y)
      for (Index x = 0; x < 32; ++x) bytes += static_cast<char>(pixel_byte(n, c, y, x));
  return bytes;
}

/// Records with the labels first, first + 1, ... modulo 10.
std::string records10(Index count, Index first = 0) {
  std::string bytes;
  for (Index n = first; n < first + count; ++n) bytes += record(n, std::string(1, static_cast<char>(n % 10)));
  return bytes;
}

void write_folder10(const fs::path& folder, Index records) {
  for (Index b = 1; b <= 5; ++b) write_bytes(folder / text("data_batch_", b, ".bin"), records10(records, b));
  write_bytes(folder / "test_batch.bin", records10(3));
}

bool holds_records(const ImageDataset& data, Index first) {
  bool equal = true;
  for (Index i = 0; i < data.size(); ++i)
    for (Index y = 0; y < 32; ++y)
      for (Index x = 0; x < 32; ++x)
        for (Index c = 0; c < 3; ++c) equal &= data.image(i)[(y * 32 + x) * 3 + c] == pixel_byte(first + i, c, y, x);
  return equal;
}

template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const FileError& error) {
    return error.what();
  }
  return "no FileError";
}

/// Where the real CIFAR-10 lies, if the environment says so and it is there.
std::string real_folder() {
  const auto variable = [](const char* name) { return std::string(std::getenv(name) ? std::getenv(name) : ""); };
  std::vector<std::string> places{variable("CIFAR10_DIR"), variable("HEED_CIFAR10_DIR")};
  if (!variable("HEED_SHARED_DIR").empty()) places.push_back(variable("HEED_SHARED_DIR") + "/cifar-10-batches-bin");
  for (const std::string& place : places)
    if (!place.empty() && fs::exists(fs::path(place) / "data_batch_1.bin")) return place;
  return "";
}

}  // namespace

TEST_CASE("CIFAR-10 records become channels-last images, for any list of files and any number of records", "[data]") {
  const ScratchFolder folder;
  write_bytes(folder.file("a.bin"), records10(1, 4));
  write_bytes(folder.file("b.bin"), records10(514, 5));  // one more than two thirds of a round, one more than a round
  for (int threads : {1, 3}) {
    const ThreadScope scope(threads);
    const ImageDataset data = read_cifar10({folder.file("a.bin"), folder.file("b.bin")});
    REQUIRE(data.size() == 515);
    CHECK(data.image_shape() == Shape{32, 32, 3});
    CHECK(data.classes() == 10);
    CHECK(holds_records(data, 4));
    CHECK(data.label(0) == 4);
    CHECK(data.label(514) == 8);
    CHECK(class_name(data, 9) == "truck");
  }
  CHECK(holds_records(read_cifar10({folder.file("b.bin")}), 5));
  const ImageDataset twice = read_cifar10_folder(folder.path(), {"a.bin", "a.bin"});
  CHECK(twice.size() == 2);
  CHECK(holds_records(twice.last(1), 4));
  CHECK_THROWS_AS(read_cifar10({}), std::invalid_argument);
  CHECK_THROWS_WITH(read_cifar10({folder.path()}), contains("expected a file, found a folder"));
}

TEST_CASE("CIFAR-100 records have a coarse and a fine label", "[data]") {
  const ScratchFolder folder;
  write_bytes(folder.file("train.bin"), record(0, {7, 99}) + record(1, {19, 0}));
  write_bytes(folder.file("test.bin"), record(2, {0, 42}));
  const TrainTest fine = load_cifar100(folder.path()), coarse = load_cifar100(folder.path(), CifarLabels::coarse);
  CHECK(fine.train.classes() == 100);
  CHECK(coarse.train.classes() == 20);
  CHECK((fine.train.label(0) == 99 && fine.train.label(1) == 0 && fine.test.label(0) == 42));
  CHECK((coarse.train.label(0) == 7 && coarse.train.label(1) == 19 && coarse.test.label(0) == 0));
  CHECK(holds_records(fine.train, 0));
  CHECK(holds_records(coarse.test, 2));
  CHECK(class_name(fine.test, 42) == "class 42");
  std::string names;
  for (int i = 0; i < 20; ++i) names += text("group ", i, "\n");
  write_bytes(folder.file("coarse_label_names.txt"), names);
  CHECK(class_name(load_cifar100(folder.path(), CifarLabels::coarse).train, 19) == "group 19");

  write_bytes(folder.file("bad.bin"), record(0, {7, 99}) + record(1, {20, 0}));
  CHECK(error_of([&] { read_cifar100({folder.file("bad.bin")}); }) ==
        folder.file("bad.bin") +
            ": at offset 3074: expected a CIFAR-100 coarse label 0 to 19, found 20 (record 1); "
            "is the file damaged, or of another format?");
  write_bytes(folder.file("bad.bin"), record(0, {7, 100}));
  CHECK_THAT(error_of([&] { read_cifar100({folder.file("bad.bin")}); }),
      contains(": at offset 1: expected a CIFAR-100 fine label 0 to 99, found 100"));
  write_bytes(folder.file("ten.bin"), records10(1));
  CHECK_THAT(error_of([&] { read_cifar100({folder.file("ten.bin")}); }), contains("is this a CIFAR-10 file?"));
}

TEST_CASE("Damaged CIFAR files are refused with path, offset, what was expected and what was found", "[data]") {
  const ScratchFolder folder;
  const std::string path = folder.file("x.bin");
  const auto error_with = [&](const std::string& bytes) {
    write_bytes(path, bytes);
    return error_of([&] { read_cifar10({path}); });
  };
  CHECK(error_with("") == path +
                              ": at offset 0: expected a CIFAR-10 record of 3073 bytes, found an empty file; "
                              "was its download or unpacking cut short?");
  CHECK(error_with(records10(3).substr(0, 3 * 3073 - 1)) ==
        path +
            ": at offset 6146: expected a CIFAR-10 record of 3073 bytes, found 3072 (the file has 9218 bytes); "
            "was its download or unpacking cut short?");
  CHECK_THAT(error_with("x"), contains("at offset 0: expected a CIFAR-10 record of 3073 bytes, found 1 "));
  CHECK_THAT(error_with(records10(1) + "x"), contains("at offset 3073: expected a CIFAR-10 record of 3073 bytes, found 1 "));
  CHECK_THAT(error_with(record(0, {1, 2})), contains("is this a CIFAR-100 file?"));
  std::string wrong = records10(600);
  wrong[599 * 3073] = 10;
  CHECK(error_with(wrong) == path +
                                 ": at offset 1840727: expected a CIFAR-10 label 0 to 9, found 10 (record 599); "
                                 "is the file damaged, or of another format?");
  wrong[3073] = static_cast<char>(255);
  CHECK_THAT(error_with(wrong), contains("at offset 3073: expected a CIFAR-10 label 0 to 9, found 255 (record 1)"));
  CHECK(error_of([&] { read_cifar10({folder.file("none.bin")}); }) ==
        folder.file("none.bin") + ": no such file; is the folder the right one?");
  CHECK_THAT(error_of([&] { read_cifar10({folder.path()}); }), contains("expected a file, found a folder"));
}

TEST_CASE("A folder is loaded whole or not at all", "[data]") {
  const ScratchFolder folder;
  const fs::path path = folder.path();
  CHECK_THAT(error_of([&] { load_cifar10(path / "nowhere"); }), contains("nowhere: no such folder; the binary version"));
  CHECK(error_of([&] { load_cifar10(path); }) ==
        folder.path() +
            ": CIFAR-10 files are missing: data_batch_1.bin, data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, "
            "data_batch_5.bin, test_batch.bin; the binary version, cifar-10-binary.tar.gz, unpacks to cifar-10-batches-bin");
  write_bytes(path / "data_batch_1", "pickle");
  CHECK_THAT(error_of([&] { load_cifar10(path); }), contains("the folder holds the Python version, but the binary version"));
  CHECK_THAT(error_of([&] { load_cifar10(path / "data_batch_1"); }), contains("expected a folder with CIFAR-10 files, found a file"));

  write_folder10(path, 4);
  const TrainTest data = load_cifar10(path);
  CHECK(data.train.size() == 20);
  CHECK(data.test.size() == 3);
  CHECK(holds_records(data.train.range(8, 12), 3));
  CHECK(holds_records(data.test, 0));
  CHECK(data.train.class_names() == cifar10_class_names());

  fs::remove(path / "data_batch_3.bin");
  fs::remove(path / "test_batch.bin");
  CHECK_THAT(error_of([&] { load_cifar10(path); }), contains("files are missing: data_batch_3.bin, test_batch.bin;"));
  CHECK(read_cifar10_folder(path, {"data_batch_2.bin", "data_batch_5.bin"}).size() == 8);  // a part of them will do here
  write_folder10(path, 4);
  write_bytes(path / "data_batch_2.bin", records10(3));
  CHECK(error_of([&] { load_cifar10(path); }) == (path / "data_batch_2.bin").string() +
                                                     ": at offset 9219: expected 4 records as in the longest of the five batches, found 3; "
                                                     "was its download or unpacking cut short?");

  fs::create_directory(path / "outer");
  fs::create_directory(path / "outer" / "cifar-10-batches-bin");
  write_folder10(path / "outer" / "cifar-10-batches-bin", 1);
  CHECK_THAT(error_of([&] { load_cifar10(path / "outer"); }),
      contains("did you mean " + (path / "outer" / "cifar-10-batches-bin").string() + "?"));
}

TEST_CASE("Class names come from batches.meta.txt", "[data]") {
  const ScratchFolder folder;
  const fs::path path = folder.path();
  write_folder10(path, 1);
  write_bytes(path / "batches.meta.txt", "a\r\nb\nc \nd\n\ne\nf\ng\nh\ni\nhobby horse\n\n");
  CHECK(load_cifar10(path).test.class_names() == std::vector<std::string>{"a", "b", "c", "d", "e", "f", "g", "h", "i", "hobby horse"});
  write_bytes(path / "batches.meta.txt", "a\nb\n");
  CHECK(error_of([&] { load_cifar10(path); }) == (path / "batches.meta.txt").string() +
                                                     ": at offset 4: expected 10 class names, one a line, found 2; "
                                                     "without this file the usual names are used");
  write_bytes(path / "batches.meta.txt", std::string(100000, 'x'));
  CHECK_THAT(error_of([&] { load_cifar10(path); }), contains("expected a list of 10 class names, found a file of 100000 bytes"));
}

TEST_CASE("What is written is what is read", "[data]") {
  const ScratchFolder folder;
  const CounterRandom random{3};
  Tensor<std::uint8_t, 4> images({10, 32, 32, 3});
  for (Index i = 0; i < images.size(); ++i) images[i] = static_cast<std::uint8_t>(random.below(static_cast<std::uint64_t>(i), 256));
  const ImageDataset data(images, {0, 1, 2, 3, 4, 5, 6, 6, 6, 0}, 7, {"a", "b", "c", "d", "e", "f", "g"});

  write_cifar10(folder.file("some.bin"), data.range(3, 5));
  CHECK(fs::file_size(folder.file("some.bin")) == 2 * 3073);
  const ImageDataset some = read_cifar10({folder.file("some.bin")});
  CHECK(std::equal(some.image(0), some.image(0) + 2 * kCifarPixels, data.image(3)));
  CHECK((some.label(0) == 3 && some.label(1) == 4));
  write_cifar10(folder.file("some.bin"), data.first(1));  // takes the place of the old one
  CHECK(read_cifar10({folder.file("some.bin")}).size() == 1);
  CHECK(folder.count() == 1);

  const fs::path inner = fs::path(folder.path()) / "new" / "folder";
  write_cifar10_folder(inner, {data, data.first(3)});
  const TrainTest loaded = load_cifar10(inner);
  CHECK(std::equal(loaded.train.image(0), loaded.train.image(0) + images.size(), images.data()));
  CHECK(std::equal(loaded.train.labels().begin(), loaded.train.labels().end(), data.labels().begin()));
  CHECK(loaded.test.size() == 3);
  CHECK(loaded.train.class_names()[6] == "g");
  CHECK(loaded.train.class_names()[9] == "class 9");

  CHECK_THROWS_AS(write_cifar10_folder(inner, {data.first(9), data}), std::invalid_argument);
  CHECK_THROWS_AS(write_cifar10_folder(inner, {data.first(0), data}), std::invalid_argument);
  CHECK_THROWS_AS(write_cifar10_folder(inner, {data, data.first(0)}), std::invalid_argument);
  CHECK_THROWS_AS(write_cifar10(folder.file("y.bin"), ImageDataset(Tensor<std::uint8_t, 4>({1, 32, 32, 1}), {0}, 1)), ShapeError);
  CHECK_THROWS_AS(
      write_cifar10(folder.file("y.bin"), ImageDataset(Tensor<std::uint8_t, 4>({1, 32, 32, 3}), {0}, 11)), std::invalid_argument);
  CHECK_THROWS_WITH(
      write_cifar10(folder.file("y.bin"), data.first(0)), "write_cifar10: the data set is empty, a file holds one image at least");
  CHECK_FALSE(fs::exists(folder.file("y.bin")));
  for (const char* name : {"", "two\nlines", "two\r\nlines", "blank ", "\t", "return\r"}) {
    const ImageDataset named(Tensor<std::uint8_t, 4>({5, 32, 32, 3}), {0, 0, 0, 0, 0}, 2, {"first", name});
    CHECK_THROWS_WITH(
        write_cifar10_folder(folder.file("named"), {named, named}), Catch::Matchers::StartsWith("write_cifar10_folder: class 1 is called"));
    CHECK_FALSE(fs::exists(folder.file("named")));
  }
  const ImageDataset spaced(Tensor<std::uint8_t, 4>({5, 32, 32, 3}), {0, 0, 0, 0, 0}, 2, {" big cat", "a\rb"});
  write_cifar10_folder(folder.file("named"), {spaced, spaced});
  CHECK(load_cifar10(folder.file("named")).train.class_names()[0] == " big cat");
  CHECK(load_cifar10(folder.file("named")).train.class_names()[1] == "a\rb");
  CHECK_THROWS_AS(write_cifar10(folder.file("nowhere/y.bin"), data), FileError);
  CHECK_THROWS_AS(write_cifar10_folder(folder.file("some.bin"), {data, data}), FileError);
}

TEST_CASE("The real CIFAR-10 is as it is published", "[data]") {
  const std::string folder = real_folder();
  if (folder.empty()) {
    WARN("CIFAR-10 is not here (CIFAR10_DIR): left out");
    return;
  }
  const TrainTest data = load_cifar10(folder);
  REQUIRE(data.train.size() == 50000);
  REQUIRE(data.test.size() == 10000);
  CHECK(data.train.class_names() == cifar10_class_names());
  std::vector<int> train(10), test(10);
  for (int label : data.train.labels()) ++train[static_cast<std::size_t>(label)];
  for (int label : data.test.labels()) ++test[static_cast<std::size_t>(label)];
  CHECK(train == std::vector<int>(10, 5000));
  CHECK(test == std::vector<int>(10, 1000));
  const Normalization found = channel_statistics(data.train), known = Normalization::cifar10();
  for (std::size_t c = 0; c < 3; ++c) {  // the constants have four digits
    CHECK(found.mean[c] == Approx(known.mean[c]).margin(5.1e-5));
    CHECK(found.deviation[c] == Approx(known.deviation[c]).margin(5.1e-5));
  }
}
