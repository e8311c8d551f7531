# SPDX-License-Identifier: MIT
"""Pages lead where they say: links and their #anchors, and paths in backticks; in docs/ a page that is named is a link. Rows of a table have as many cells as its header."""
import re

import tree

FENCED = re.compile(r"^( *)(`{3,}).*?^\1\2$|<!--.*?-->", re.S | re.M)
LINK = re.compile(r"\]\(([^()\s]+)\)|\b(?:src|href)=\"([^\"]+)\"")
# From the project's folder; a header also as it is included, or from include/heed/.
PATH = re.compile(rf"`(?:(?:docs|examples|include|tests|benchmarks|cmake)/[\w./-]*|(?:heed/)?(?:{'|'.join(tree.ROOMS)})/\w+\.hpp|heed/[\w/]+\.hpp)`")
TOLD = {"docs/CHANGELOG.md"}  # what was; its pages are those of its time


def blank(pattern, text):
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def anchors(page):
    """As GitHub makes them of headings."""
    found = []
    for heading in re.findall(r"^#+ (.*)$", blank(FENCED, page.read_text()), re.M):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "]", heading).strip().lower()).replace(" ", "-")
        found.append(words + (f"-{found.count(words)}" if words in found else ""))
    return found


def cells(row):
    return len(re.sub(r"^\||(?<!\\)\|$", "", row.strip()).replace("\\|", "").split("|"))


faults, pages, links = [], 0, 0
for page, text in tree.text_files():
    if page.suffix != ".md":
        continue
    pages += 1
    name = tree.name_of(page)
    for number, line in enumerate(blank(FENCED, text).splitlines(), 1):
        for link in LINK.finditer(re.sub(r"`[^`]*`", lambda code: "x" * len(code.group()), line)):
            target, _, anchor = (link[1] or link[2]).partition("#")
            if re.match(r"\w+:", target):
                continue
            links += 1
            there = page.parent / target if target else page
            if not there.exists():
                faults.append(f"{name}:{number}: the link to {target} leads nowhere")
            elif anchor and anchor not in anchors(there):
                faults.append(f"{name}:{number}: {tree.name_of(there.resolve())} has no heading #{anchor}")
        for match in PATH.finditer(line):
            path = match.group().strip("`")
            if not any((folder / path).exists() for folder in (tree.ROOT, tree.ROOT / "include", tree.INCLUDE)):
                faults.append(f"{name}:{number}: there is no {path}")
            elif re.fullmatch(r"docs/.*\.md", path) and name.startswith("docs/") and name not in TOLD and line[match.end():match.end() + 2] != "](":
                faults.append(f"{name}:{number}: {path} is no link")
    for table in re.finditer(r"^(.*\|.*)\n *\|?(?: *:?-+:? *\|)+(?: *:?-+:? *)?\n((?:.*\S.*\n?)*)", blank(FENCED, text), re.M):
        for row in table[2].splitlines():
            if cells(row) != cells(table[1]):
                faults.append(f"{name}: a row of {cells(row)} cells, the header has {cells(table[1])}: {row[:120]}")

tree.finish("links", faults, f"{links} links of {pages} pages")
