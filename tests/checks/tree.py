# SPDX-License-Identifier: MIT
"""What the checks share: the files of the tree, comments cut out, and the way a check ends."""
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include" / "heed"

# Room: the rooms that it may include, besides itself (docs/architecture.md).
ROOMS = {
    "core": [],
    "kernels": ["core"],
    "layers": ["core", "kernels"],
    "compose": ["core"],
    "losses": ["core", "kernels"],
    "optim": ["core", "kernels"],
    "data": ["core", "io"],  # files of data sets are written whole or not at all, through io/atomic_file.hpp
    "io": ["core"],
    "distributed": ["core", "kernels", "optim"],
    "train": ["core", "kernels", "layers", "compose", "losses", "optim", "data", "io", "distributed"],
    "testing": ["core"],
}

# Headers for those who have what they need (an MPI), and the one for a single file of a program: not in all.hpp, and not compiled by themselves.
OPTIONAL = {"distributed/mpi_communicator.hpp", "compiled.hpp"}


def is_optional(header):
    return str(header.relative_to(INCLUDE)) in OPTIONAL


def headers():
    """Every header below include/, sorted."""
    return sorted(INCLUDE.rglob("*.hpp"))


def room_of(header):
    """The room of a header; None for the ones in the root (heed.hpp)."""
    parts = header.relative_to(INCLUDE).parts
    return parts[0] if len(parts) > 1 else None


def name_of(path):
    return str(path.relative_to(ROOT))


def text_files():
    """Every file of the tree that people read, without what builds and runs leave behind: what .gitignore names."""
    left_out = {".git", "build", "data", "out", "runs", ".cache", "compile_commands.json", "CMakeUserPresets.json"}
    for top in sorted(ROOT.iterdir()):
        hidden = top.is_dir() and top.name.startswith(".") and top.name not in {".ci", ".github"}
        made = (top / "CMakeCache.txt").exists() or (top / "pyvenv.cfg").exists()
        if top.name in left_out or top.name.startswith("build-") or hidden or made:
            continue
        found = [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file())
        for path in found:
            if "__pycache__" in path.parts:
                continue
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                pass  # pictures, reference tensors


def without_comments(text):
    """C++ text with comments blanked, line for line; string and character literals stay."""
    pattern = re.compile(r'''"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])'|//[^\n]*|/\*.*?\*/''', re.S)
    return pattern.sub(lambda m: m.group() if m.group()[0] != "/" else re.sub(r"[^\n]", " ", m.group()), text)


def finish(check, faults, seen):
    """Prints the faults and ends: 0 when there are none."""
    for fault in faults:
        print(fault)
    print(f"{check}: {seen}, {len(faults)} faults")
    sys.exit(1 if faults else 0)


def jobs():
    return max(1, min(2, os.cpu_count() or 1))
