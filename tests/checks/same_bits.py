# SPDX-License-Identifier: MIT
"""Each layer, composer and loss is in the nets of tests/train/same_bits*, with each of its options but for those whose reason is here."""
import re

import tree

ROOMS = ["layers", "compose", "losses"]
# What enters the same sums whatever it is: a number that is added, the one that a sum is divided by.
NUMBERS = {"eps", "layer_norm_eps", "reduction"}

CLASS = re.compile(r"^class (\w+) : public \w*(?:Layer|Loss)(?:Base)?<(?!Derived)", re.M)

text = "".join(tree.without_comments(path.read_text()) for path in sorted((tree.ROOT / "tests" / "train").glob("same_bits*")))


def options_named(group):
    """The options that a list in braces gives, without those of lists inside of it."""
    depth, end, flat = 0, 0, ""
    while depth or not end:
        depth += {"{": 1, "}": -1}.get(group[end], 0)
        flat += group[end] if depth == 1 else ""
        end += 1
    return re.findall(r"\.(\w+) =", flat)


# What helpers of the tests make of their argument: `conv(const Conv2dOptions& options)`.
made_by = {helper: options for helper, options in re.findall(r"(\w+)(?: = \[[^\]]*\])?\((?:const )?(\w+)Options&? \w+\)", text)}
given = {}
for match in re.finditer(r"(\w+)(?:<[^<>]*>)?(?:\s+\w+)?\(?\s*\{(?=\.)", text):
    name = match[1].removesuffix("Options")
    given.setdefault(made_by.get(name, name), set()).update(options_named(text[match.end() - 1 :]))

faults, seen = [], 0
for header in tree.headers():
    if tree.room_of(header) not in ROOMS:
        continue
    for name in CLASS.findall(tree.without_comments(header.read_text())):
        seen += 1
        if not re.search(rf"\b{name}\b[<(]", text):
            faults.append(f"{tree.name_of(header)}: {name} is in no net of tests/train/same_bits*")
    for struct, members in tree.structs(header):
        stem = struct.removesuffix("Options")
        named = set().union(*(given.get(stem + ending, set()) for ending in ("", "1d", "2d", "Loss")))
        for option in sorted(set(members) - named - NUMBERS):
            faults.append(f"{tree.name_of(header)}: {struct}::{option} is given in no net of tests/train/same_bits*")
tree.finish("same_bits", faults, f"{seen} classes")
