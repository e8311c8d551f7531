// SPDX-License-Identifier: MIT
#include <algorithm>
#include <string>

#include "catch.hpp"
#include "cifar10/attention_maps.hpp"
#include "cifar10/checkpoint_words.hpp"
#include "cifar10/model_words.hpp"
#include "cifar10/stored_model.hpp"
#include "io/scratch_folder.hpp"
#include "message_of.hpp"

using namespace cifar10;

namespace {

ModelWords usual_words() {
  return {{.net = "article", .attention = "none"}, heed::Normalization::cifar10(), {"a", "b", "c", "d", "e", "f", "g", "h", "i", "é"},
      "generated"};
}

/// A file with these words and one tensor of `bytes` bytes.
heed::SafetensorsReader file_of(const heed::Metadata& metadata, std::size_t bytes = 4) {
  const ScratchFolder folder;
  const std::string data(bytes, '\0'), path = folder.file("model");
  heed::SafetensorsWriter writer;
  writer.add("w", heed::Dtype::u8, {static_cast<Index>(bytes)}, data.data());
  for (const auto& [key, value] : metadata) writer.set_metadata(key, value);
  writer.write(path);
  return {heed::read_file(path), "f"};
}

std::string refusal(const std::string& key, const std::string& value) {
  heed::Metadata metadata = metadata_of(usual_words());
  for (auto& [known, old] : metadata)
    if (known == key) old = value;
  return message_of([&] { read_words(file_of(metadata)); });
}

}  // namespace

TEST_CASE("a model's words come back, and what the program cannot work with is refused") {
  const ModelWords written = usual_words(), read = read_words(file_of(metadata_of(written)));
  CHECK((read.options == written.options && read.normalization == written.normalization));
  CHECK((read.class_names == written.class_names && read.dataset == written.dataset));

  CHECK(refusal("net", "huge") == "f: the metadata's \"net\" is \"huge\", which this program does not know");
  CHECK(refusal("mean", "[0,1]") == "f: the metadata's \"mean\" has 2 numbers, expected 3");
  CHECK(refusal("mean", "[0,1,\"2\"]") == "f: the metadata's \"mean\" holds a string, expected a number");
  CHECK(refusal("mean", "[0,1,1e300]") == "f: the metadata's \"mean\" holds 1e+300, expected numbers up to 1e+09");
  CHECK(refusal("deviation", "[1,1,0]") == "f: the metadata's \"deviation\" holds 0, expected numbers above 0, 1e-09 at least");
  CHECK(refusal("logit_scale", "-1e10") == "f: the metadata's \"logit_scale\" holds -1e+10, expected numbers up to 1e+09");
  CHECK(refusal("class_names", "{}") == "f: the metadata's \"class_names\" is an object, expected an array");
  CHECK(refusal("class_names", std::string(70, '[')) ==
        "f: metadata \"class_names\": at offset 64: expected at most 64 levels of arrays and objects, found '['");
}

TEST_CASE("words about the attention block come back; a file without them has the usual one") {
  ModelWords written = usual_words();
  written.options = {.net = "demo", .attention_blocks = 2, .attention_after = 3, .feed_forward = 4, .relative_bias = true};
  CHECK(read_words(file_of(metadata_of(written))).options == written.options);
  heed::Metadata old;
  for (const auto& word : metadata_of(usual_words()))
    if (!word.first.starts_with("attention_") && word.first != "feed_forward" && word.first != "relative_bias") old.push_back(word);
  CHECK(old.size() + 4 == metadata_of(usual_words()).size());
  CHECK(read_words(file_of(old)).options == usual_words().options);
  CHECK(
      refusal("attention_after", "3") == "f: the metadata's \"attention_after\" is \"3\", expected a whole number from 1 to 2");  // article
  CHECK(refusal("attention_blocks", "9") == "f: the metadata's \"attention_blocks\" is \"9\", expected a whole number from 1 to 8");
  CHECK(refusal("feed_forward", "0.5") == "f: the metadata's \"feed_forward\" is \"0.5\", expected a whole number from 0 to 8");
  CHECK(refusal("relative_bias", "true") == "f: the metadata's \"relative_bias\" is \"true\", expected a whole number from 0 to 1");
}

