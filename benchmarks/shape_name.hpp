// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include <heed/core/shape.hpp>

// The names of workloads, docs/benchmarks.md: sizes in a fixed form, then options. A workload says both once,
//
//     template <class Self, class V>
//     static void walk(Self& self, V& v) {
//       v.sizes("BxHxTxD", self.batches, self.heads, self.tokens, self.width);
//       v.option("causal", self.causal);  // a flag: /causal
//       v.option("kv", self.kv_heads);    // a number, 0 where it is not given: /kv2
//     }
//
// and the visitors below write it, read it and explain it. In a form a capital letter, perhaps with an i (in) or o (out), is a number.
namespace bench {

using namespace heed;  // NOLINT: the benchmarks are about nothing else

namespace detail {

/// Calls `number()` and `sign(character)` for the parts of a form in turn.
template <class Number, class Sign>
void walk_form(std::string_view form, const Number& number, const Sign& sign) {
  for (std::size_t i = 0; i < form.size(); ++i) {
    if (form[i] < 'A' || form[i] > 'Z') {
      sign(form[i]);
      continue;
    }
    number();
    if (i + 1 < form.size() && (form[i + 1] == 'i' || form[i + 1] == 'o')) ++i;
  }
}

/// "8x12x197x64/causal/kv2"
struct ShapeWriter {
  std::string result;

  template <class... Sizes>
  void sizes(std::string_view form, const Sizes&... sizes) {
    const Index values[] = {sizes...}, *next = values;
    walk_form(
        form, [&] { result += std::to_string(*next++); }, [&](char sign) { result += sign; });
  }
  void word(std::initializer_list<const char*>, const std::string& value) { result += value; }
  void option(std::string_view name, bool flag) { result += flag ? text('/', name) : ""; }
  void option(std::string_view name, Index number) { result += number > 0 ? text('/', name, number) : ""; }
};

/// "BxHxTxD[/causal][/kvN]"
struct FormWriter {
  std::string result;

  template <class... Sizes>
  void sizes(std::string_view form, const Sizes&...) {
    result += form;
  }
  void word(std::initializer_list<const char*> words, const std::string&) {
    for (const char* word : words) result += text(word == *words.begin() ? "" : "|", word);
  }
  void option(std::string_view name, bool) { result += text("[/", name, ']'); }
  void option(std::string_view name, Index) { result += text("[/", name, "N]"); }
};

/// Reads what ShapeWriter writes, with the options in any order.
class ShapeReader {
 public:
  explicit ShapeReader(std::string_view shape) : rest_(shape) {}

  template <class... Sizes>
  void sizes(std::string_view form, Sizes&... sizes) {
    Index *values[] = {&sizes...}, **next = values;
    const auto read_number = [&] {
      const std::size_t digits = digits_at(0);
      if (take(digits, fits_ && is_size(rest_.substr(0, digits)))) **next++ = std::stoll(taken_);
    };
    walk_form(form, read_number, [&](char sign) { take(1, !rest_.empty() && rest_[0] == sign); });
  }
  void word(std::initializer_list<const char*> words, std::string& value) {
    const std::size_t length = std::min(rest_.find('/'), rest_.size());
    for (const char* word : words)
      if (rest_.substr(0, length) == word) {
        take(length, true);
        value = word;
        return;
      }
    fits_ = false;
  }
  void option(std::string_view name, bool& flag) {
    for (std::size_t i = find(name); i != std::string::npos; i = find(name, i + 1))
      if (end_of_option(i + 1 + name.size())) {
        flag = true;
        rest_.erase(i, 1 + name.size());
        return;
      }
  }
  void option(std::string_view name, Index& number) {
    for (std::size_t i = find(name); i != std::string::npos; i = find(name, i + 1)) {
      const std::size_t begin = i + 1 + name.size(), digits = digits_at(begin);
      const std::string value = rest_.substr(begin, digits);
      if (!is_size(value) || !end_of_option(begin + digits)) continue;
      number = std::stoll(value);
      rest_.erase(i, 1 + name.size() + digits);
      return;
    }
  }

  bool finished() const { return fits_ && rest_.empty(); }
  /// What could not be read.
  const std::string& rest() const { return rest_; }

 private:
  static bool is_size(const std::string& digits) {  // nine digits: a product of a few still fits into an Index, or is refused by Shape
    return !digits.empty() && digits.size() <= 9 && digits[0] != '0';
  }
  std::size_t digits_at(std::size_t begin) const {
    return std::min(rest_.find_first_not_of("0123456789", begin), rest_.size()) - std::min(begin, rest_.size());
  }
  std::size_t find(std::string_view name, std::size_t from = 0) const {
    return fits_ ? rest_.find(text('/', name), from) : std::string::npos;
  }
  bool end_of_option(std::size_t i) const { return i == rest_.size() || rest_[i] == '/'; }
  /// Takes the next characters off if they are what they should be; after a first misfit nothing is.
  bool take(std::size_t count, bool right) {
    fits_ = fits_ && right;
    if (!fits_) return false;
    taken_ = rest_.substr(0, count);
    rest_.erase(0, count);
    return true;
  }

  std::string rest_, taken_;
  bool fits_ = true;
};

}  // namespace detail

/// The shape of a workload as names have it.
template <class Workload>
std::string shape_text(const Workload& workload) {
  detail::ShapeWriter writer;
  Workload::walk(workload, writer);
  return writer.result;
}

/// What shapes of such workloads look like.
template <class Workload>
std::string shape_form() {
  detail::FormWriter writer;
  const Workload workload{};
  Workload::walk(workload, writer);
  return writer.result;
}

/// The workload of a shape. Throws std::invalid_argument where it has not the form, and what `check()` of the workload throws, if it has one.
template <class Workload>
Workload read_shape(std::string_view shape) {
  Workload workload;
  detail::ShapeReader reader(shape);
  Workload::walk(workload, reader);
  require(reader.finished(), "'", shape, "' is not of the form ", shape_form<Workload>(),
      reader.rest().empty() ? std::string(": it ends too early") : text(": '", reader.rest(), "' does not fit"));
  if constexpr (requires { workload.check(); }) workload.check();
  return workload;
}

}  // namespace bench
