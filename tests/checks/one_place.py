# SPDX-License-Identifier: MIT
"""What the house keeps in one file each: OpenMP, vector types and instruction sets, the one function that throws, and what Catch2's versions call differently."""
import re

import tree

RULES = [
    ("core/parallel.hpp", "OpenMP", r"#\s*pragma\s+omp|\bomp_\w+|<omp\.h>"),
    ("core/parallel.hpp", "threads", r"\bstd::(j?thread|async)\b(?!::hardware_concurrency)|<thread>|<future>"),
    ("core/simd.hpp", "vector types", r"\bvector_size\b|\b__m(128|256|512)[id]?\b|\b_mm\d*_\w+|<\w*(mmintrin|immintrin|arm_neon|arm_sve)\.h>"),
    ("core/isa.hpp", "the choice of an instruction set", r"\b__builtin_cpu_\w+"),
    ("core/error.hpp", "throw", r"\bthrow\b"),
]
# A std::thread where no loop is meant: the augmentation of the next batch beside the training step; a rank that sleeps until the others answer.
ALLOWED = {("threads", "data"), ("threads", "train"), ("threads", "distributed")}

faults = []
found = tree.headers()
for header in found:
    name, room = str(header.relative_to(tree.INCLUDE)), tree.room_of(header)
    for number, line in enumerate(tree.without_comments(header.read_text()).splitlines(), 1):
        for place, subject, pattern in RULES:
            match = re.search(pattern, line)
            if match and name != place and (subject, room) not in ALLOWED:
                faults.append(f"include/heed/{name}:{number}: '{match.group()}': {subject} only in {place}")

# Catch2 2.13 and 3 call this matcher differently.
for path in sorted((tree.ROOT / "tests").rglob("*.[ch]pp")):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if re.search(r"\bCatch::(Matchers::)?Contains\b", line) and path.name != "catch.hpp":
            faults.append(f"{tree.name_of(path)}:{number}: Catch::Contains is of one version of Catch2; write contains(\"...\") of tests/catch.hpp")

tree.finish("one_place", faults, f"{len(found)} headers")
