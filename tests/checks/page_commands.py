# SPDX-License-Identifier: MIT
"""The shell commands of docs/benchmarks.md and docs/text.md run, as they stand there but for shorter work, in a copy of the tree. Usage: page_commands.py FOLDER

Those of the README are what people call to get here, those of docs/getting_started.md the consumer's of that name. compare_with_pytorch needs $HEED_PYTHON with PyTorch.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import tree

PAGES = ["docs/benchmarks.md", "docs/text.md"]
ELSEWHERE = ["README.md", "docs/getting_started.md"]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.S | re.M)
SHAPES = "attention 1x2x32x16\nlinear 16x32->8\n"
SHORT = [  # a command that has the first gets the second at its end
    ("heed_benchmarks", "--benchmark_min_time=0.001"),
    ("heed_benchmarks (?!.*(filter|shapes))", "--benchmark_filter='^linear/'"),
    ("compare_with_pytorch ", "--filter '^attention/(1x2x32x16|1x8x(64|128)x64)/forward$' --rounds 1 --seconds 0.01 --python {python}"),
]
python = os.environ.get("HEED_PYTHON", "")


def shortened(command):
    command = re.sub(r"\s\s+#.*", "", command) + " "
    command = re.sub(r"--steps \d+", "--steps 10", command)
    if "text train" in command and "--steps" not in command:
        command += "--steps 10"
    return " ".join([command, *(words.format(python=python) for part, words in SHORT if re.search(part, command))])


copy = Path(sys.argv[1]).resolve()
shutil.rmtree(copy, ignore_errors=True)
made = shutil.ignore_patterns(".git", "build", "data", "runs", "out", "__pycache__")
shutil.copytree(tree.ROOT, copy, ignore=lambda folder, names: made(folder, names) if Path(folder) == tree.ROOT else {"__pycache__"} & set(names))
(copy / "my_shapes.txt").write_text(SHAPES)
(copy / "my" / "notes").mkdir(parents=True)
(copy / "my" / "notes" / "one.txt").write_text("Of all that I noted, this I note again. " * 40)
(copy / "letter.txt").write_text("Dear reader, this is a letter. " * 20)

faults, count, skipped = [], 0, False
for path in [tree.ROOT / "README.md", *sorted((tree.ROOT / "docs").rglob("*.md")), *sorted((tree.ROOT / "examples").rglob("*.md"))]:
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    if blocks and tree.name_of(path) not in [*PAGES, *ELSEWHERE]:
        faults.append(f"{tree.name_of(path)}: nothing runs its commands")
    for line in "".join(blocks).splitlines() if tree.name_of(path) in PAGES else []:
        command = shortened(line)
        if re.search("compare_with_pytorch|draw_attention", line) and not python:
            print(f"SKIPPED without HEED_PYTHON: {line}")
            skipped = True
            continue
        print("$", command, flush=True)
        done = subprocess.run(["bash", "-c", command], cwd=copy, text=True, capture_output=True)
        count += 1
        if done.returncode != 0:
            faults.append(f"{tree.name_of(path)}: {line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
if skipped and not faults:
    sys.exit(77)
tree.finish("page_commands", faults, f"{count} commands")
