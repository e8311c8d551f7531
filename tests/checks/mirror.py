# SPDX-License-Identifier: MIT
"""Each header has its test file, each layer its page with the derivation and a row in the list of layers, each benchmark and page its header; each test case of a room its name."""
import re

import tree

# Definitions of macros only: there is nothing to run.
NO_TEST = {"core/config.hpp"}
# What the machine gives, not what a header does.
NO_HEADER = {"benchmarks/core/peak_bench.cpp"}

faults = []
found = tree.headers()
for header in found:
    room = tree.room_of(header)
    if room is None:
        continue
    if room not in tree.ROOMS:
        faults.append(f"{tree.name_of(header)}: {room}/ is not a room of the house (tests/checks/tree.py)")
        continue
    subject = header.relative_to(tree.INCLUDE).with_suffix("")
    test = tree.ROOT / "tests" / subject.parent / f"{subject.name}_test.cpp"
    if tree.is_optional(header):
        test = tree.ROOT / "tests" / "optional" / f"{subject.name}.cpp"  # a program
    if str(header.relative_to(tree.INCLUDE)) not in NO_TEST and not test.exists():
        faults.append(f"{tree.name_of(header)}: {tree.name_of(test)} is missing")
    if room == "layers" and " backward(" in header.read_text():
        page = tree.ROOT / "docs" / subject.parent / f"{subject.name}.md"
        if not page.exists():
            faults.append(f"{tree.name_of(header)}: {tree.name_of(page)} (the gradient's derivation) is missing")

for folder, ending in (("benchmarks", "_bench.cpp"), ("docs", ".md")):
    for room in tree.ROOMS:
        for path in sorted((tree.ROOT / folder / room).rglob("*" + ending)):
            subject = path.relative_to(tree.ROOT / folder)
            header = tree.INCLUDE / subject.parent / (subject.name[: -len(ending)] + ".hpp")
            if not header.exists() and tree.name_of(path) not in NO_HEADER and subject.name != "README.md":
                faults.append(f"{tree.name_of(path)}: belongs to no header ({tree.name_of(header)} does not exist)")

# The lists of layers and of losses: a row for each class, [`Class`](page) and its header, and a link to each page of the folder.
ROW = re.compile(r"^\| \[`(\w+)`\]\([^)]+\) \|.*\| `heed/([\w/]+\.hpp)` \|$", re.M)
CLASS = re.compile(r"^class (\w+)\b[^;{]*: public \w+<(?:T, )?\1<", re.M)  # it names itself to its base
for folder, rooms in (("layers", ("layers", "compose")), ("losses", ("losses",))):
    index = tree.ROOT / "docs" / folder / "README.md"
    text = index.read_text(encoding="utf-8") if index.exists() else ""
    listed = set(ROW.findall(text))
    there = {(name, str(header.relative_to(tree.INCLUDE))) for header in found if tree.room_of(header) in rooms for name in CLASS.findall(header.read_text())}
    for name, header in sorted(there - listed):
        faults.append(f"{tree.name_of(index)}: {name} (heed/{header}) has no row")
    for name, header in sorted(listed - there):
        faults.append(f"{tree.name_of(index)}: heed/{header} has no class {name} that is a layer or a loss")
    linked = set(re.findall(r"\]\(([^)#]+\.md)", text))
    for page in sorted(linked):
        if not (index.parent / page).exists():
            faults.append(f"{tree.name_of(index)}: {page} does not exist")
    for page in sorted(index.parent.glob("*.md")):
        if page != index and page.name not in linked:
            faults.append(f"{tree.name_of(index)}: {page.name} is not linked")

# One program a room: Catch2 wants the names of all its cases to differ.
for room in sorted(path for path in (tree.ROOT / "tests").iterdir() if path.is_dir()):
    names = {}
    for path in sorted(room.rglob("*_test.cpp")):
        for name in re.findall(r'TEST_CASE\("([^"]*)"', path.read_text()):
            if name in names:
                faults.append(f"{tree.name_of(path)}: test case '{name}' is one of {tree.name_of(names[name])}, too")
            names[name] = path

tree.finish("mirror", faults, f"{len(found)} headers")