TEST_CASE("the tokens of each map lie where their pixels are") {
  for (const Index after : {1, 2, 3}) {
    const NetOptions options{.net = "demo", .attention_after = after};
    // The pixels of token i along an axis: two for the whitening convolution, then twice as many outputs for each pooling.
    const auto first_pixel = [&](Index i) { return i << after; };
    const auto last_pixel = [&](Index i) { return ((i + 1) << after) - 1 + 1; };
    const Index side = map_side(options);
    CHECK(last_pixel(side - 1) <= 31);
    CHECK(last_pixel(side) > 31);
    const heed::TokenGrid grid = token_grid(options);
    for (Index i : {Index(0), side - 1})
      CHECK(grid.first + static_cast<double>(i) * grid.step == Approx(static_cast<double>(first_pixel(i) + last_pixel(i) + 1) / 2 / 32));
    const auto net = make_net<float>(options);
    const auto seen = heed::capture_attention(net, heed::Tensor<float, 4>({1, 32, 32, 3}));
    CHECK(seen.front().weights.shape() == heed::Shape{1, 4, side * side, side * side});
  }
}

TEST_CASE("whatever stands between the blocks starts as the identity") {
  heed::Tensor<float, 4> images({2, 32, 32, 3});
  for (Index i = 0; i < images.size(); ++i) images[i] = static_cast<float>(i % 97) / 97 - 0.5f;
  auto plain = make_net<float>({.net = "article", .attention = "none"});
  const heed::Tensor<float, 2> expected = plain.forward(images);
  for (const Index after : {1, 2})
    for (const char* kind : {"full", "convolution"}) {
      auto net = make_net<float>(
          {.net = "article", .attention = kind, .attention_blocks = 2, .attention_after = after, .feed_forward = 2, .relative_bias = true});
      const auto parameters = heed::named_parameters(net);
      const auto parameter = [&](const std::string& wanted) {
        const auto found = std::find_if(parameters.begin(), parameters.end(), [&](const auto& p) { return p.name == wanted; });
        REQUIRE(found != parameters.end());
        return found->parameter;
      };
      for (const auto& [name, ours] : heed::named_parameters(plain)) std::copy_n(ours->value(), ours->size(), parameter(name)->value());
      const heed::Tensor<float, 2> logits = net.forward(images);
      INFO(kind << " behind block " << after);
      CHECK(std::equal(expected.data(), expected.data() + expected.size(), logits.data()));
      heed::Parameter<float>& bias = *parameter("attention.1.feed_forward.branch.linear2.bias");
      std::fill_n(bias.value(), bias.size(), 1.0f);
      CHECK(net.forward(images)[0] != expected[0]);  // it is there
    }
  CHECK_THROWS_WITH(make_net<float>({.net = "article", .attention_after = 3}),
      contains("attention behind block 3 of the net article, which has blocks 1 to 2"));
}

TEST_CASE("a net is built only from a file that can hold it") {
  for (const auto net : kNets) {
    INFO(net);
    const NetOptions options{.net = std::string(net), .attention = "none"};
    if (net == "demo" || net == "article") {  // the others take their time
      auto made = make_net<float>(options);
      Index numbers = 0;
      for (const auto& [name, parameter] : heed::named_parameters(made)) numbers += parameter->size();
      CHECK((block_weights(options.net) < numbers && numbers < 2 * block_weights(options.net)));
    }
    ModelWords words = usual_words();
    words.options = options;
    const auto least = static_cast<std::size_t>(2 * block_weights(options.net));
    CHECK(message_of([&] { load(file_of(metadata_of(words), least - 1)); }) ==
          heed::text("f: expected at least ", least, " bytes of tensors for ", net, " with attention none, found ", least - 1,
              "; the metadata are those of another file"));
    CHECK(message_of([&] { require_room_for_net(file_of(metadata_of(words), least), words); }) == "no error");
    words.options = {.net = std::string(net), .attention_blocks = 8, .feed_forward = 8};  // parts that no such file can hold
    CHECK(message_of([&] { require_room_for_net(file_of(metadata_of(words), least), words); }).find("8 blocks, feed-forward 8") !=
          std::string::npos);
  }
}

