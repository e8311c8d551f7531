# SPDX-License-Identifier: MIT
"""C++ looks as .clang-format says. It needs the version of clang-format whose output the tree has: others break lines elsewhere."""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tree

VERSION = "14"
SKIPPED = 77
command = next((name for name in (f"clang-format-{VERSION}", "clang-format") if shutil.which(name)), None)
found = command and re.search(r"version (\d+)", subprocess.run([command, "--version"], capture_output=True, text=True).stdout)
if not found or found[1] != VERSION:
    print(f"SKIPPED: it needs clang-format {VERSION} (Debian 12: clang-format)")
    sys.exit(SKIPPED)


# A copy is formatted and compared: version 14's own --dry-run complains of lines that it would not change.
files = [path for path, _ in tree.text_files() if path.suffix in (".hpp", ".cpp")]
with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    shutil.copy(tree.ROOT / ".clang-format", folder)
    copies = [folder / path.relative_to(tree.ROOT) for path in files]
    for path, copy in zip(files, copies):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    subprocess.run([command, "-i", *map(str, copies)], check=True)
    faults = [f"{tree.name_of(path)}: run {command} -i on it" for path, copy in zip(files, copies) if path.read_bytes() != copy.read_bytes()]
tree.finish("format", faults, f"{len(files)} files")
