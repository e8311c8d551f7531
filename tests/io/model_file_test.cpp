// SPDX-License-Identifier: MIT
#include <cstdint>
#include <string>
#include <vector>

#include <heed/core/layer.hpp>
#include <heed/io/model_file.hpp>

#include "catch.hpp"
#include "io/scratch_folder.hpp"
#include "message_of.hpp"

using heed::FileError;
using heed::Shape;

namespace {

/// Just enough of a layer: two parameters and a buffer.
template <class T>
class Leaf : public heed::LayerBase<Leaf<T>> {
 public:
  using scalar = T;
  Leaf(heed::Index in, heed::Index out) : weight_({out, in}), bias_({out}), running_(Shape{out}) {}
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Leaf");
    visitor.parameter("weight", self.weight_);
    visitor.parameter("bias", self.bias_);
    visitor.parameter("absent", self.absent_);  // an option that is off
    visitor.buffer("running", self.running_);
  }

 private:
  heed::Parameter<T> weight_, bias_, absent_;
  heed::Tensor<T, 1> running_;
};

template <class T>
class Pair : public heed::LayerBase<Pair<T>> {
 public:
  using scalar = T;
  explicit Pair(heed::Index width = 3) : first_(2, width), second_(width, 4) {}
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Pair");
    visitor.child("b", self.first_);  // not in the order of the names
    visitor.child("a", self.second_);
  }

 private:
  Leaf<T> first_, second_;
};

template <class T>
class Twins : public heed::LayerBase<Twins<T>> {
 public:
  using scalar = T;
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.child("x", self.leaf_);
    visitor.child("x", self.leaf_);
  }

 private:
  Leaf<T> leaf_{1, 1};
};

/// Running statistics, as batch norms have them.
class Statistics : public heed::LayerBase<Statistics> {
 public:
  using scalar = float;
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.buffer("running_mean", self.mean);
  }
  heed::Tensor<float, 1> mean{heed::Shape{4}};
};

template <class Model>
void fill(Model& model, double start) {
  using T = typename Model::scalar;
  for (auto& [name, parameter] : heed::named_parameters(model))
    for (heed::Index i = 0; i < parameter->size(); ++i) parameter->value()[i] = static_cast<T>(start += 0.25);
  for (auto& [name, buffer] : heed::named_buffers(model))
    for (heed::Index i = 0; i < buffer->size(); ++i) (*buffer)[i] = static_cast<T>(start += 0.25);
}

}  // namespace

TEST_CASE("A model comes back from its file, in float and double", "[model_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("m.safetensors");
  Pair<float> model, other;
  fill(model, 0.1);
  heed::io::save(path, model, {{"net", "pair"}, {"format", "1"}});
  CHECK(heed::weights_hash(other) != heed::weights_hash(model));
  heed::io::load(path, other);
  CHECK(heed::weights_hash(other) == heed::weights_hash(model));

  const heed::SafetensorsReader file(path);
  CHECK(file.metadata() == heed::Metadata{{"format", "1"}, {"net", "pair"}});
  std::vector<std::string> names;
  for (const auto& entry : file.entries()) names.push_back(entry.name);
  CHECK(names == std::vector<std::string>{"a.bias", "a.running", "a.weight", "b.bias", "b.running", "b.weight"});
  CHECK(file.at("a.weight").shape == Shape{4, 3});

  Pair<double> wide;
  heed::io::load(path, wide);
  Pair<float> narrow;
  heed::io::save(path, wide);
  CHECK(heed::SafetensorsReader(path).at("a.bias").dtype == heed::Dtype::f64);
  heed::io::load(path, narrow);
  CHECK(heed::weights_hash(narrow) == heed::weights_hash(model));
}

