# SPDX-License-Identifier: MIT
"""A file with HEED_COMPILED compiles no kernel and no pass of a layer: a HEED_COMPILE_ONCE, HEED_COMPILE_CLASS_ONCE or HEED_COMPILE_LAYER_ONCE is missing
otherwise. Usage: compiled_kernels.py -- COMPILER FLAGS..."""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tree

# Loops over a function object of the caller's have as many kinds as there are callers.
OWN = re.compile(r"<heed::\w+::kernels::detail::Elementwise<")
# A pass that is no template itself, which nm shows without a type of result; a net is of the program's own layers.
PASS = re.compile(r" [tTwW] heed::\w+::(?!Sequential)\w+<.*>::(?:forward|backward|output_shape|step)\(")
compiler = sys.argv[sys.argv.index("--") + 1:]
if not shutil.which("nm"):
    print("compiled_kernels: no nm, nothing was looked at")
    sys.exit(0)

programs = [tree.ROOT / "tests" / "consumer" / "training_step.cpp", tree.ROOT / "examples" / "quick_start" / "quick_start.cpp"]
faults = []
with tempfile.TemporaryDirectory() as folder:
    unit = Path(folder) / "unit.o"
    for program in programs:
        subprocess.run([*compiler, "-DHEED_COMPILED", "-O0", "-c", str(program), "-o", str(unit)], check=True)
        symbols = subprocess.run(["nm", "-C", str(unit)], capture_output=True, text=True, check=True).stdout.splitlines()
        kernels = [line for line in symbols if re.search(r" [tTwW] .*heed::\w+::dispatch<heed::\w+::kernels::", line) and not OWN.search(line)]
        passes = [line for line in symbols if PASS.search(line)]
        faults += [f"{tree.name_of(program)} compiles {line.split(' ', 2)[2][:160]}" for line in kernels + passes]
        if not any(re.search(r" U .*heed::\w+::kernels::", line) for line in symbols):
            faults.append(f"{tree.name_of(program)} asks for no kernel: nothing was looked at")

# The layers that these programs do not use. The passes of activations and softmaxes are templates over the rank.
for header in sorted((tree.INCLUDE / "layers").glob("*.hpp")):
    text = header.read_text()
    for name in re.findall(r"^class (\w+) : public (?!ActivationLayer|SoftmaxLayer)\w+<\1<T>", text, re.M):
        if not re.search(rf"^HEED_COMPILE_(?:CLASS|LAYER)_ONCE\({name}[,)]", text, re.M):
            faults.append(f"{tree.name_of(header)}: HEED_COMPILE_CLASS_ONCE({name}), or HEED_COMPILE_LAYER_ONCE, is missing")
tree.finish("compiled_kernels", faults, f"{len(programs)} programs")
