// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <heed/compose/sequential.hpp>
#include <heed/io/checkpoint.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/linear.hpp>
#include <heed/losses/cross_entropy.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/sgd.hpp>
#include <heed/optim/weight_average.hpp>

#include "io/scratch_folder.hpp"

using namespace heed;

namespace {

template <class T>
auto net(std::uint64_t seed, Index width = 6) {
  const SeedScope scope(seed);
  return Sequential(named("first", Linear<T>({.in_features = 4, .out_features = width})),
      named("norm", BatchNorm1d<T>({.num_features = width})), named("dropout", Dropout<T>({.p = 0.2})),
      named("head", Linear<T>({.in_features = width, .out_features = 3})));
}

/// A training of its own start: model, optimiser and average.
template <class T, class Optimizer = Adam<T>>
struct Training {
  decltype(net<T>(0)) model;
  Optimizer optimizer;
  WeightAverage<T> average;

  explicit Training(std::uint64_t seed, Index width = 6, const typename Optimizer::Options& options = {})
      : model(net<T>(seed, width)),
        optimizer(named_parameters(model), options),
        average(named_parameters(model), named_buffers(model), {.decay = 0.9}) {}
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  /// Steps `first` to `last` - 1.
  void run(Index first, Index last) {
    for (Index step = first; step < last; ++step) {
      const StepScope scope(1, static_cast<std::uint64_t>(step));
      Tensor<T, 2> x({8, 4}), d_logits;
      for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<T>((i * 37 + step * 11) % 23) / T(23) - T(0.5);
      typename decltype(model)::Cache cache;
      optimizer.zero_gradients();
      const auto logits = model.forward(x, cache);
      CrossEntropyLoss<T>()(logits, std::vector<int>{0, 1, 2, 0, 1, 2, 0, 1}, d_logits);
      static_cast<void>(model.backward(d_logits, cache));
      optimizer.step();
      average.update();
    }
  }
  /// Weights, average, state and counts.
  std::vector<double> all() {
    std::vector<double> result{static_cast<double>(average.updates())};
    const auto add = [&](const T* data, Index count) { result.insert(result.end(), data, data + count); };
    for (const auto& [name, p] : named_parameters(model)) add(p->value(), p->size());
    for (const auto& [name, b] : named_buffers(model)) add(b->data(), b->size());
    for (const auto& [name, t] : optimizer.named_state()) add(t->data(), t->size());
    for (const auto& [name, c] : optimizer.named_step_counts()) result.push_back(static_cast<double>(*c));
    for (const auto& [name, b] : average.named_averages()) add(b->data(), b->size());
    return result;
  }
};

/// A training of two steps, and a checkpoint of it.
struct Saved {
  ScratchFolder folder;
  std::string path = folder.file("checkpoint.safetensors");
  Training<float> own{1};

