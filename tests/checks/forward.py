# SPDX-License-Identifier: MIT
"""<heed/fwd.hpp> names every class, struct and enum that layers/, compose/, losses/ and optim/ offer, but for those in namespaces
detail and kernels."""
import re

import tree

ROOMS = ["layers", "compose", "losses", "optim"]
TYPE = re.compile(r"^(?:template <[^\n]*>\n)?(?:class|struct|enum class) (\w+)(?! *<)", re.M)

forward = tree.without_comments((tree.INCLUDE / "fwd.hpp").read_text())
named = set(TYPE.findall(forward))
faults, seen = [], 0
for header in tree.headers():
    if tree.room_of(header) not in ROOMS:
        continue
    code = tree.without_comments(header.read_text())
    code = re.sub(r"^namespace detail \{$.*?^\}  *$", "", code, flags=re.M | re.S)
    if "namespace heed::inline HEED_ABI::kernels" in code:
        continue
    for name in TYPE.findall(code):
        seen += 1
        if name not in named:
            faults.append(f"{tree.name_of(header)}: {name} is not in include/heed/fwd.hpp")
tree.finish("forward", faults, f"{seen} types")
