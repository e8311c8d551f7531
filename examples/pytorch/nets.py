# SPDX-License-Identifier: MIT
"""The nets of the example cifar10 (examples/cifar10/nets.cpp) in PyTorch's own layers, and their files.

    import nets
    net, words = nets.load("runs/demo-1/model.safetensors")     # what `cifar10 train` wrote; the names are the same in both
    images, labels = nets.test_images("data/cifar-10-batches-bin", words)
    logits = net(images)
    nets.save(net, "back.safetensors", words)                   # what `cifar10 evaluate`, `predict` and `export` read

Needs torch, numpy and safetensors. Images are (N, 3, 32, 32) here.
"""
import json
import math
import pathlib

import numpy
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

WIDTHS = {"demo": ([24, 64, 96], 4), "small": ([32, 128, 128], 4), "large": ([64, 256, 256], 8), "article": ([32, 96], 4)}
ATTENTIONS = ("full", "none", "identity", "uniform", "convolution")
SIDE = 7  # of the map that the attention block sees
CIFAR10 = {"mean": [0.4914, 0.4822, 0.4465], "deviation": [0.2470, 0.2435, 0.2616],
           "class_names": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]}


def positions(side, width):
    """Sines and cosines of the row in the first half of the channels, of the column in the second: (side * side, width)."""
    half = (width + 1) // 2

    def code(position, channels):
        angles = [position / 10000 ** (c // 2 * 2 / channels) for c in range(channels)]
        return [math.sin(a) if c % 2 == 0 else math.cos(a) for c, a in enumerate(angles)]

    rows = [code(t // side, half) + code(t % side, width - half) for t in range(side * side)]
    return torch.tensor(rows, dtype=torch.float64)


def on_tokens(function, x):
    """`function` of the map's (N, H * W, C) tokens, as a map again."""
    return function(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)


class Attention(nn.Module):
    """Y = X + W_o [C; U] + b with U = LN(X) + P. C is the attention's context; of the controls, each token's own V, or the mean of all."""

    def __init__(self, width, heads, kind):
        super().__init__()
        self.heads, self.kind = heads, kind
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(2 * width, width)
        self.positions = positions(SIDE, width)

    def context(self, u):
        batch, tokens, width = u.shape
        q, k, v = self.qkv(u).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if self.kind == "full":
            v = (q @ k.transpose(-1, -2) / math.sqrt(width // self.heads)).softmax(-1) @ v
        elif self.kind == "uniform":
            v = v.mean(2, keepdim=True).expand_as(v)
        return v.transpose(1, 2).reshape(u.shape)

    def tokens(self, x):
        u = self.norm(x) + self.positions.to(x)
        return x + self.out(torch.cat([self.context(u), u], -1))

    def forward(self, x):
        return on_tokens(self.tokens, x)


class Residual(nn.Module):
    """A layer norm over each token and two convolutions in the place of attention: about as much work."""

    def __init__(self, width):
        super().__init__()
        inner = max((5 * width + 2 * SIDE * SIDE) // 80 * 8, 8)
        self.branch = nn.ModuleDict({"norm": nn.LayerNorm(width), "conv1": nn.Conv2d(width, inner, 3, padding=1), "conv2": nn.Conv2d(inner, width, 1)})

    def forward(self, x):
        return x + self.branch["conv2"](F.gelu(self.branch["conv1"](on_tokens(self.branch["norm"], x))))


def norm(width):
    layer = nn.BatchNorm2d(width, eps=1e-5, momentum=0.1)
    layer.weight.requires_grad_(False)  # stays 1
    return layer


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), norm(outputs)
        self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), norm(outputs)

    def forward(self, x):
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class ShortBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), norm(outputs)

    def forward(self, x):
        return F.gelu(self.norm(F.max_pool2d(self.conv(x), 2)))


class Net(nn.Module):
    """The net and attention block of these names, with PyTorch's initial weights."""

    def __init__(self, net="demo", attention="full", logit_scale=0.5):
        super().__init__()
        if net not in WIDTHS or attention not in ATTENTIONS:
            raise ValueError(f"there is no net {net!r} with attention {attention!r}: {', '.join(WIDTHS)}; {', '.join(ATTENTIONS)}")
        widths, heads = WIDTHS[net]
        self.scale = logit_scale
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad_(False)
        self.blocks = len(widths)
        for i, (inputs, outputs) in enumerate(zip([24] + widths, widths)):
            setattr(self, f"block{i + 1}", (ShortBlock if net == "article" else Block)(inputs, outputs))
        if attention == "convolution":
            self.attention = Residual(widths[1])
        elif attention != "none":
            self.attention = Attention(widths[1], heads, attention)
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, x):
        x = F.gelu(self.whiten(x))
        for i in range(self.blocks):
            x = getattr(self, f"block{i + 1}")(x)
            if i == 1 and hasattr(self, "attention"):
                x = self.attention(x)
        # Not amax, which shares the gradient among equal maxima: here as in heed the first one takes it all.
        return self.head(F.max_pool2d(x, x.shape[2:]).flatten(1)) * self.scale


def describe(net="demo", attention="full", logit_scale=0.5, dataset="cifar10"):
    """The words that stand in a model's file, for a net that was trained on CIFAR-10 as `test_images` gives it."""
    return {"format": "heed-cifar10", "format_version": "1", "net": net, "attention": attention, "logit_scale": json.dumps(logit_scale),
            "dataset": dataset} | {key: json.dumps(value) for key, value in CIFAR10.items()}


USUAL_BLOCK = {"attention_blocks": 1, "attention_after": 2, "feed_forward": 0, "relative_bias": 0}  # the block that is built here


def make(words):
    """The net that the words of a file name. Raises ValueError if its attention block is another one than the usual."""
    if words["attention"] != "none":  # which has no block
        for word, usual in USUAL_BLOCK.items():
            if json.loads(words.get(word, str(usual))) != usual:
                raise ValueError(f"the model has {word} {words[word]}, and these nets are built for {usual} alone: take a model that was trained "
                                 f"without --{word.replace('_', '-')}, or go by ONNX (cifar10 export MODEL --onnx)")
    return Net(words["net"], words["attention"], json.loads(words["logit_scale"]))


def load(path):
    """The net of a file, ready for inference, and the words about it. Every name in the file must be the net's, and the other way round."""
    with safe_open(path, "pt") as file:
        words = file.metadata() or {}
    if words.get("format") != "heed-cifar10" or words.get("format_version") != "1":
        raise ValueError(f"{path}: expected a model of cifar10, found the format {words.get('format')!r} {words.get('format_version')!r}")
    tensors = load_file(path)
    net = make(words).to(tensors["head.weight"].dtype)
    net.load_state_dict(tensors)
    return net.eval(), words


def save(net, path, words):
    """Writes a net under its own names, which are heed's."""
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path, metadata=words)


def test_images(folder, words, dtype=torch.float32):
    """CIFAR-10's test images, normalised as the words say, and their labels."""
    records = numpy.fromfile(pathlib.Path(folder) / "test_batch.bin", numpy.uint8).reshape(-1, 3073)
    mean, deviation = (numpy.array(json.loads(words[key])).reshape(3, 1, 1) for key in ("mean", "deviation"))
    images = (records[:, 1:].reshape(-1, 3, 32, 32) / 255 - mean) / deviation
    return torch.from_numpy(images).to(dtype), torch.from_numpy(records[:, 0].astype(numpy.int64))
