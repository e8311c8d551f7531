# SPDX-License-Identifier: MIT
"""Makes logits.json, what the nets of examples/pytorch/nets.py say in double about a few images: names and shapes of their state_dicts, and logits.

    python3 tests/examples/pytorch/make.py      # needs torch, numpy and safetensors
"""
import json
import pathlib
import sys
import tempfile

import torch

import formula

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "examples" / "pytorch"))
import nets  # noqa: E402


def shapes_of(net):
    return {name: list(value.shape) for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}


lines = []
with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    formula.write_images(folder)
    for net in nets.WIDTHS:
        for attention in nets.ATTENTIONS:
            words = formula.words_of(net, attention)
            shapes = shapes_of(nets.make(words))
            formula.write_model(folder / "model.safetensors", shapes, words)
            model, words = nets.load(folder / "model.safetensors")
            images, _ = nets.test_images(folder, words, torch.float64)
            with torch.no_grad():
                logits = model.double()(images).tolist()
            # What differs between the arms is the block alone.
            known = shapes if attention == nets.ATTENTIONS[0] else {name: shape for name, shape in shapes.items() if name.startswith("attention")}
            lines.append(json.dumps({"net": net, "attention": attention, "tensors": known, "logits": logits}))
(HERE / "logits.json").write_text("[" + ",\n".join(lines) + "]\n")