TEST_CASE("A file of another model changes nothing and says all", "[model_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("m.safetensors");
  const std::vector<float> zeros(64, 0.f);
  const std::vector<std::int32_t> whole(4, 0);
  heed::SafetensorsWriter writer;
  writer.add("b.weight", heed::Dtype::f32, {3, 2}, zeros.data());
  writer.add("b.bias", heed::Dtype::f32, {1, 3}, zeros.data());
  writer.add("a.weight", heed::Dtype::f32, {5, 3}, zeros.data());
  writer.add("a.running", heed::Dtype::i32, {4}, whole.data());
  writer.add("c.weight", heed::Dtype::f32, {1}, zeros.data());
  writer.add("d", heed::Dtype::f32, {1}, zeros.data());
  writer.write(path);

  Pair<float> model;
  fill(model, 1);
  const std::string before = heed::weights_hash(model);
  CHECK(message_of([&] { heed::io::load(path, model); }) ==
        path +
            ": the file is of another model: missing in the file: a.bias, b.running; unexpected in the file: \"c.weight\", \"d\"; "
            "of another shape or kind: a.running (expected floating numbers, found I32), a.weight (expected 4x3, found 5x3), "
            "b.bias (expected 3, found 1x3)");
  CHECK(
      message_of([&] { heed::io::load(path, model, {.strict = false}); }) ==
      path +
          ": the file is of another model: of another shape or kind: a.running (expected floating numbers, found I32), a.weight (expected "
          "4x3, found 5x3), b.bias (expected 3, found 1x3)");
  CHECK(message_of([&] { heed::io::load(folder.file("absent"), model); }) ==
        folder.file("absent") + ": cannot open: No such file or directory");
  CHECK(heed::weights_hash(model) == before);
}

TEST_CASE("Loading what fits reports the rest", "[model_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("m.safetensors");
  const float bias[3] = {7, 8, 9};
  heed::SafetensorsWriter writer;
  writer.add("b.bias", heed::Dtype::f32, {3}, bias);
  writer.add("head", heed::Dtype::f32, {1}, bias);
  writer.write(path);
  Pair<float> model;
  const heed::io::LoadReport report = heed::io::load(path, model, {.strict = false});
  CHECK(report.missing == std::vector<std::string>{"a.bias", "a.running", "a.weight", "b.running", "b.weight"});
  CHECK(report.unexpected == std::vector<std::string>{"head"});
  for (auto& [name, parameter] : heed::named_parameters(model))
    CHECK((parameter->size() == 0 || parameter->value()[0] == (name == "b.bias" ? 7.f : 0.f)));
}

TEST_CASE("A prefix reads a part of a larger file", "[model_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("m.safetensors");
  Pair<float> model;
  fill(model, 2);
  heed::io::save(path, model);
  Leaf<float> part(2, 3), wrong(2, 4);
  CHECK(heed::io::load(path, part, {.prefix = "b."}).missing.empty());
  for (auto& [name, parameter] : heed::named_parameters(part))
    for (auto& [full_name, original] : heed::named_parameters(model))
      if (full_name == "b." + name) CHECK(std::equal(parameter->value(), parameter->value() + parameter->size(), original->value()));
  CHECK(message_of([&] { heed::io::load(path, wrong, {.prefix = "b."}); }) ==
        path +
            ": the file is of another model: of another shape or kind: b.bias (expected 4, found 3), b.running (expected 4, found 3), "
            "b.weight (expected 4x2, found 3x2)");
  CHECK(message_of([&] { heed::io::load(path, part, {.prefix = "c."}); }) ==
        path + ": the file is of another model: missing in the file: c.bias, c.running, c.weight");
  const heed::io::LoadReport report = heed::io::load(heed::SafetensorsReader(path), part, {.strict = false, .prefix = "b"});
  CHECK(report.missing == std::vector<std::string>{"bbias", "brunning", "bweight"});
  CHECK(report.unexpected == std::vector<std::string>{"b.bias", "b.running", "b.weight"});
}

