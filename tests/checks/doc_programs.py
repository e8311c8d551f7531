# SPDX-License-Identifier: MIT
"""The C++ blocks of README.md and docs/ compile and run. Usage: doc_programs.py -- COMPILER FLAGS...

The blocks of one page follow one another in one function, so a later one knows the names of an earlier one; what a reader need not see (a model, some
input) stands in a comment of the page, <!-- cpp ... -->. Blocks with a `main` are programs of their own; the README's is examples/quick_start.
#include lines may stand anywhere. `...` on a line of its own stands for the reader's code. A ```text block right behind one of C++ is what that prints.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import doc_blocks
import tree

compiler = sys.argv[sys.argv.index("--") + 1:]
pages = [tree.ROOT / "README.md", *sorted((tree.ROOT / "docs").rglob("*.md"))]
faults, blocks, printed = [], 0, {}


def build_and_run(name, source, folder, block_of=None):
    """Compiles and runs `source`, whose #line directives name the pages: all of it is `block_of`, or a line that begins with \\x01 says from which block what
    follows comes."""
    path, program = Path(folder) / f"{name}.cpp", Path(folder) / name
    path.write_text(source)
    built = subprocess.run([*compiler, "-O0", "-Wall", "-Wextra", "-Werror", "-Wno-unused", str(path), "-o", str(program)], capture_output=True, text=True)
    if built.returncode:
        return built.stderr[:4000]
    ran = subprocess.run([str(program)], cwd=folder, capture_output=True, text=True, timeout=600)
    said = ran.stdout if block_of is None else f"\x01{block_of}\n{ran.stdout}"
    for part in said.split("\x01")[1:]:
        block, _, lines = part.partition("\n")
        if block in printed and lines.rstrip() != printed[block].rstrip():
            faults.append(f"{block}: the page shows\n{printed[block]}and the program prints\n{lines}")
    return "" if ran.returncode == 0 else f"{name} ended with {ran.returncode}: {ran.stderr[-2000:]}"


with tempfile.TemporaryDirectory() as folder:
    includes, functions, calls, programs = {}, [], [], []
    for page in pages:
        text, body = page.read_text(encoding="utf-8"), []
        for _, line, code, shown in doc_blocks.blocks(text):
            blocks += 1
            block = f"{tree.name_of(page)}:{line}"
            if shown is not None:
                printed[block] = shown
            if re.search(r"\bint main\b", code):
                if page.name == "README.md":
                    continue
                programs.append((block, f'#line {line} "{tree.name_of(page)}"\n{code}'))
                continue
            includes.update(dict.fromkeys(doc_blocks.INCLUDE_LINE.findall(code)))
            body.append(f'std::puts("\\1{block}");\n#line {line} "{tree.name_of(page)}"\n{doc_blocks.statements(code)}')
        if body:
            name = re.sub(r"\W", "_", tree.name_of(page))
            functions.append(f"void {name}() {{\n" + "".join(body) + "}\n")
            calls.append(f"  {name}();\n")
    source = doc_blocks.program(includes, functions, calls)
    for number, (block, code) in enumerate([(None, source), *programs]):
        fault = build_and_run(f"program{number}", code, folder, block)
        if fault:
            faults.append(fault)

tree.finish("doc_programs", faults, f"{blocks} blocks of {len(pages)} pages")
