# SPDX-License-Identifier: MIT
"""What heed writes as ONNX, in ONNX Runtime (tests/run --full): one small model for each kind of layer and option, and the nets of the example, trained for a
moment.

    python3 tests/interchange/check_onnx.py FOLDER   # of programs: heed_onnx_cases, cifar10

Every file passes onnx.checker with shape inference, its nodes have names of their own, and what comes out differs from heed's output by at most 1e-5
of the largest number. Needs numpy, onnx, onnxruntime and safetensors.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime
import safetensors

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "examples" / "pytorch"))
import formula  # noqa: E402

TOLERANCE = 1e-5  # of the largest number: some hundred roundings of a float
PARTS = ["--attention-blocks", "2", "--attention-after", "1", "--feed-forward", "2", "--relative-bias"]
NETS = [(net, "full", []) for net in ("demo", "small", "large", "article")]
NETS += [("article", attention, []) for attention in ("none", "identity", "uniform", "convolution")]
NETS += [("demo", attention, PARTS) for attention in ("full", "convolution")]


def tensors_of(path):
    with safetensors.safe_open(str(path), "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}


def session_of(path):
    """The model in ONNX Runtime, after the checks that need no numbers."""
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    names = [node.name for node in model.graph.node]
    if not all(names) or len(set(names)) != len(names):
        raise ValueError("nodes without names of their own")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]), model


def difference(found, expected):
    """Of the largest number expected."""
    if found.shape != expected.shape:
        raise ValueError(f"the output is {found.shape}, expected {expected.shape}")
    if not numpy.isfinite(expected).all():
        raise ValueError("heed's output is not finite")
    return float(numpy.abs(found - expected).max() / numpy.abs(expected).max()) if expected.size else 0.0


def check_case(path):
    tensors, words = tensors_of(path.with_suffix(".safetensors"))

    def to_graph(x):  # maps lie channels first there
        return numpy.ascontiguousarray(x.transpose(0, 3, 1, 2)) if words["channels_first"] == "true" and x.ndim == 4 else x

    session, _ = session_of(path)
    inputs = {i.name: to_graph(tensors[i.name]) for i in session.get_inputs()}
    expected = to_graph(tensors["output"])
    worst = difference(session.run(None, inputs)[0], expected)
    if words["rows_alone"] == "true":  # the batch is free in the file
        worst = max(worst, difference(session.run(None, {name: x[:1] for name, x in inputs.items()})[0], expected[:1]))
    return worst


def check_net(program, folder, data, net, attention, parts):
    run, logits = folder / f"{net}-{attention}-{len(parts)}", folder / "logits.safetensors"
    onnx_file = run.with_suffix(".onnx")
    for arguments in (["train", "--net", net, "--attention", attention, "--epochs", "1", "--batch-size", "20", "--data", data, "--output", run, *parts],
                      ["evaluate", run / "model.safetensors", "--data", data, "--logits", logits, "--overwrite"],
                      ["export", run / "model.safetensors", "--onnx", onnx_file]):
        done = subprocess.run([program, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"cifar10 {arguments[0]}: {done.stderr}")
    session, model = session_of(onnx_file)
    words = {entry.key: entry.value for entry in model.metadata_props}
    if len(json.loads(words["class_names"])) != 10 or words["net"] != net or words["attention"] != attention:
        raise ValueError(f"the metadata is {words}")
    if not any(node.name == "block1.conv1" or node.name == "block1.conv" for node in model.graph.node):
        raise ValueError("no node is called as its layer is")
    records = numpy.fromfile(data / "test_batch.bin", numpy.uint8).reshape(-1, 3073)
    mean, deviation = (numpy.array(json.loads(words[key]), numpy.float32).reshape(1, 3, 1, 1) for key in ("mean", "deviation"))
    images = (records[:, 1:].reshape(-1, 3, 32, 32).astype(numpy.float32) / 255 - mean) / deviation
    return difference(session.run(["logits"], {"images": images})[0], tensors_of(logits)[0]["logits"])


def main():
    programs = pathlib.Path(sys.argv[1]).resolve()
    faults, count, worst = 0, 0, (0.0, "nothing")

    def judge(name, check, *arguments):
        nonlocal faults, count, worst
        count += 1
        try:
            found = check(*arguments)
            worst = max(worst, (found, name))
            if found > TOLERANCE:
                raise ValueError(f"the output differs by {found:.1e} of the largest number")
        except Exception as error:  # noqa: BLE001 - whatever a file brings about is one line, and the next one's turn
            faults += 1
            print(f"FAULT: {name}: {type(error).__name__}: {error}")

    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        subprocess.run([programs / "heed_onnx_cases", folder / "cases"], check=True)
        for path in sorted((folder / "cases").glob("*.onnx")):
            judge(path.stem, check_case, path)
        if (programs / "cifar10").exists():
            data = folder / "cifar-10-batches-bin"
            data.mkdir()
            formula.write_images(data, 40)
            for net, attention, parts in NETS:
                judge(" ".join([net, "with attention", attention, *parts]), check_net, programs / "cifar10", folder, data, net, attention, parts)
    print(f"ONNX Runtime {onnxruntime.__version__}, onnx {onnx.__version__}: {count} models, {faults} faults; "
          f"the largest difference is {worst[0]:.1e} of the largest number ({worst[1]})")
    sys.exit(1 if faults or count == 0 else 0)


if __name__ == "__main__":
    main()
