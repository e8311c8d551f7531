# SPDX-License-Identifier: MIT
"""The C++ blocks of README.md and docs/ compile and run, those in the headers' comments compile. Usage: doc_programs.py -- COMPILER FLAGS...

The blocks of one page follow one another in one function, so a later one knows the names of an earlier one; what a reader need not see (a model, some
input) stands in a comment of the page, <!-- cpp ... -->. Blocks with a `main` are programs of their own; the README's is examples/quick_start.
#include lines may stand anywhere. `...` on a line of its own stands for the reader's code. A ```text block right behind one of C++ is what that prints.
A block in a header's comment is a function of `Given`, which has what such examples take for granted.
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
faults, blocks, printed, ran_blocks = [], [], {}, set()

GIVEN = """struct Given {
  AnyLayer<float, 4, 2> model;
  Sequential<Embedding<float>, TransformerEncoderLayer<float>> writer;
  ScaledDotProductAttention<float> attention;
  ScaledDotProductAttention<float>::Cache cache;
  RelativePositionBias<float> bias;
  Tensor<float, 4> x, image, q, k, v, y, dy;
  Tensor<float, 2> logits;
  Tensor<std::int64_t, 2> prompt, next, tokens;
  std::vector<int> labels;
  Index step, heads, queries, keys;
  ImageDataset train, test;
  Batches<float> batches;
  AdamW<float> optimizer;
  WarmupSchedule schedule;
  std::vector<NamedParameter<float>> hidden, others;
  void learn(const Tensor<float, 4>& images, const std::vector<int>& labels);
  void learn(const Tensor<std::int64_t, 2>& inputs, const std::vector<int>& targets);
  void show(const StepReport& step);
"""


def compiled(source, *flags):
    """What the compiler says to a source that it does not take."""
    built = subprocess.run([*compiler, "-Wall", "-Wextra", "-Werror", "-Wno-unused", str(source), *flags], capture_output=True, text=True)
    return built.stderr[:4000] if built.returncode else ""


def build_and_run(name, source, folder, block_of=None):
    """Compiles and runs `source`, whose #line directives name the pages: all of it is `block_of`, or a line that begins with \\x01 says from which block what
    follows comes."""
    path, program = Path(folder) / f"{name}.cpp", Path(folder) / name
    path.write_text(source)
    if fault := compiled(path, "-O0", "-o", str(program)):
        return fault
    ran = subprocess.run([str(program)], cwd=folder, capture_output=True, text=True, timeout=600)
    said = ran.stdout if block_of is None else f"\x01{block_of}\n{ran.stdout}"
    for part in said.split("\x01")[1:]:
        block, _, lines = part.partition("\n")
        ran_blocks.add(block)
        if block in printed and lines.rstrip() != printed[block].rstrip():
            faults.append(f"{block}: the page shows\n{printed[block]}and the program prints\n{lines}")
    return "" if ran.returncode == 0 else f"{name} ended with {ran.returncode}: {ran.stderr[-2000:]}"


with tempfile.TemporaryDirectory() as folder:
    includes, functions, calls, programs = {}, [], [], []
    for page in pages:
        text, body = page.read_text(encoding="utf-8"), []
        faults += [f"{tree.name_of(page)}:{line}: C++ without a fence is not compiled: {code}" for line, code in doc_blocks.indented(text)]
        for _, line, code, shown in doc_blocks.blocks(text):
            block = f"{tree.name_of(page)}:{line}"
            if shown is not None:
                printed[block] = shown
            is_program = re.search(r"\bint main\b", code)
            if is_program and page.name == "README.md" and shown is None:
                continue
            blocks.append(block)
            if is_program:
                programs.append((block, f'#line {line} "{tree.name_of(page)}"\n{code}'))
                continue
            includes.update(dict.fromkeys(doc_blocks.INCLUDE_LINE.findall(code)))
            body.append(f'std::puts("\\1{block}");\n#line {line} "{tree.name_of(page)}"\n{doc_blocks.statements(code)}')
        if body:
            name = re.sub(r"\W", "_", tree.name_of(page))
            functions.append(f"void {name}() {{\n" + "".join(body) + "}\n")
            calls.append(f"  {name}();\n")
    source = doc_blocks.program(includes, functions, calls)
    failures = [build_and_run(f"program{number}", code, folder, block) for number, (block, code) in enumerate([(None, source), *programs])]
    faults += list(filter(None, failures)) or [f"{block}: it is compiled, but never ran" for block in blocks if block not in ran_blocks]

    examples = GIVEN
    for header in tree.headers():
        name, text = tree.name_of(header), doc_blocks.comments(header.read_text(encoding="utf-8"))
        faults += [f"{name}:{line}: C++ without a fence is not compiled: {code}" for line, code in doc_blocks.indented(text)]
        for _, line, code, _ in doc_blocks.blocks(text):
            blocks.append(f"{name}:{line}")
            examples += f'void example{len(blocks)}() {{\n#line {line} "{name}"\n{doc_blocks.statements(code)}}}\n'
    source = Path(folder) / "comments.cpp"
    source.write_text(doc_blocks.program({}, [examples, "};\n"], []))
    if fault := compiled(source, "-fsyntax-only"):
        faults.append(fault)

tree.finish("doc_programs", faults, f"{len(blocks)} blocks of {len(pages)} pages and of the headers")
