// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "shape_name.hpp"

namespace bench {

/// Workloads of one kind: what a line "<name> <shape>" of a file of shapes may begin with.
struct Family {
  std::string name, form;
  std::vector<std::string> shapes;                                 ///< that are timed where no file names others
  void (*add)(const std::string& family, std::string_view shape);  ///< registers the benchmarks of a shape; throws std::invalid_argument

  void add_shape(std::string_view shape) const { add(name, shape); }
};

inline std::vector<Family>& families() {
  static std::vector<Family> all;
  return all;
}

/// Makes a family known: `Workload` has `walk` (shape_name.hpp) and `add(name)`, which registers its benchmarks under that name.
template <class Workload>
bool family(const char* name, std::vector<std::string> shapes) {
  families().push_back({name, shape_form<Workload>(), std::move(shapes), [](const std::string& family, std::string_view shape) {
                          const auto workload = read_shape<Workload>(shape);
                          workload.add(text(family, '/', shape_text(workload)));
                        }});
  return true;
}

}  // namespace bench
