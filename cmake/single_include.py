#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes one header of the tree: single_include.py OUTPUT [--stand-ins FOLDER]

OUTPUT is all that <heed/all.hpp> includes, each header where it is first asked for. It needs Eigen and nothing else. --stand-ins makes a folder whose
heed/<room>/<name>.hpp all include that one header, so that programs written for the tree, the tests above all, can be compiled with it.
"""
import argparse
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "include"
INCLUDE = re.compile(r"\s*#\s*include\s*<([^>]+)>")
OPENING = """// SPDX-License-Identifier: MIT
// heed {version}: tensors, layers and attention with hand-written gradients, in one header. It needs C++20 and Eigen 3.4 to 5; -fopenmp gives it threads.
//
// A program of many files may have its kernels compiled once: define HEED_COMPILED for all of its files, and in one of them HEED_IMPLEMENTATION before the include.
// Made of the headers of the project by `cmake --build <build> --target single_include`: change those.
//
{licence}
#pragma once

#if defined(HEED_IMPLEMENTATION)
#if !defined(HEED_COMPILED)
#define HEED_COMPILED
#endif
#if !defined(HEED_COMPILED_FLOAT)
#define HEED_COMPILED_FLOAT
#endif
#if !defined(HEED_COMPILED_DOUBLE)
#define HEED_COMPILED_DOUBLE
#endif
#endif
"""


class Expansion:
    def __init__(self):
        self.headers, self.system, self.lines = set(), set(), []

    def add(self, name):
        """Appends a header of heed, and what it includes before it."""
        if name in self.headers:
            return
        self.headers.add(name)
        depth = 0  # of #if: what is included there may be left out, so it counts for nothing outside
        self.lines.append(f"\n// ---- {name}")
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            depth += bool(re.match(r"\s*#\s*if", line)) - bool(re.match(r"\s*#\s*endif", line))
            match = INCLUDE.match(line)
            if match and match[1].startswith("heed/"):
                self.add(match[1])
            elif match and depth == 0:
                if match[1] not in self.system:
                    self.lines.append(line)
                self.system.add(match[1])
            elif line.strip() != "#pragma once" and not line.startswith("// SPDX-"):
                self.lines.append(line)


def write(path, text):
    """Under another name first: nobody reads half a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return  # what includes it need not be compiled again
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--stand-ins", type=Path)
    options = parser.parse_args()

    version = ".".join(re.findall(r"^#define HEED_VERSION_\w+ (\d+)", (ROOT / "heed/core/config.hpp").read_text(), re.M))
    licence = "".join(f"// {line}".rstrip() + "\n" for line in (ROOT.parent / "LICENSE").read_text().splitlines())
    expansion = Expansion()
    expansion.add("heed/all.hpp")
    text = OPENING.format(version=version, licence=licence) + "\n".join(expansion.lines) + "\n"
    write(options.output, re.sub(r"\n{3,}", "\n\n", text))
    if options.stand_ins:
        one = options.output.resolve().as_posix()
        for header in sorted(ROOT.rglob("*.hpp")):
            name = header.relative_to(ROOT).as_posix()
            stand_in = f"#pragma once\n#include \"{one}\"\n"
            if name == "heed/compiled.hpp":
                stand_in = "#define HEED_IMPLEMENTATION\n" + stand_in
            elif name not in expansion.headers:  # optional: it includes what it needs
                stand_in = header.read_text(encoding="utf-8")
            write(options.stand_ins / name, stand_in)
    print(f"{options.output}: {len(expansion.headers)} headers, {text.count(chr(10))} lines")
