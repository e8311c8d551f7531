# SPDX-License-Identifier: MIT
"""Compares a model of the example cifar10 with the same net in PyTorch, both ways:

    python3 examples/pytorch/compare.py runs/demo-1/model.safetensors [--data DIR] [--cifar10 PROGRAM]

    heed to PyTorch   the file's weights, loaded by name, give the same logits on all test images
    and back          the weights that PyTorch writes are the same bits (heed's hash of them and its logits are equal)
    PyTorch to heed   a net of the same kind made in PyTorch, with statistics of its own, gives the same logits in `cifar10 evaluate`

Logits are equal if they differ by at most 1e-5 of the largest one. Exit code 1 if anything differs. Needs torch, numpy and safetensors (nets.py), and the
program built (in build/, or name it).
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import load_file

import nets

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5  # of the largest logit: two hundred roundings in float


def first(places, what):
    for place in places:
        if place.exists():
            return place
    sys.exit(f"compare: {what}")


def heed_logits(program, model, data, folder):
    """What `cifar10 evaluate` says about each test image, and its hash of the weights."""
    path = folder / "logits.safetensors"
    done = subprocess.run([program, "evaluate", model, "--data", data, "--convolution", "direct", "--logits", path, "--overwrite"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"compare: {done.stderr.strip()}")
    with safe_open(path, "pt") as file:
        return file.get_tensor("logits"), file.get_tensor("labels"), file.metadata()["weights_hash"]


def torch_logits(net, images):
    with torch.no_grad():
        return torch.cat([net(part) for part in images.split(250)])


def agree(what, heed, own, labels):
    largest = own.abs().max().item()
    apart = (heed - own.double()).abs().max().item() / largest
    right = [100 * (logits.argmax(1) == labels).double().mean().item() for logits in (heed, own)]
    print(f"{what}: logits of {len(labels)} images at most {apart:.1e} of the largest ({largest:.2f}) apart, accuracy {right[0]:.2f} % in heed, "
          f"{right[1]:.2f} % in PyTorch")
    return apart <= TOLERANCE


def fresh_net(words, images):
    """A net with PyTorch's initial weights, whose batch norms have seen some images."""
    torch.manual_seed(1)
    net = nets.make(words).train()
    with torch.no_grad():
        for part in images[:500].split(100):
            net(part)
    return net.eval()


def main(arguments):
    program = first([arguments.cifar10] if arguments.cifar10 else [ROOT / "build" / kind / "cifar10" for kind in ("bin", "release/bin", "example/bin")],
                    "the program cifar10 was not found; name it with --cifar10")
    named = arguments.data or os.environ.get("CIFAR10_DIR")
    here = pathlib.Path("data")
    data = first([pathlib.Path(named)] if named else [here / "cifar-10-batches-bin", ROOT / here / "cifar-10-batches-bin", here / "generated-batches-bin"],
                 "the data were not found; name their folder with --data")
    net, words = nets.load(arguments.model)
    images, labels = nets.test_images(data, words, next(net.parameters()).dtype)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        heed, heed_labels, weights_hash = heed_logits(program, arguments.model, data, folder)
        right = torch.equal(labels, heed_labels) and agree("heed to PyTorch", heed, torch_logits(net, images), labels)

        back = folder / "back.safetensors"
        nets.save(net, back, words)
        original, written = load_file(arguments.model), load_file(back)
        same = all(torch.equal(written[key].view(torch.uint8), value.view(torch.uint8)) for key, value in original.items())
        again, _, hash_again = heed_logits(program, back, data, folder)
        same = same and hash_again == weights_hash and torch.equal(again, heed)
        print(f"and back: {len(original)} tensors, hash {weights_hash}, {'the same bits' if same else 'NOT the same: ' + hash_again}")

        made = fresh_net(words, images.float())
        nets.save(made, folder / "made.safetensors", words)
        heed, _, _ = heed_logits(program, folder / "made.safetensors", data, folder)
        made_right = agree("PyTorch to heed", heed, torch_logits(made, images.float()), labels)
    return 0 if right and same and made_right else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model.safetensors of a run", type=pathlib.Path)
    parser.add_argument("--data", help="folder with the binary version of CIFAR-10", type=pathlib.Path)
    parser.add_argument("--cifar10", help="the program", type=pathlib.Path)
    sys.exit(main(parser.parse_args()))
