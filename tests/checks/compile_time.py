# SPDX-License-Identifier: MIT
"""What including heed costs, as a ratio to Eigen. Usage: compile_time.py -- COMPILER FLAGS...

The ratio that has an aim is to a file that includes <Eigen/Core> and no more. The second one, to a file that also multiplies two matrices,
is what a program that uses Eigen at all pays anyway. A net of three layers is compiled with its kernels in another file (HEED_COMPILED).
Processor time, the best of three, taken in turns, so that a busy machine disturbs all sides alike.
It prints and does not judge: times of a shared machine are no test.
"""
import os
import subprocess
import sys

import tree

AIM = 2.0
ROUNDS = 3
compiler = sys.argv[sys.argv.index("--") + 1:]
umbrella = "heed/heed.hpp" if (tree.INCLUDE / "heed.hpp").exists() else "heed/core/layer.hpp"
programs = {
    "eigen": "#include <Eigen/Core>\n",
    "product": "#include <Eigen/Core>\nEigen::MatrixXf product(const Eigen::MatrixXf& a, const Eigen::MatrixXf& b) { return a * b; }\n",
    "heed": f"#include <{umbrella}>\n",
    "net": "#define HEED_COMPILED\n" + (tree.ROOT / "tests" / "consumer" / "training_step.cpp").read_text(),
}


def seconds(program):
    before = os.times()
    subprocess.run(compiler + ["-c", "-x", "c++", "-", "-o", os.devnull], input=program, text=True, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


best = {name: float("inf") for name in programs}
for _ in range(ROUNDS):
    for name, program in programs.items():
        best[name] = min(best[name], seconds(program))
print(f"compile time: {umbrella} {best['heed']:.2f} s, <Eigen/Core> {best['eigen']:.2f} s: ratio {best['heed'] / best['eigen']:.2f} "
      f"(aim: at most {AIM:g}); to Eigen/Core with one product ({best['product']:.2f} s): {best['heed'] / best['product']:.2f}, "
      f"a net of three layers without its kernels: {best['net'] / best['product']:.2f}")
