// SPDX-License-Identifier: MIT
#include "program/metadata.hpp"

#include <array>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <heed/compose/sequential.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/linear.hpp>

#include "catch.hpp"
#include "io/scratch_folder.hpp"
#include "message_of.hpp"

using heed::Index;
using program::MetadataReader;

namespace {

heed::SafetensorsReader file_of(const heed::Metadata& metadata) {
  const ScratchFolder folder;
  heed::SafetensorsWriter writer;
  for (const auto& [key, value] : metadata) writer.set_metadata(key, value);
  writer.write(folder.file("model"));
  return {heed::read_file(folder.file("model")), "f"};
}

/// What is said of `value` as the metadata's "key".
template <class Ask>
std::string said_of(const std::string& value, const Ask& ask) {
  const heed::SafetensorsReader file = file_of({{"format", "cake"}, {"format_version", "1"}, {"key", value}});
  return message_of([&] { ask(MetadataReader(file, "cake", "1", "bake")); });
}

}  // namespace

TEST_CASE("a file of another format, or without a word, is refused") {
  const auto open = [](const heed::Metadata& metadata) {
    const heed::SafetensorsReader file = file_of(metadata);
    return message_of([&] { MetadataReader(file, "cake", "2", "bake"); });
  };
  CHECK(open({}) == "f: expected \"format\" in the metadata, found nothing; was the file written by bake?");
  CHECK(open({{"format", "pie"}, {"format_version", "2"}}) == "f: the metadata's format is \"pie\" \"2\", expected cake 2");
  CHECK(open({{"format", "cake"}, {"format_version", "1"}}) == "f: the metadata's format is \"cake\" \"1\", expected cake 2");
  CHECK(open({{"format", "cake"}, {"format_version", "2"}}) == "no error");
}

TEST_CASE("whole numbers are whole, and in their range") {
  const auto ask = [](const MetadataReader& metadata) { metadata.whole("key", 2, 64); };
  for (const char* good : {"2", "64", "6.4e1"}) CHECK(said_of(good, ask) == "no error");
  for (const char* bad : {"1", "65", "2.5", "-3", "1e300", "true", "[2]"})
    CHECK(said_of(bad, ask) == heed::text("f: the metadata's \"key\" is \"", bad, "\", expected a whole number from 2 to 64"));
  CHECK(said_of("two", ask).starts_with("f: metadata \"key\": at offset "));
}

TEST_CASE("lists of strings, and words out of a list") {
  const heed::SafetensorsReader file = file_of(
      {{"format", "cake"}, {"format_version", "1"}, {"key", program::as_json(std::vector<std::string>{"a", "\"é\""})}, {"word", "a"}});
  const MetadataReader metadata(file, "cake", "1", "bake");
  CHECK(metadata.strings("key") == std::vector<std::string>{"a", "\"é\""});
  CHECK(message_of([&] { metadata.strings("key", 3, "names"); }) == "f: the metadata's \"key\" has 2 names, expected 3");
  const std::array<std::string_view, 2> known{"a", "b"};
  CHECK(metadata.one_of("word", known) == "a");
  CHECK(message_of([&] { metadata.one_of("key", known); }).ends_with("which this program does not know"));
  const auto ask = [](const MetadataReader& reader) { reader.strings("key"); };
  CHECK(said_of("[\"a\",1]", ask) == "f: the metadata's \"key\" holds a whole number, expected strings");
  CHECK(said_of("3", ask) == "f: the metadata's \"key\" is a whole number, expected an array");
}

TEST_CASE("a net is written with finite numbers alone, and else the file stays what it was") {
  const ScratchFolder folder;
  const std::string path = folder.file("model");
  heed::BatchNorm1d<float> net({.num_features = 3});
  program::save_finite(path, net, {{"key", "word"}});
  const std::string good = heed::read_file(path);
  for (const bool buffer : {false, true}) {
    auto spoiled = net;
    (buffer ? heed::named_buffers(spoiled)[1].buffer->data() : spoiled.bias().value())[2] = std::numeric_limits<float>::infinity();
    CHECK(message_of<heed::AnomalyError>([&] { program::save_finite(path, spoiled, {}); }) ==
          heed::text(path, ": nothing is written: ", buffer ? "running_var" : "bias",
              " holds inf at element 2 of 3; a smaller --learning-rate may help"));
    CHECK(heed::read_file(path) == good);
  }
}

TEST_CASE("a net is filled from a file with finite numbers alone") {
  const ScratchFolder folder;
  const auto net = [] {
    return heed::Sequential(heed::Linear<float>({.in_features = 2, .out_features = 3}), heed::BatchNorm1d<float>({.num_features = 3}));
  };
  auto written = net(), read = net();
  heed::io::save(folder.file("good"), written, {});
  program::load_finite(heed::SafetensorsReader(folder.file("good")), read);
  CHECK(heed::weights_hash(read) == heed::weights_hash(written));

  heed::named_buffers(written)[1].buffer->data()[2] = std::numeric_limits<float>::infinity();
  heed::io::save(folder.file("buffer"), written, {});
  CHECK(message_of([&] {
    program::load_finite(heed::SafetensorsReader(folder.file("buffer")), read);
  }).find("holds inf, expected finite numbers") != std::string::npos);
  heed::named_buffers(written)[1].buffer->data()[2] = -0.5f;
  heed::io::save(folder.file("variance"), written, {});
  CHECK(message_of([&] { program::load_finite(heed::SafetensorsReader(folder.file("variance")), read); }) ==
        folder.file("variance") + ": tensor 1.running_var holds -0.5, expected variances from 0 on; the file is damaged");
  auto spoiled = net();
  spoiled.get<0>().bias().value()[1] = std::numeric_limits<float>::quiet_NaN();
  heed::io::save(folder.file("weight"), spoiled, {});
  CHECK(message_of([&] { program::load_finite(heed::SafetensorsReader(folder.file("weight")), read); }).find("tensor 0.bias holds nan") !=
        std::string::npos);
}
