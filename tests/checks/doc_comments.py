# SPDX-License-Identifier: MIT
"""The comment of each layer, loss and optimiser tells shapes and where the mathematics comes from: torch's name, or a paper by its year. (What all of them throw is said
once, in cmake/reference.py.)"""
import re

import tree

CLASS = re.compile(r"((?:^ *///.*\n)+)(?: *template <.*>\n)?(?: *requires.*\n)? *class (\w+)(?: final)? : public (?:LayerBase<\2\b|\w+Layer<\2\b|LossBase<T, \2\b|ParameterOptimizer<)", re.M)
SHAPE = re.compile(r"\((?:N|B|[.][.][.]),|\([a-z_]+, [a-z_ 0-9*+]+\)|[Ss]hapes?\b|any rank")
SOURCE = re.compile(r"\b(?:19|20)\d\d\b|torch\.(?:nn|optim)\b")

faults, count = [], 0
for header in tree.headers():
    if tree.room_of(header) not in ("layers", "losses", "optim"):
        continue
    for comment, name in CLASS.findall(header.read_text(encoding="utf-8")):
        count += 1
        says = [(SHAPE, "no shape"), (SOURCE, "no source")] if tree.room_of(header) != "optim" else [(SOURCE, "no source")]
        faults += [f"{tree.name_of(header)}: the comment of {name} has {what}" for pattern, what in says if not pattern.search(comment)]
if count < 40:
    faults.append(f"only {count} classes were found: does the pattern still fit how they are written?")
tree.finish("doc_comments", faults, f"{count} classes")
