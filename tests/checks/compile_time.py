# SPDX-License-Identifier: MIT
"""What including heed costs, as a ratio to Eigen. Usage: compile_time.py -- COMPILER FLAGS...

Processor time, the best of three, taken in turns, so that a busy machine disturbs both sides alike.
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
    "Eigen/Core": "#include <Eigen/Core>\nEigen::MatrixXf product(const Eigen::MatrixXf& a, const Eigen::MatrixXf& b) { return a * b; }\n",
    umbrella: f"#include <{umbrella}>\n",
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
ratio = best[umbrella] / best["Eigen/Core"]
print(f"compile time: {umbrella} {best[umbrella]:.2f} s, Eigen/Core with one product {best['Eigen/Core']:.2f} s, "
      f"ratio {ratio:.2f} (aim: at most {AIM:g})")
