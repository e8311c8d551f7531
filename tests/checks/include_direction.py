# SPDX-License-Identifier: MIT
"""A room includes only the rooms that it may; no header includes itself in a circle; costly std headers stay out of the hot rooms; all.hpp
reaches every header; names are in the inline namespace HEED_ABI, which core/config.hpp defines."""
import re

import tree

COSTLY = {"iostream", "sstream", "functional", "map", "regex", "filesystem", "fstream", "iomanip", "future"}
CHEAP_ROOMS = {"core", "kernels", "layers", "compose", "losses", "optim"}
INCLUDE_LINE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# The one header of an operating system: advice on huge pages.
SYSTEM = {("include/heed/core/buffer_pool.hpp", "sys/mman.h")}

faults, edges = [], {}
found = tree.headers()
for header in found:
    room, name = tree.room_of(header), tree.name_of(header)
    edges[name] = []
    for number, line in enumerate(header.read_text().splitlines(), 1):
        match = INCLUDE_LINE.match(line)
        if not match:
            continue
        bracket, target = match.groups()
        place = f"{name}:{number}: <{target}>"
        if bracket == '"':
            faults.append(f"{place}: headers are included with angle brackets and their full path")
        elif target.startswith("heed/"):
            edges[name].append(f"include/{target}")
            other = target.split("/")[1]
            if room is None:
                pass  # heed.hpp opens every door
            elif other == "fwd.hpp":
                pass  # names only
            elif other.endswith(".hpp"):
                faults.append(f"{place}: a room does not include the header of the whole house")
            elif other != room and other not in tree.ROOMS.get(room, []):
                faults.append(f"{place}: {room}/ may include {', '.join(tree.ROOMS.get(room, [])) or 'no other room'}, not {other}/")
        elif "/" in target and not target.startswith("Eigen/") and (name, target) not in SYSTEM:
            faults.append(f"{place}: the library knows the standard library and Eigen only")
        elif room in CHEAP_ROOMS and target in COSTLY:
            faults.append(f"{place}: costs every user compile time")
    for number, line in enumerate(header.read_text().splitlines(), 1):
        if line.startswith("namespace heed") and not line.startswith("namespace heed::inline HEED_ABI"):
            faults.append(f"{name}:{number}: write namespace heed::inline HEED_ABI (core/config.hpp says what for)")
        elif line.startswith("namespace heed") and not edges[name]:
            faults.append(f"{name}:{number}: HEED_ABI is not defined here: include <heed/core/config.hpp>")

state = {}  # 1: on the way down, 2: done


def walk(name, path):
    state[name] = 1
    for other in edges.get(name, []):
        if state.get(other) == 1:
            faults.append("circle of includes: " + " -> ".join(path[path.index(other):] + [other]))
        elif other not in state:
            walk(other, path + [other])
    state[name] = 2


for name in edges:
    if name not in state:
        walk(name, [name])

# all.hpp leaves nothing out.
reached, ahead = set(), ["include/heed/all.hpp"]
while ahead:
    name = ahead.pop()
    if name not in reached:
        reached.add(name)
        ahead += edges.get(name, [])
faults += [f"{name}: include/heed/all.hpp does not reach it" for name in edges
           if name not in reached and not tree.is_optional(tree.ROOT / name)]

tree.finish("include_direction", faults, f"{len(found)} headers")
