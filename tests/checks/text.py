# SPDX-License-Identifier: MIT
"""Length and first lines of source files, and words that say that something is unfinished."""
import re

import tree

LONGEST_HEADER = 450  # lines: what a reader still keeps in mind
# In pieces, so that this file passes its own rule.
WORDS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
PHRASES = re.compile("|".join(["place" + "holder", "for" + " now", "not" + " implemented"]), re.I)
PATHS = re.compile(r"(?<![\w.$}])/(" + "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me"]) + r")/\w+")  # of somebody's machine

faults, count = [], 0
for path, text in tree.text_files():
    count += 1
    name, lines = tree.name_of(path), text.splitlines()
    for number, line in enumerate(lines, 1):
        for pattern in (WORDS, PHRASES, PATHS):
            match = pattern.search(line)
            if match:
                faults.append(f"{name}:{number}: '{match.group()}' does not belong in the tree")
    if path.suffix in (".hpp", ".cpp"):
        if not lines or lines[0] != "// SPDX-License-Identifier: MIT":
            faults.append(f"{name}:1: the first line must be '// SPDX-License-Identifier: MIT'")
        if path.suffix == ".hpp" and "#pragma once" not in lines[:4]:
            faults.append(f"{name}: '#pragma once' must stand at the top")
        if path.suffix == ".hpp" and len(lines) >= LONGEST_HEADER:
            faults.append(f"{name}: {len(lines)} lines, the limit is {LONGEST_HEADER}")
        for number, line in enumerate(lines, 1):
            if "\t" in line or line != line.rstrip():
                faults.append(f"{name}:{number}: a tab, or blanks at the end of the line")

tree.finish("text", faults, f"{count} files")