  Saved() {
    own.run(0, 2);
    io::save_checkpoint(path, own.model, own.optimizer, {}, &own.average);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a training that goes on from a checkpoint makes the steps of one that never stopped", "", float, double) {
  using T = TestType;
  const ScratchFolder folder;
  const std::string path = folder.file("checkpoint.safetensors");
  Training<T> whole(1), first(1), second(2);
  whole.run(0, 9);
  first.run(0, 4);
  io::save_checkpoint(path, first.model, first.optimizer, {{"position", "step 4"}}, &first.average);
  first.run(4, 6);  // what was done behind the checkpoint is gone
  const Metadata words = io::load_checkpoint(path, second.model, second.optimizer, &second.average);
  CHECK(std::find(words.begin(), words.end(), std::pair<std::string, std::string>("position", "step 4")) != words.end());
  second.run(4, 9);
  CHECK(second.all() == whole.all());
  CHECK(folder.count() == 1);

  SECTION("a checkpoint of no steps is one, too") {
    Training<T> fresh(1), other(3);
    io::save_checkpoint(path, fresh.model, fresh.optimizer, {}, &fresh.average);
    other.run(0, 3);
    io::load_checkpoint(path, other.model, other.optimizer, &other.average);
    other.run(0, 9);
    CHECK(other.all() == whole.all());
  }
  SECTION("without an average") {
    io::save_checkpoint(path, whole.model, whole.optimizer);
    Training<T> other(3);
    io::load_checkpoint(path, other.model, other.optimizer);
    CHECK(weights_hash(other.model) == weights_hash(whole.model));
    CHECK(other.average.updates() == 0);
    CHECK_THROWS_WITH(io::load_checkpoint(path, other.model, other.optimizer, &other.average), contains("set up without an average"));
  }
}

TEST_CASE("every optimiser's state goes through a checkpoint, whatever its options") {
  const auto check = []<class Optimizer>(const typename Optimizer::Options& options, Optimizer*) {
    const ScratchFolder folder;
    const std::string path = folder.file("checkpoint.safetensors");
    Training<float, Optimizer> whole(1, 6, options), first(1, 6, options), second(2, 6, options);
    whole.run(0, 9);
    first.run(0, 4);
    io::save_checkpoint(path, first.model, first.optimizer, {}, &first.average);
    io::load_checkpoint(path, second.model, second.optimizer, &second.average);
    second.run(4, 9);
    CHECK(second.all() == whole.all());
  };
  check({}, static_cast<Sgd<float>*>(nullptr));
  check({.momentum = 0.9, .weight_decay = 0.1, .nesterov = true}, static_cast<Sgd<float>*>(nullptr));
  check({.momentum = 0.9, .dampening = 0.5}, static_cast<Sgd<float>*>(nullptr));
  check({.weight_decay = 0.1, .amsgrad = true}, static_cast<Adam<float>*>(nullptr));
  check({.amsgrad = true, .maximize = true}, static_cast<AdamW<float>*>(nullptr));
}

TEST_CASE("a checkpoint of another training is refused with a sentence, and nothing changes") {
  const ScratchFolder folder;
  const std::string path = folder.file("checkpoint.safetensors");
  Training<float> own(1);
  own.run(0, 2);
  const auto before = own.all();
  const auto refused = [&](const std::string& words) {
    CHECK_THROWS_AS(io::load_checkpoint(path, own.model, own.optimizer, &own.average), FileError);
    CHECK_THROWS_WITH(
        io::load_checkpoint(path, own.model, own.optimizer, &own.average), contains(words) && contains("checkpoint.safetensors"));
    CHECK(own.all() == before);
  };
  refused("cannot open");
  {
    Training<float> wide(1, 7);
    io::save_checkpoint(path, wide.model, wide.optimizer, {}, &wide.average);
    refused("of another training: model.first.bias is 7 of F32, expected 6 of F32; ");
    refused("optimizer.head.weight.exp_avg");
  }
  {
    Training<double> other(1);
    io::save_checkpoint(path, other.model, other.optimizer, {}, &other.average);
    refused("is 6 of F64, expected 6 of F32");
  }
  {
    Training<float, Sgd<float>> other(1);
    io::save_checkpoint(path, other.model, other.optimizer, {}, &other.average);
    refused("optimizer: expected Adam, found \"SGD\"");
  }
  io::save_checkpoint(path, own.model, own.optimizer);
  refused("set up without an average");
  {
    auto small = Sequential(named("first", Linear<float>({.in_features = 4, .out_features = 6})));
    Adam<float> optimizer(named_parameters(small));
    WeightAverage<float> average(named_parameters(small), named_buffers(small));
    io::save_checkpoint(path, small, optimizer, {}, &average);
    refused("model.head.bias is missing");
    io::save_checkpoint(path, own.model, own.optimizer, {}, &own.average);
    CHECK_THROWS_WITH(io::load_checkpoint(path, small, optimizer, &average), contains("\"optimizer.head.bias.exp_avg\" is unexpected"));
  }
  {
    SafetensorsWriter writer;  // a checkpoint with many more tensors
    const float number = 0;
    for (int i = 0; i < 25; ++i) writer.add(text("stranger", i), Dtype::f32, Shape(), &number);
    const SafetensorsReader file(path);
    for (const auto& [key, value] : file.metadata()) writer.set_metadata(key, value);
    writer.write(path);
    refused("\"stranger0\" is unexpected");
    refused("\"stranger4\" is unexpected; 5 more are unexpected");
  }
  io::save(path, own.model);
  refused("this is no checkpoint");
  io::save(path, own.model, {{"format", "heed-checkpoint"}, {"format_version", "2"}});
  refused("format_version: expected 1, found \"2\"");

  *own.optimizer.named_step_counts().front().count = -1;
  io::save_checkpoint(path, own.model, own.optimizer, {}, &own.average);
  *own.optimizer.named_step_counts().front().count = 2;
  refused(".step is -1, expected 0 or more");
  write_file(path, read_file(path).substr(0, 500));
  refused("at offset");
}

TEST_CASE("the checkpoint's own words are not the caller's") {
  const ScratchFolder folder;
  Training<float> own(1);
  for (const char* taken : {"format", "format_version", "optimizer", "average_updates", "checkpoint_fingerprint"})
    CHECK_THROWS_WITH(
        io::save_checkpoint(folder.file("x"), own.model, own.optimizer, {{taken, "mine"}}), contains("one of the format's own"));
  CHECK(folder.count() == 0);
}

TEST_CASE("numbers that are none are no checkpoint: the one before stays") {
  Saved saved;
  Training<float>& own = saved.own;
  const std::string& path = saved.path;
  const std::string before = read_file(path);
  const auto spoiled = [&](float& number, const std::string& words) {
    const float kept = std::exchange(number, std::numeric_limits<float>::infinity());
    CHECK_THROWS_AS(io::save_checkpoint(path, own.model, own.optimizer, {}, &own.average), AnomalyError);
    CHECK_THROWS_WITH(io::save_checkpoint(path, own.model, own.optimizer, {}, &own.average), contains(words));
    CHECK(read_file(path) == before);
    number = kept;
  };
  spoiled(named_parameters(own.model).back().parameter->value()[1], "model.head.bias holds inf at element 1 of 3");
  spoiled(named_buffers(own.model).front().buffer->data()[2], "model.norm.running_mean holds inf");
  spoiled(own.optimizer.named_state().front().tensor->data()[0], "optimizer.first.weight.exp_avg holds inf");
  spoiled(own.average.named_averages().front().buffer->data()[0], "average.first.weight holds inf");
}

TEST_CASE("a count that a training cannot go on from is refused, and nothing changes") {
  Saved saved;
  Training<float>& own = saved.own;
  const auto before = own.all();
  const auto refused = [&](const std::string& words) {
    CHECK_THROWS_AS(io::load_checkpoint(saved.path, own.model, own.optimizer, &own.average), FileError);
    CHECK_THROWS_WITH(io::load_checkpoint(saved.path, own.model, own.optimizer, &own.average), contains(words));
    CHECK(own.all() == before);
  };
  if constexpr (sizeof(Index) == 8) CHECK(io::kMostCounted == Index{1} << 53);
  const std::string limit = text(io::kMostCounted);
  for (const Index most : {io::kMostCounted + 1, std::numeric_limits<Index>::max()}) {
    Index& steps = *own.optimizer.named_step_counts().front().count;
    const Index kept = std::exchange(steps, most);
    io::save_checkpoint(saved.path, own.model, own.optimizer, {}, &own.average);
    steps = kept;
    refused(text("optimizer.first.weight.step is ", most, ", expected at most ", limit));

    const Index updates = own.average.updates();
    own.average.set_updates(most);
    io::save_checkpoint(saved.path, own.model, own.optimizer, {}, &own.average);
    own.average.set_updates(updates);
    refused("average_updates: expected a whole number from 0 to " + limit);
  }
  *own.optimizer.named_step_counts().front().count = io::kMostCounted;
  own.average.set_updates(io::kMostCounted);
  io::save_checkpoint(saved.path, own.model, own.optimizer, {}, &own.average);
  io::load_checkpoint(saved.path, own.model, own.optimizer, &own.average);
  own.run(2, 3);
  CHECK(own.average.updates() == io::kMostCounted + 1);
}

TEST_CASE("a checkpoint that is not as it was written is refused, and nothing changes") {
  Saved saved;
  Training<float>& own = saved.own;
  const auto before = own.all();
  const auto load = [&](std::string content) {
    io::load_checkpoint(SafetensorsReader(std::move(content), "f"), own.model, own.optimizer, &own.average);
  };
  const auto refused = [&](std::string content, const std::string& words) {
    CHECK_THROWS_AS(load(content), FileError);
    CHECK_THROWS_WITH(load(content), contains(words));
    CHECK(own.all() == before);
  };
  const std::string whole = read_file(saved.path);
  const auto flipped = [&](std::size_t place, int bit) {
    std::string content = whole;
    content[place] = static_cast<char>(static_cast<unsigned char>(content[place]) ^ (1u << bit));
    return content;
  };
  const SafetensorsReader file(whole, "f");
  for (const auto& entry : file.entries()) {  // no number is left out, and a bit that leaves a finite number is seen, too
    refused(flipped(entry.offset, 0), "f: the checkpoint is damaged: its content has the fingerprint ");
    refused(flipped(entry.offset + entry.bytes - 1, 0), "the checkpoint is damaged");
  }
  io::save_checkpoint(saved.path, own.model, own.optimizer, {{"position", "step 4"}}, &own.average);
  std::string reworded = read_file(saved.path);
  reworded.replace(reworded.find("step 4"), 6, "step 5");
  refused(reworded, "the checkpoint is damaged");
  std::string older = whole;  // files without a fingerprint are taken
  older.replace(older.find("checkpoint_fingerprint"), 10, "CHECKPOINT");
  load(older);
  CHECK(own.all() == before);
}

TEST_CASE("numbers that no training goes on from are refused, and nothing changes") {
  Saved saved;
  Training<float>& own = saved.own;
  const auto before = own.all();
  const std::string whole = [&] {
    std::string content = read_file(saved.path);
    return content.replace(content.find("checkpoint_fingerprint"), 10, "CHECKPOINT");  // somebody else's file
  }();
  const SafetensorsReader file(whole, "f");
  const auto refused = [&](const std::string& name, float number, const std::string& words) {
    std::string content = whole;
    const auto& entry = file.at(name);
    std::memcpy(content.data() + entry.offset + entry.bytes - sizeof number, &number, sizeof number);
    const auto load = [&] { io::load_checkpoint(SafetensorsReader(content, "f"), own.model, own.optimizer, &own.average); };
    CHECK_THROWS_AS(load(), FileError);
    CHECK_THROWS_WITH(load(), contains("f: no training goes on from this checkpoint: " + name + " holds " + words));
    CHECK(own.all() == before);
  };
  const float infinity = std::numeric_limits<float>::infinity();
  refused("model.head.bias", infinity, "inf at element 2 of 3");
  refused("model.norm.running_var", std::numeric_limits<float>::quiet_NaN(), "nan at element 5 of 6");
  refused("model.norm.running_var", -0.5f, "-0.5 at element 5 of 6, a variance");
  refused("average.norm.running_var", -0.5f, "-0.5 at element 5 of 6, a variance");
  refused("average.first.weight", -infinity, "-inf at element 23 of 24");
  refused("optimizer.head.bias.exp_avg", infinity, "inf at element 2 of 3");
  refused("optimizer.head.bias.exp_avg_sq", infinity, "inf at element 2 of 3, a mean of squares");
  refused("optimizer.head.bias.exp_avg_sq", -1e-30f, "-1e-30 at element 2 of 3, a mean of squares");
}

TEST_CASE("a checkpoint is not taken, and not given back, while the averages are in the model") {
  Saved saved;
  Training<float>& own = saved.own;
  const std::string& path = saved.path;
  const auto before = own.all();
  {
    AverageScope scope(own.average);
    CHECK_THROWS_WITH(io::save_checkpoint(path, own.model, own.optimizer, {}, &own.average), contains("end the AverageScope first"));
    CHECK_THROWS_WITH(io::load_checkpoint(path, own.model, own.optimizer, &own.average), contains("end the AverageScope first"));
  }
  CHECK(own.all() == before);
  io::load_checkpoint(path, own.model, own.optimizer, &own.average);
  CHECK(own.all() == before);
}

TEST_CASE("a parameter that has made steps and is frozen now keeps its state in a checkpoint") {
  const ScratchFolder folder;
  const std::string path = folder.file("checkpoint.safetensors");
  Training<float> whole(1), fresh(2);
  whole.run(0, 3);
  whole.model.get<0>().freeze();
  whole.run(3, 5);
  io::save_checkpoint(path, whole.model, whole.optimizer, {}, &whole.average);
  fresh.model.get<0>().freeze();
  io::load_checkpoint(path, fresh.model, fresh.optimizer, &fresh.average);
  for (Training<float>* training : {&whole, &fresh}) {
    training->model.get<0>().freeze(false);
    training->run(5, 8);
  }
  CHECK(fresh.all() == whole.all());

  Training<float> refusing(3);  // a file that is refused changes nothing, not even what the next checkpoint lists
  refusing.model.get<0>().freeze();
  const std::size_t listed = refusing.optimizer.named_step_counts().size();
  CHECK_THROWS_AS(io::load_checkpoint(path, refusing.model, refusing.optimizer), FileError);  // it has averages
  CHECK(refusing.optimizer.named_step_counts().size() == listed);
  io::load_checkpoint(path, refusing.model, refusing.optimizer, &refusing.average);
  CHECK(refusing.optimizer.named_step_counts().size() == listed + 2);
  Training<float> wider(1, 7);
  wider.model.get<0>().freeze();
  const std::string other_path = folder.file("wider.safetensors");
  io::save_checkpoint(other_path, wider.model, wider.optimizer, {}, &wider.average);  // lists none that is frozen
  CHECK_THROWS_AS(io::load_checkpoint(other_path, refusing.model, refusing.optimizer, &refusing.average), FileError);
  CHECK(refusing.optimizer.named_step_counts().size() == listed + 2);

  Training<float> never(1);  // what has never moved has none
  never.model.get<0>().freeze();
  never.run(0, 2);
  io::save_checkpoint(path, never.model, never.optimizer);
  CHECK_FALSE(SafetensorsReader(path).contains("optimizer.first.weight.step"));
  Training<float> other(2);
  other.model.get<0>().freeze();
  io::load_checkpoint(path, other.model, other.optimizer);
  CHECK(weights_hash(other.model) == weights_hash(never.model));
}

TEST_CASE("a parameter without a gradient in the first steps after a checkpoint goes on as if there had been none") {
  const auto model_of = [] {
    const SeedScope seed(4);
    return Sequential(
        named("a", Linear<float>({.in_features = 3, .out_features = 3})), named("b", Linear<float>({.in_features = 3, .out_features = 3})));
  };
  using Model = decltype(model_of());
  // Heads that are trained in turns: the second sees the first steps, and then no more.
  const auto run = [](Model& model, AdamW<float>& optimizer, int first, int last) {
    for (int step = first; step < last; ++step) {
      Tensor<float, 2> x({2, 3}), dy({2, 3});
      for (Index i = 0; i < 6; ++i) x[i] = static_cast<float>(i + step), dy[i] = static_cast<float>(i - 2);
      optimizer.zero_gradients();
      const auto pass = [&](auto& head) {
        typename std::remove_cvref_t<decltype(head)>::Cache cache;
        static_cast<void>(head.forward(x, cache));
        static_cast<void>(head.backward(dy, cache));
      };
      pass(model.get<0>());
      if (step < 3) pass(model.get<1>());
      optimizer.step();
    }
  };
  const ScratchFolder folder;
  const std::string path = folder.file("checkpoint.safetensors");
  Model whole = model_of(), part = model_of();
  AdamW<float> optimizer(named_parameters(whole), {.learning_rate = 0.1}), resumed(named_parameters(part), {.learning_rate = 0.1});
  run(whole, optimizer, 0, 4);
  io::save_checkpoint(path, whole, optimizer);
  run(whole, optimizer, 4, 8);
  io::load_checkpoint(path, part, resumed);
  run(part, resumed, 4, 8);
  CHECK(weights_hash(part) == weights_hash(whole));
}
