# SPDX-License-Identifier: MIT
"""What heed costs a compiler, beside Eigen. Usage: compile_time.py [--header-only] -- COMPILER FLAGS...

Everything is a ratio to a file that includes <Eigen/Core> and multiplies two float matrices: processor time, the best of a few rounds taken in turns, so that a
busy machine disturbs all sides alike, and the compiler's largest memory. A ratio above its limit gets more rounds, since a disturbance of seconds hits the longest
program most, and fails if it stays there. Kernels and layers are in another file (HEED_COMPILED): for a
further file of a program, which trains a net that it is given, and for one that makes a net of three layers and trains it, with all headers and with those of its parts
alone; --header-only compiles that one with all its kernels, too, for one instruction set and for all, which takes a minute.
"""
import os
import subprocess
import sys

import tree

ROUNDS, MOST_ROUNDS = 4, 12
EIGEN = "#include <Eigen/Core>\n"
NET = (tree.ROOT / "tests" / "consumer" / "training_step.cpp").read_text()
PARTS = ["compose/sequential", "layers/conv2d", "layers/relu", "layers/max_pool2d", "layers/flatten", "layers/linear", "losses/cross_entropy", "optim/adam"]
# name: program, the ratio of time that it may have, and that of memory
PROGRAMS = {
    "one product": (EIGEN + "Eigen::MatrixXf product(const Eigen::MatrixXf& a, const Eigen::MatrixXf& b) { return a * b; }\n", None, None),
    "<Eigen/Core>": (EIGEN, None, None),
    "heed/fwd.hpp": ("#include <heed/fwd.hpp>\n", 0.15, 0.2),
    "heed/heed.hpp": ("#include <heed/heed.hpp>\n", 2, 1.5),
    "heed/all.hpp": ("#include <heed/all.hpp>\n", 2, 2),
    "further file": ("#define HEED_COMPILED\n#define NET_ELSEWHERE\n" + NET, 1.3, 2),
    "net, compiled": ("#define HEED_COMPILED\n" + NET, 2.2, 2),
    "its parts' headers alone": ("#define HEED_COMPILED\n" + NET.replace("#include <heed/heed.hpp>\n", "".join(f"#include <heed/{part}.hpp>\n" for part in PARTS)), 1.9, 2),
}
compiler = sys.argv[sys.argv.index("--") + 1:]
if "--header-only" in sys.argv:
    PROGRAMS["net, one instruction set"] = ("#define HEED_ONE_ISA\n" + NET, None, None)
    PROGRAMS["net, header-only"] = (NET, None, None)


def cost(program):
    """Seconds of processor time, and megabytes."""
    process = subprocess.Popen(compiler + ["-c", "-x", "c++", "-", "-o", os.devnull], stdin=subprocess.PIPE)
    process.stdin.write(program.encode())
    process.stdin.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"compile_time: {' '.join(compiler)} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


seconds, memory = {name: float("inf") for name in PROGRAMS}, {}


def measure(name):
    now, memory[name] = cost(PROGRAMS[name][0])
    seconds[name] = min(seconds[name], now)


def above(name):
    most = PROGRAMS[name][1]
    return most is not None and seconds[name] > most * seconds["one product"]


for turn in range(ROUNDS):
    for name in PROGRAMS:
        if turn == 0 or name not in ("net, one instruction set", "net, header-only"):
            measure(name)
for turn in range(ROUNDS, MOST_ROUNDS):
    late = [name for name in PROGRAMS if above(name)]
    if not late:
        break
    for name in ["one product", *late]:
        measure(name)

faults = []
for name, (_, most_time, most_memory) in PROGRAMS.items():
    time, space = seconds[name] / seconds["one product"], memory[name] / memory["one product"]
    print(f"compile time: {name:24} {seconds[name]:6.2f} s, ratio {time:5.2f}{f' (at most {most_time:g})' if most_time else '':16} "
          f"{memory[name]:6.0f} MB, ratio {space:5.2f}{f' (at most {most_memory:g})' if most_memory else ''}")
    if most_time and time > most_time:
        faults.append(f"{name} costs {time:.2f} times what one product of Eigen's does; at most {most_time:g}")
    if most_memory and space > most_memory:
        faults.append(f"{name} takes {space:.2f} times the memory that one product of Eigen's does; at most {most_memory:g}")
tree.finish("compile_time", faults, f"{len(PROGRAMS)} programs")
