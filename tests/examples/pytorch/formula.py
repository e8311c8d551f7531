# SPDX-License-Identifier: MIT
"""Models and images of the example cifar10 from a formula, so that a test needs no file of weights: written with nothing but Python's own library, for
make.py, which asks PyTorch for the logits, and check.py, which asks heed (both.py asks both). Every number is exact in float."""
import array
import json
import math
import struct
import zlib

PERIOD = 4093  # a prime, so that no two filters are alike


def sequence(count):
    """Numbers 0 ... 65535 (Knuth's MMIX generator, upper bits)."""
    state, numbers = 1, []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        numbers.append(state >> 48)
    return numbers


TABLE = [number / 32768 - 1 for number in sequence(PERIOD)]


def values(name, shape):
    """The elements of a tensor: of a size that keeps activations around 1, and another stretch of the sequence for every name."""
    if name.endswith("running_var") or "norm" in name and name.endswith("weight"):
        table = [1 + x / 4 for x in TABLE]
    elif len(shape) == 1:
        table = [x / 8 for x in TABLE]
    else:
        scale = 2 ** round(math.log2(math.sqrt(3 / math.prod(shape[1:]))))
        table = [x * scale for x in TABLE]
    start, count = zlib.crc32(name.encode()) % PERIOD, math.prod(shape)
    return (array.array("f", table) * (count // PERIOD + 2))[start : start + count]


def write_model(path, shapes, words):
    """A safetensors file of the named tensors."""
    header, data = {"__metadata__": words}, bytearray()
    for name, shape in shapes.items():
        begin = len(data)
        data += values(name, shape).tobytes()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_images(folder, count=3):
    """A folder of CIFAR-10's format, each of whose files holds the same `count` images."""
    pixels = bytes(number >> 8 for number in sequence(3072 * count))
    records = b"".join(bytes([i % 10]) + pixels[3072 * i : 3072 * (i + 1)] for i in range(count))
    for name in ["test_batch.bin"] + [f"data_batch_{i}.bin" for i in range(1, 6)]:
        (folder / name).write_bytes(records)


def words_of(net, attention):
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    return {"format": "heed-cifar10", "format_version": "1", "net": net, "attention": attention, "logit_scale": "0.5", "dataset": "cifar10",
            "mean": "[0.4914,0.4822,0.4465]", "deviation": "[0.247,0.2435,0.2616]", "class_names": json.dumps(names)}
