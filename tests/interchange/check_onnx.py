#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs ONNX files that heed wrote in ONNX Runtime and compares what comes out with heed's own output.

    check_onnx.py FOLDER...

Every FOLDER holds NAME.onnx and beside it NAME.safetensors with the inputs under the graph's names and the output, in heed's order of axes
(what heed_onnx_cases and `cifar10 export MODEL --onnx FILE --logits FILE` write). Each file passes onnx.checker, with shape inference; nodes have
names of their own. The largest difference may be 1e-5 of the largest output. Needs the packages numpy, onnx, onnxruntime and safetensors.
"""
import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime
import safetensors

MOST = 1e-5  # of the largest output: some hundred roundings of a float


def check(path):
    """The relative difference of one file; raises if the file is wrong."""
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    names = [node.name for node in model.graph.node]
    assert all(names) and len(set(names)) == len(names), "nodes without a name of their own"
    with safetensors.safe_open(str(path.with_suffix(".safetensors")), "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        channels_first = (file.metadata() or {}).get("channels_first") != "false"

    def to_graph(x):
        return numpy.ascontiguousarray(x.transpose(0, 3, 1, 2)) if channels_first and x.ndim == 4 else x

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {i.name: to_graph(tensors[i.name]) for i in session.get_inputs()}
    found = session.run(None, inputs)[0]
    expected = to_graph(tensors["output"])
    assert found.shape == expected.shape, f"shape {found.shape}, expected {expected.shape}"
    assert numpy.isfinite(expected).all(), "heed's output is not finite"
    worst = numpy.abs(found - expected).max() / max(numpy.abs(expected).max(), 1e-30) if expected.size else 0.0
    # The batch is free: the first of each input alone gives the first of the output. (Batch statistics are of the batch.)
    if "own_statistics" not in path.stem and expected.size:
        alone = session.run(None, {name: x[:1] for name, x in inputs.items()})[0]
        worst = max(worst, numpy.abs(alone - expected[:1]).max() / max(numpy.abs(expected).max(), 1e-30))
    assert worst <= MOST, f"difference {worst:.2e} of the largest output, allowed {MOST:.0e}"
    return worst


def main():
    paths = sorted(path for folder in sys.argv[1:] for path in Path(folder).glob("*.onnx"))
    failures, worst = 0, (0.0, "")
    for path in paths:
        try:
            worst = max(worst, (float(check(path)), path.name))
        except Exception as error:  # noqa: BLE001 - whatever a file brings about is one line
            failures += 1
            print(f"FAILED {path}: {type(error).__name__}: {error}")
    print(f"ONNX Runtime {onnxruntime.__version__}, onnx {onnx.__version__}: {len(paths)} models, {failures} failed; "
          f"the largest difference is {worst[0]:.1e} of the largest output ({worst[1]})")
    sys.exit(1 if failures or not paths else 0)


if __name__ == "__main__":
    main()
