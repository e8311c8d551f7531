# SPDX-License-Identifier: MIT
"""heed and PyTorch side by side (tests/run --full): the four nets and every attention block are trained for a moment by the program, go to PyTorch and come
back (examples/pytorch/compare.py); and a few training steps are made by both (examples/pytorch/twin.py).

    python3 tests/examples/pytorch/both.py PROGRAM      # needs torch, numpy and safetensors
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import formula

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "examples" / "pytorch"))
import compare  # noqa: E402
import nets  # noqa: E402
import twin  # noqa: E402

program = pathlib.Path(sys.argv[1]).resolve()
CASES = [(net, "full") for net in nets.WIDTHS] + [("article", attention) for attention in nets.ATTENTIONS[1:]]
faults = []


def run(*arguments):
    subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    formula.write_images(folder, 40)
    for net, attention in CASES:
        print(f"{net}, attention {attention}")
        output = folder / f"{net}-{attention}"
        run("train", "--net", net, "--attention", attention, "--epochs", "1", "--batch-size", "20", "--data", folder, "--output", output)
        if compare.main(argparse.Namespace(model=output / "model.safetensors", data=folder, cifar10=program)) != 0:
            faults.append(f"{net}, attention {attention}")
    for precision in ("double", "float"):
        steps = folder / precision
        run("export", steps, "--net", "article", "--steps", "4", "--batch-size", "20", "--precision", precision, "--each-step", "--data", folder)
        if twin.main(steps) != 0:
            faults.append(f"the steps in {precision}")
print(f"{len(CASES)} nets both ways, steps in double and float, {len(faults)} faults{': ' * bool(faults)}{'; '.join(faults)}")
sys.exit(1 if faults else 0)