TEST_CASE("The count that torch keeps beside running statistics is no stranger", "[model_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("m.safetensors");
  const float values[4] = {1, 2, 3, 4};
  const std::int64_t count = 7;
  Statistics norm;
  heed::SafetensorsWriter writer;
  writer.add("running_mean", heed::Dtype::f32, {4}, values);
  writer.add("num_batches_tracked", heed::Dtype::i64, {}, &count);
  writer.write(path);
  CHECK(heed::io::load(path, norm).unexpected.empty());
  CHECK(norm.mean[3] == 4);
  writer.add("other.num_batches_tracked", heed::Dtype::i64, {}, &count);
  writer.add("not_num_batches_tracked", heed::Dtype::i64, {}, &count);
  writer.write(path);
  CHECK(message_of([&] { heed::io::load(path, norm); }) ==
        path + ": the file is of another model: unexpected in the file: \"not_num_batches_tracked\", \"other.num_batches_tracked\"");
}

TEST_CASE("The hash is that of its definition and sees every part", "[model_file]") {
  Leaf<float> model(1, 1);
  auto parameters = heed::named_parameters(model);
  parameters[0].parameter->value()[0] = 1.5f;
  // An independent FNV-1a over the bytes that the comment of weights_hash names.
  std::string bytes;
  for (const auto& [name, rank, value] : {std::tuple("bias", 1, 0.f), std::tuple("running", 1, 0.f), std::tuple("weight", 2, 1.5f)}) {
    bytes += name;
    bytes += std::string("\0F32\0", 5);
    bytes += static_cast<char>(rank) + std::string(7, '\0');
    for (int i = 0; i < rank; ++i) bytes += "\1" + std::string(7, '\0');
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  std::uint64_t hash = 14695981039346656037u;
  for (char c : bytes) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211u;
  }
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  const std::string before = heed::weights_hash(model);
  CHECK(before == digits);
  parameters[0].parameter->value()[0] = 1.25f;
  CHECK(heed::weights_hash(model) != before);
  parameters[0].parameter->value()[0] = 1.5f;
  CHECK(heed::weights_hash(model) == before);
  (*heed::named_buffers(model)[0].buffer)[0] = -0.f;  // the bytes count, not the value
  CHECK(heed::weights_hash(model) != before);
  CHECK(heed::weights_hash(Leaf<float>(1, 2)) != heed::weights_hash(Leaf<float>(2, 1)));
  CHECK(heed::weights_hash(Leaf<double>(1, 1)) != heed::weights_hash(Leaf<float>(1, 1)));
}

TEST_CASE("Two tensors of one name are refused", "[model_file]") {
  const Twins<float> model;
  CHECK_THROWS_WITH(heed::weights_hash(model), "model: two parameters or buffers are named \"x.bias\"");
}

TEST_CASE("Kinds of numbers that are not read are in nobody's way but their own", "[model_file]") {
  const ScratchFolder folder;
  Leaf<float> leaf(2, 1);
  const std::vector<float> weight{1, 2}, bias{3};
  const std::vector<unsigned char> eight{0x38, 0x40};
  heed::SafetensorsWriter writer;
  writer.add("head.weight", heed::Dtype::f32, {1, 2}, weight.data());
  writer.add("head.bias", heed::Dtype::f32, {1}, bias.data());
  writer.add("head.running", heed::Dtype::f32, {1}, bias.data());
  writer.add("body.weight", heed::Dtype::f8_e4m3, {1, 2}, eight.data());
  writer.add("body.bias", heed::Dtype::f32, {1}, bias.data());
  writer.add("body.running", heed::Dtype::f32, {1}, bias.data());
  const std::string path = folder.file("mixed");
  writer.write(path);
  heed::io::load(path, leaf, {.prefix = "head."});
  CHECK(heed::named_parameters(leaf)[0].parameter->value()[1] == 2);
  CHECK(message_of([&] { heed::io::load(path, leaf, {.prefix = "body."}); }) ==
        path +
            ": the file is of another model: of another shape or kind: body.weight (expected floating numbers of 16 to 64 bits, found "
            "F8_E4M3)");
}
