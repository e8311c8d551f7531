// SPDX-License-Identifier: MIT
#include "cifar10/robustness_file.hpp"

#include <string>

#include "catch.hpp"

using cifar10::Json, cifar10::robustness_in;

namespace {

Json model(const char* attention) {
  Json result{{"kind", heed::text("demo with attention ", attention, " (2 blocks)")}, {"net", "demo"}, {"attention", attention},
      {"weights_hash", attention}, {"clean_accuracy", 0.9}, {"accuracy", Json::object()}};
  for (const heed::Corruption kind : heed::all_corruptions())
    result["accuracy"][std::string(heed::corruption_name(kind))] = std::vector<double>(heed::kSeverities, 0.5);
  return result;
}

std::string refusal(const std::string& text) {
  try {
    robustness_in(text, "figures.json");
  } catch (const heed::FileError& error) {
    return error.what();
  }
  return "";
}
/// Of a file whose second model is changed.
template <class Change>
std::string refusal_of_changed(const Change& change) {
  Json second = model("none");
  change(second);
  return refusal(Json{{"models", {model("full"), second}}}.dump());
}

const std::string kCure = "; expected what cifar10 evaluate --corruptions --output wrote";

}  // namespace

TEST_CASE("the models of a file of corruptions") {
  const Json models{model("full"), model("none")};
  Json all{{"dataset", "cifar10"}, {"images", 9}, {"views", 2}, {"models", models}};
  const auto file = robustness_in(all.dump(2), "figures.json");
  CHECK(file.models == models);
  CHECK(file.images == Json{{"dataset", "cifar10"}, {"images", 9}, {"views", 2}});
  CHECK(file.comparison.is_null());
  all["models"][1].erase("kind");  // of an earlier version
  CHECK(robustness_in(all.dump(), "figures.json").models[1]["kind"] == "demo with attention none");
  all["models"][1]["kind"] = 3;
  CHECK(refusal(all.dump()) == "figures.json: model 2: expected \"kind\" to be a string, found 3" + kCure);
  all["models"] = models;
  for (const char* key : {"dataset", "images", "views"}) {
    Json changed = all;
    changed.erase(key);
    CHECK(refusal(changed.dump()).find(heed::text("figures.json: expected \"", key, '"')) == 0);
  }
}

TEST_CASE("the comparison of a file of corruptions") {
  const Json interval{{"value", 0.8}, {"low", 0.7}, {"high", 0.9}};
  Json all{{"dataset", "cifar10"}, {"images", 9}, {"views", 1}, {"models", {model("full"), model("none")}}, {"ce", Json::object()},
      {"relative_ce", Json::object()}, {"mean_ce", interval}, {"mean_relative_ce", interval}};
  for (const heed::Corruption kind : heed::all_corruptions())
    for (const char* key : {"ce", "relative_ce"}) all[key][std::string(heed::corruption_name(kind))] = interval;
  const auto file = robustness_in(all.dump(), "figures.json");
  CHECK(file.models.size() == 2);
  CHECK(file.comparison["ce"]["contrast"] == interval);
  CHECK(file.comparison["mean_relative_ce"] == interval);
  all["relative_ce"]["contrast"]["high"] = nullptr;
  CHECK(robustness_in(all.dump(), "figures.json").comparison["relative_ce"]["contrast"]["high"].is_null());

  const auto refused = [&](const auto& change) {
    Json changed = all;
    change(changed);
    return refusal(changed.dump());
  };
  CHECK(refused([](Json& f) { f["models"].erase(0); }) ==
        "figures.json: expected as many models on both sides of a comparison, found 1 in all" + kCure);
  CHECK(
      refused([](Json& f) { f.erase("relative_ce"); }) == "figures.json: expected \"relative_ce\" to be an object, found nothing" + kCure);
  CHECK(refused([](Json& f) { f["ce"]["contrast"].erase("low"); }) ==
        "figures.json: ce: expected \"contrast\" to be an interval (value, low and high, each a number or null), found an object of 2" +
            kCure);
  CHECK(refused([](Json& f) { f["mean_ce"] = 1; }) ==
        "figures.json: expected \"mean_ce\" to be an interval (value, low and high, each a number or null), found 1" + kCure);
}

TEST_CASE("a file without what the page shows of corruptions is refused, with file, model, key and a cure") {
  CHECK(refusal("{}") == "figures.json: expected \"models\" to be an array of models, found nothing" + kCure);
  CHECK(refusal("{\"models\":[]}") == "figures.json: expected \"models\" to be an array of models, found an array of 0" + kCure);
  CHECK(refusal("{\"models\":[3]}") == "figures.json: model 1: expected \"net\" to be a string, found nothing" + kCure);
  CHECK(refusal("[]") == "figures.json: expected \"models\" to be an array of models, found nothing" + kCure);
  CHECK(refusal("{\"models\":") == "figures.json: at offset 10: expected a value, found the end of the text" + kCure);
  for (const char* key : {"net", "attention", "weights_hash", "clean_accuracy", "accuracy"})
    CHECK(refusal_of_changed([&](Json& m) { m.erase(key); }).find(heed::text("model 2: expected \"", key, '"')) != std::string::npos);
  CHECK(refusal_of_changed([](Json& m) { m["accuracy"].erase("contrast"); }) ==
        "figures.json: model 2: accuracy: expected \"contrast\" to be an array of 5 numbers, found nothing" + kCure);
  CHECK(refusal_of_changed([](Json& m) { m["accuracy"]["contrast"].push_back(0); }) ==
        "figures.json: model 2: accuracy: expected \"contrast\" to be an array of 5 numbers, found an array of 6" + kCure);
  CHECK(refusal_of_changed([](Json& m) { m["accuracy"]["contrast"][4] = nullptr; }).find("\"contrast\"") != std::string::npos);
  CHECK(refusal_of_changed([](Json& m) { m["accuracy"]["fog"] = m["accuracy"]["contrast"]; }) ==
        "figures.json: model 2: expected 16 corruptions under \"accuracy\", found 17" + kCure);
}

TEST_CASE("brackets without end do not exhaust the stack") {
  const std::string deep = std::string(300'000, '[') + std::string(300'000, ']');
  CHECK(refusal("{\"models\":[{\"clean_accuracy\":" + deep + "}]}").find("figures.json: at offset 90: expected at most 64 levels") == 0);
}
