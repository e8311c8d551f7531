# SPDX-License-Identifier: MIT
"""Whether `cifar10 evaluate` reads models that it did not write and says about a few images what PyTorch says (logits.json): every net with every
attention block, by names and shapes alone."""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import formula

TOLERANCE = 1e-5  # of the largest logit: float against PyTorch's double


def read_logits(path):
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    entry = json.loads(content[8 : 8 + length])["logits"]
    begin, end = entry["data_offsets"]
    return struct.unpack(f"<{(end - begin) // 8}d", content[8 + length + begin : 8 + length + end])


faults, worst, common = 0, 0.0, {}
with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    formula.write_images(folder)
    cases = json.loads((pathlib.Path(__file__).parent / "logits.json").read_text())
    for case in cases:
        if case["attention"] == "full":
            common = {name: shape for name, shape in case["tensors"].items() if not name.startswith("attention")}
        model, logits = folder / "model.safetensors", folder / "logits.safetensors"
        formula.write_model(model, common | case["tensors"], formula.words_of(case["net"], case["attention"]))
        done = subprocess.run([sys.argv[1], "evaluate", model, "--data", folder, "--logits", logits, "--overwrite"], capture_output=True, text=True)
        if done.returncode != 0:
            faults += 1
            print(f"FAULT: {case['net']}, {case['attention']}: {done.stderr}")
            continue
        expected = [value for image in case["logits"] for value in image]
        found = read_logits(logits)
        apart = max(abs(a - b) for a, b in zip(found, expected, strict=True)) / max(map(abs, expected))
        worst = max(worst, apart)
        if not apart <= TOLERANCE:
            faults += 1
            print(f"FAULT: {case['net']}, {case['attention']}: logits are {apart:.1e} of the largest apart")
print(f"{len(cases)} nets, logits at most {worst:.1e} of the largest apart, {faults} faults")
sys.exit(1 if faults or not cases else 0)
