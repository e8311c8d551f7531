# SPDX-License-Identifier: MIT
"""The first C++ program in the README is examples/quick_start, word for word, and at most 25 lines long."""
import re

import tree

faults = []
readme = tree.ROOT / "README.md"
sources = sorted((tree.ROOT / "examples" / "quick_start").glob("*.cpp"))
if not readme.exists():
    faults.append("README.md is missing")
elif not sources:
    faults.append("examples/quick_start holds no program")
else:
    block = re.search(r"```(?:cpp|c\+\+)\n(.*?)```", readme.read_text(), re.S)
    if not block:
        faults.append("README.md: no C++ block")
    else:
        shown = [line.rstrip() for line in block.group(1).strip().splitlines()]
        compiled = [line.rstrip() for line in sources[0].read_text().splitlines() if "SPDX-License-Identifier" not in line]
        while compiled and not compiled[0]:
            compiled.pop(0)
        while compiled and not compiled[-1]:
            compiled.pop()
        if shown != [line for line in shown if "SPDX-License-Identifier" not in line] or shown != compiled:
            faults.append(f"README.md: its program differs from {tree.name_of(sources[0])}")
            for number, (a, b) in enumerate(zip(shown + [""] * 99, compiled + [""] * 99), 1):
                if a != b:
                    faults.append(f"  line {number}: README '{a}', source '{b}'")
                    break
        if len(shown) > 25:
            faults.append(f"README.md: the program has {len(shown)} lines, 25 are promised")

tree.finish("readme_program", faults, "README.md")