TEST_CASE("a checkpoint's words come back, and a step that no run has is refused") {
  heed::Json recipe;
  recipe.set("net", "demo").set("learning-rate", 0.006).set("epochs", 3);
  const Position written{.epoch = {.epoch = 1, .steps = 12, .images = 3072, .correct = 1024, .loss_sum = 5321.25, .seconds = 1.5},
      .seconds = 30.25,
      .images = 50000,
      .records = 2};
  const Position read = read_position(file_of(checkpoint_words(recipe, written)), recipe, 3, 195);
  CHECK((read.epoch.epoch == 1 && read.epoch.steps == 12 && read.epoch.images == 3072 && read.epoch.correct == 1024));
  CHECK(
      (read.epoch.loss_sum == 5321.25 && read.epoch.seconds == 1.5 && read.seconds == 30.25 && read.images == 50000 && read.records == 2));

  const auto refusal = [&](const std::string& their_recipe, const std::string& position) {
    return message_of([&] { read_position(file_of({{"recipe", their_recipe}, {"position", position}}), recipe, 3, 195); });
  };
  const std::string ours = recipe.to_string(), at = checkpoint_words(recipe, written)[1].second;
  const auto with = [&](const std::string& old, const std::string& changed) {
    return std::string(at).replace(at.find(old), old.size(), changed);
  };
  CHECK(refusal(ours, at) == "no error");
  CHECK(refusal("{\"net\":\"demo\",\"learning-rate\":0.006,\"epochs\":5}", at) ==
        "f: the checkpoint is of another recipe: epochs was 5, now it is 3. Resume with the options that the run was started with");
  heed::Json revised = recipe;
  revised.set("recipe_revision", 2);
  CHECK(message_of([&] {
    read_position(file_of({{"recipe", ours}, {"position", at}}), revised, 3, 195);
  }) == "f: the checkpoint is of another recipe: recipe_revision was not said, now it is 2. Resume with the program that the run was "
        "started with");
  CHECK(refusal("{}", at).find("net was not said, now it is \"demo\"; ") != std::string::npos);
  CHECK(refusal("[]", at) == "f: expected \"recipe\" in the metadata; was it written by cifar10 train?");
  const std::string deep = refusal("{\"net\":" + std::string(100000, '[') + std::string(100000, ']') + "}", at);
  CHECK(deep.find("at most 64 levels") != std::string::npos);
  CHECK(refusal(ours, with("\"steps\":12", "\"steps\":1e300")) ==
        "f: the metadata's \"position\": steps is 1e+300, expected a whole number from 0 to 9007199254740992");
  CHECK(refusal(ours, with("\"records\":2", "\"records\":-2")) ==
        "f: the metadata's \"position\": records is -2, expected a whole number from 0 to 9007199254740992");
  for (const std::string key : {"\"images\":3072", "\"correct\":1024", "\"images_before\":50000", "\"records\":2"})  // are added to
    for (const char* number : {"9007199254740993", "9223372036854775807"}) {
      const std::string name = key.substr(0, key.find(':'));
      CHECK(refusal(ours, with(key, name + ':' + number)) == heed::text("f: the metadata's \"position\": ", name.substr(1, name.size() - 2),
                                                                 " is ", number, ", expected a whole number from 0 to 9007199254740992"));
    }
  CHECK(refusal(ours, with("\"images\":3072", "\"images\":9007199254740992")) == "no error");
  CHECK(refusal(ours, with("\"images\":3072", "\"images\":\"many\"")).find("images is a string, expected a whole") != std::string::npos);
  CHECK(refusal(ours, with("\"steps\":12", "\"steps\":196")) ==
        "f: the metadata's \"position\" is step 196 of epoch 1, expected one of 195 of 3");
}
