// SPDX-License-Identifier: MIT
// gemm/MxNxK: C (M x N) = A (M x K) B (K x N), 2 M N K operations.
#include <heed/kernels/gemm.hpp>

#include <reference/gemm_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct GemmWorkload {
  Index rows = 1, cols = 1, depth = 1;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("MxNxK", self.rows, self.cols, self.depth);
  }
  void add(const std::string& name) const;
};

struct GemmCase {
  GemmWorkload w;
  Tensor<float, 2> a = operand<2>({w.rows, w.depth}, 1), b = operand<2>({w.depth, w.cols}, 2), c = Tensor<float, 2>({w.rows, w.cols});
  naive::Floats naive_c = naive::zeros(w.rows * w.cols);

  void run() {
    kernels::gemm<float>(w.rows, w.cols, w.depth, {a.data(), w.depth}, {b.data(), w.cols}, c.data(), w.cols);
    benchmark::DoNotOptimize(c.data());
  }
  std::string check() {
    run();
    const auto rows = samples_of(w.rows);
    const auto part = gather(a, rows);
    return difference(
        "C", gather(c, rows).data(), reference::gemm(part.size(0), w.cols, w.depth, part.data(), w.depth, 1, b.data(), w.cols, 1));
  }
  void run_naive() {
    naive::gemm(w.rows, w.cols, w.depth, a.data(), b.data(), naive_c.data());
    benchmark::DoNotOptimize(naive_c.data());
  }
  std::string check_naive() {
    run_naive();
    return difference("C", c.data(), naive_c);
  }
};

void GemmWorkload::add(const std::string& name) const {
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(depth);
  add_case(name, {.flops = flops}, [w = *this] { return GemmCase{w}; });
}

[[maybe_unused]] const bool known = family<GemmWorkload>("gemm", {"64x64x64", "128x128x128", "256x256x256", "512x512x512", "1024x1024x1024",
                                                                     "2048x2048x2048", "1000x1000x1000", "512x512x64", "64x4096x512"});

}  // namespace
