// SPDX-License-Identifier: MIT
#include <optional>
#include <string>
#include <vector>

#include <heed/optim/parameter_groups.hpp>

#include "catch.hpp"

using namespace heed;

namespace {

struct Named {
  std::string name;
};
struct Options {
  double a = 1, b = 2;
};
struct Changes {
  std::optional<double> a = {};
  Options applied_to(const Options& own) const { return {.a = a.value_or(own.a), .b = own.b}; }
};
using Rules = std::vector<ParameterRule<Changes>>;

const std::vector<Named> kNames = {{"0.weight"}, {"0.bias"}, {"3.attention.in_proj_weight"}, {"3.attention.in_proj_bias"}, {"head.bias"}};

std::string message_of(const Rules& rules) {
  try {
    assign_groups(kNames, rules);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a star stands for any run of characters") {
  CHECK(name_matches("0.bias", "0.bias"));
  CHECK(name_matches("*", ""));
  CHECK(name_matches("*", "anything.at.all"));
  CHECK(name_matches("**", "x"));
  CHECK(name_matches("*.bias", "3.norm.bias"));
  CHECK(name_matches("3.*", "3.attention.weight"));
  CHECK(name_matches("*attention*", "3.attention.weight"));
  CHECK(name_matches("*attention*", "attention"));
  CHECK(name_matches("a*b*c", "abc"));
  CHECK(name_matches("a*b*c", "a.b.b.c"));
  CHECK(name_matches("*ab", "aab"));  // the first try takes too little
  CHECK(name_matches("*aab", "aaaab"));
  CHECK(name_matches("", ""));
  CHECK(name_matches("abc*", "abc"));
  CHECK(name_matches("abc**", "abc"));
  // What lies behind the end of a pattern is none of its business.
  CHECK(name_matches(std::string_view("ab*").substr(0, 2), "ab"));
  CHECK(name_matches(std::string_view("*a*").substr(0, 2), "aba"));

  CHECK_FALSE(name_matches("", "x"));
  CHECK_FALSE(name_matches("bias", "0.bias"));
  CHECK_FALSE(name_matches("*.bias", "bias"));
  CHECK_FALSE(name_matches("*.bias", "0.bias2"));
  CHECK_FALSE(name_matches("0.bias", "0_bias"));  // a dot is a dot
  CHECK_FALSE(name_matches("a*b*c", "acb"));
  CHECK_FALSE(name_matches("a*", "ba"));
  CHECK_FALSE(name_matches("abc", "ab"));
}

TEST_CASE("the first rule that matches decides, the rest follow the optimiser's own options") {
  const Rules rules = {{"*attention*bias", {.a = 10}}, {"*.bias", {.a = 20}}, {"*attention*", {}}};
  CHECK(assign_groups(kNames, rules) == std::vector<std::size_t>{3, 1, 2, 0, 1});
  CHECK(assign_groups(kNames, Rules{}) == std::vector<std::size_t>(5, 0));
}

TEST_CASE("changes that are not named keep the optimiser's own options") {
  const auto options = group_options(Options{.a = 5, .b = 6}, Rules{{"x", {.a = 10}}, {"y", {}}});
  REQUIRE(options.size() == 3);
  CHECK(options[0].a == 10);
  CHECK(options[0].b == 6);
  CHECK(options[1].a == 5);
  CHECK(options[2].a == 5);
  CHECK(options[2].b == 6);
}

TEST_CASE("a rule without a parameter is an error with a sentence") {
  CHECK(message_of({{"*.biass", {}}}) ==
        "parameter rule \"*.biass\" matches none of the 5 parameters (the first is 0.weight); use * for any run of characters");
  CHECK(message_of({{"*", {}}, {"head.*", {}}}) == "parameter rule \"head.*\" gets no parameter: earlier rules take all that it matches");
  CHECK(message_of({{"head.*", {}}, {"*", {}}}) == "");
}
