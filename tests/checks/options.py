# SPDX-License-Identifier: MIT
"""The tables of options in the pages are those of the headers: each option of its struct has a row, each row an option, and the defaults agree."""
import re

import tree

TABLE = "| option | default | meaning |\n"
# Pages of the book whose tables are of other rooms than the one that they are called after.
ROOMS_OF_PAGE = {"training": ["data", "train"]}


def words(default):
    """A default as a list of words: numbers as floats, names of enumerators without their type."""
    result = []
    for word in default.strip().strip("{}").replace("`", "").replace("−", "-").split(","):
        word = word.strip().split("::")[-1].removesuffix("()")
        try:
            result.append(float(word))
        except ValueError:
            result.append({"none": "", "nullopt": ""}.get(word, word))
    return result


def agrees(page, header):
    """Whether the default that a page names is the header's. What an empty one means, or one that is computed, is for the page to say."""
    if header == tree.REQUIRED:  # or 0 is what it says
        return page in (tree.REQUIRED, "0", "none") or not re.fullmatch(r"[-\d.]+|`\w+`", page)
    said, is_so = words(page), words(header)
    if is_so == [""] or re.search(r"[?{]", header.strip("{}")):
        return True
    return said == is_so


def check(page, table, candidates, faults):
    rows = re.findall(r"^\| (`[^|]*?) \| ([^|]*?) \|", table, re.M)
    named = {}
    for options, default in rows:
        options = re.findall(r"`(\w+)`", options)
        each = default.split(", ") if len(options) > 1 and len(default.split(", ")) == len(options) else [default] * len(options)
        named.update(zip(options, each))
    fitting = [(name, members) for name, members in candidates if set(members) & set(named)]
    if not fitting:
        faults.append(f"{tree.name_of(page)}: the table of {', '.join(named)} belongs to no struct of options")
        return
    name, members = min(fitting, key=lambda one: len(set(one[1]) ^ set(named)))
    for option in sorted(set(members) - set(named)):
        faults.append(f"{tree.name_of(page)}: {name}::{option} has no row")
    for option in sorted(set(named) - set(members)):
        faults.append(f"{tree.name_of(page)}: {name} has no option {option}")
    for option in sorted(set(named) & set(members)):
        if not agrees(named[option], members[option]):
            faults.append(f"{tree.name_of(page)}: {name}::{option} is {members[option] or 'empty'} unless given, not {named[option]}")


faults, tables = [], 0
for page in sorted((tree.ROOT / "docs").rglob("*.md")):
    parts = page.read_text().split(TABLE)[1:]
    if page.parent.name in tree.ROOMS:
        headers = [tree.INCLUDE / page.parent.name / f"{page.stem}.hpp"]
    else:
        headers = [header for room in ROOMS_OF_PAGE.get(page.stem, [page.stem]) for header in sorted((tree.INCLUDE / room).glob("*.hpp"))]
    candidates = [one for header in headers if header.exists() for one in tree.structs(header)]
    for part in parts:
        check(page, part.split("\n\n")[0], candidates, faults)
        tables += 1
if tables == 0:
    faults.append("no page has a table of options")
tree.finish("options", faults, f"{tables} tables")
