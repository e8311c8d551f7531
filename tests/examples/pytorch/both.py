# SPDX-License-Identifier: MIT
"""heed and PyTorch side by side (tests/run --full): the four nets and every attention block are trained for a moment by the program, go to PyTorch and come
back (examples/pytorch/compare.py); a few training steps are made by both (examples/pytorch/twin.py); and the Python of docs/interchange.md runs.

    python3 tests/examples/pytorch/both.py PROGRAM      # needs torch, numpy and safetensors
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import torch

import formula

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples" / "pytorch"))
import compare  # noqa: E402
import nets  # noqa: E402
import twin  # noqa: E402

program = pathlib.Path(sys.argv[1]).resolve()
CASES = [(net, "full") for net in nets.WIDTHS] + [("article", attention) for attention in nets.ATTENTIONS[1:]]
faults = []


def run(*arguments):
    subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


usual = nets.describe("article") | {"attention_blocks": "1", "attention_after": "2", "feed_forward": "0", "relative_bias": "0"}
nets.make(usual)
for word, value in {"attention_blocks": "2", "attention_after": "1", "feed_forward": "2", "relative_bias": "1"}.items():
    nets.make(usual | {"attention": "none", word: value})  # there is no block
    try:
        nets.make(usual | {word: value})
        faults.append(f"a model with {word} {value} is taken for the usual one")
    except ValueError as error:
        if f"{word} {value}" not in str(error):
            faults.append(f"a model with {word} {value} is refused with '{error}'")
with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    data = folder / "data" / "cifar-10-batches-bin"
    data.mkdir(parents=True)
    formula.write_images(data, 40)
    for net, attention in CASES:
        print(f"{net}, attention {attention}")
        output = folder / "runs" / (f"{net}-1" if attention == "full" else f"{net}-{attention}")
        run("train", "--net", net, "--attention", attention, "--epochs", "1", "--batch-size", "20", "--data", data, "--output", output)
        if compare.main(argparse.Namespace(model=output / "model.safetensors", data=data, cifar10=program)) != 0:
            faults.append(f"{net}, attention {attention}")
    for precision in ("double", "float"):
        steps = folder / precision
        run("export", steps, "--net", "article", "--steps", "4", "--batch-size", "20", "--precision", precision, "--each-step", "--data", data)
        if twin.main(steps) != 0:
            faults.append(f"the steps in {precision}")
    os.chdir(folder)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "interchange.md").read_text(encoding="utf-8"), re.S | re.M):
        exec(block, names)
    weight = torch.arange(24.0).view(1, 24)  # (C, H, W) = (2, 3, 4)
    if not torch.equal(names["columns_for_torch"](names["columns_for_heed"](weight, 2, 3, 4), 2, 3, 4), weight):
        faults.append("the columns of docs/interchange.md do not come back")
    for model in ("back.safetensors", "new.safetensors"):
        run("evaluate", model, "--data", data)
print(f"{len(CASES)} nets both ways, steps in double and float, {len(faults)} faults{': ' * bool(faults)}{'; '.join(faults)}")
sys.exit(1 if faults else 0)
