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


# The default of an option that has none.
REQUIRED = "must be given"


def structs(header):
    """[(name, {option: default})] of the header's ...Options. The default of an option that must be given is written so: it is 0 or empty, and no comment says what 0 means."""
    commented = header.read_text()
    text = without_comments(commented)
    found = []
    for name, body in re.findall(r"struct (\w*Options)(?: : \w+)? \{(.*?)\n\};", text, re.S):
        members = re.findall(r"^  (?!\S[^=\n]*\()[\w:<>, *]+?\s(\w+)(?:\s*=\s*|\s*(?=[{;]))(.*?);", body, re.M | re.S)
        options = {}
        for option, default in members:
            default, *others = re.split(r", (?=\w+ = )", " ".join(default.split()))  # Index height = 0, width = 0;
            options[option] = default
            options.update(other.split(" = ") for other in others)
            if options[option] in ("0", "{}", "") and not re.search(rf"\b{option}\b[^\n]*///<[^\n]*\b(?:0|none|empty):", commented):
                options[option] = REQUIRED
        found.append((name, options))
    return found


def finish(check, faults, seen):
    """Prints the faults and ends: 0 when there are none."""
    for fault in faults:
        print(fault)
    print(f"{check}: {seen}, {len(faults)} faults")
    sys.exit(1 if faults else 0)


def jobs():
    return max(1, min(2, os.cpu_count() or 1))
