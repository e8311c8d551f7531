# SPDX-License-Identifier: MIT
"""Each header compiles alone, and twice in one file. Usage: headers_alone.py -- COMPILER FLAGS..."""
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import tree

compiler = sys.argv[sys.argv.index("--") + 1:]


def compile_alone(header):
    target = header.relative_to(tree.INCLUDE.parent)
    program = f"#include <{target}>\n#include <{target}>\n"
    run = subprocess.run(compiler + ["-fsyntax-only", "-x", "c++", "-"], input=program, text=True, capture_output=True)
    return None if run.returncode == 0 else f"{tree.name_of(header)} does not compile alone:\n{run.stderr[:3000]}"


found = [header for header in tree.headers() if not tree.is_optional(header)]
with ThreadPoolExecutor(tree.jobs()) as pool:
    faults = [fault for fault in pool.map(compile_alone, found) if fault]
tree.finish("headers_alone", faults, f"{len(found)} headers")
