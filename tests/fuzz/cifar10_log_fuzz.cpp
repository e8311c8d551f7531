// SPDX-License-Identifier: MIT
// What `cifar10 report` reads beside models: the log of a run and the figures of corruptions. All that tables and the page take of them is there.
#include "cifar10/arms.hpp"
#include "cifar10/robustness_file.hpp"
#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  constexpr std::size_t kFactor = heed::Json::kMemoryFactor;  // values that were read take less than those that heed's reader looked at
  fuzz::refused_or_read_within(kFactor, size, [&] {
    const std::vector<cifar10::Json> records = cifar10::records_in(text, "input");
    std::vector<cifar10::Json> results;
    for (const cifar10::Json& record : records) {
      if (record["event"] == "result") results.push_back(record);
      fuzz::demand(cifar10::Json::parse(program::json_text(record)) == record);
    }
    for (const cifar10::Arm& arm : cifar10::arms_of(results))
      for (const char* measure : cifar10::kMeasures) fuzz::demand(arm.accuracy(measure).count >= 1);
  });
  fuzz::refused_or_read_within(kFactor, size, [&] {
    const auto [images, models, comparison] = cifar10::robustness_in(text, "input");
    fuzz::demand(!models.empty() && images.at("dataset").is_string() && images.at("views").is_number());
    if (!comparison.is_null())
      for (const char* key : cifar10::kInterval) fuzz::demand(!comparison.at("relative_ce").at("contrast").at(key).is_structured());
    for (const cifar10::Json& model : models) {
      fuzz::demand(model.at("kind").is_string() && model.at("weights_hash").is_string());
      fuzz::demand(model.at("clean_accuracy").is_number() && model.at("accuracy").size() == heed::kCorruptions);
      for (const auto& [kind, severities] : model.at("accuracy").items())
        for (const cifar10::Json& accuracy : severities) fuzz::demand(accuracy.is_number());
    }
  });
  return 0;
}
