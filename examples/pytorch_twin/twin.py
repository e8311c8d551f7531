# SPDX-License-Identifier: MIT
"""Makes the training steps that `cifar10 export DIR` has made, in PyTorch, from the same weights on the same batches, and compares.

    cifar10 export steps --net demo --precision double [--each-step]
    python3 examples/pytorch_twin/twin.py steps

Needs torch and numpy. The net is written down here a second time, in torch's own layers; parameters are found by their names in the file.
Exit code 1 if a loss differs by more than 1e-8 of itself in double, 1e-4 in float. All steps are made in a row from the first weights; where
the weights before every step are there (--each-step), each loss and gradient is also computed from those, and in float it is these that are judged:
in a row, rounding alone carries either side further than that from the same steps in double (which are made as well, to show it).
"""
import json
import math
import pathlib
import sys

import numpy
import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = {"demo": ([24, 64, 96], 4), "small": ([32, 128, 128], 4), "large": ([64, 256, 256], 8), "article": ([32, 96], 4)}
DTYPES = {"F64": numpy.float64, "F32": numpy.float32, "I64": numpy.int64}
TOLERANCE = {"double": 1e-8, "float": 1e-4}
GRADIENTS = {"double": 1e-8, "float": 3e-3}  # max-pooling sends a gradient elsewhere where rounding decides


def read_safetensors(path):
    """All tensors of a file, by name: the header's length, a JSON header, the data."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        values = numpy.frombuffer(content[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors


def positions(side, width):
    """Sines and cosines of the row in the first half of the channels, of the column in the second: (side * side, width)."""
    half = (width + 1) // 2

    def code(position, channels):
        angles = [position / 10000 ** (c // 2 * 2 / channels) for c in range(channels)]
        return [math.sin(a) if c % 2 == 0 else math.cos(a) for c, a in enumerate(angles)]

    rows = [code(t // side, half) + code(t % side, width - half) for t in range(side * side)]
    return torch.tensor(rows, dtype=torch.float64)


class Attention(nn.Module):
    """Y = X + W_o [C; U] + b with U = LN(X) + P."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(2 * width, width)
        self.positions = positions(7, width)

    def forward(self, x):
        batch, width, height, columns = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        u = self.norm(tokens) + self.positions.to(x.dtype)
        q, k, v = self.qkv(u).view(batch, height * columns, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / math.sqrt(width // self.heads)).softmax(-1)
        context = (weights @ v).transpose(1, 2).reshape(batch, height * columns, width)
        y = tokens + self.out(torch.cat([context, u], -1))
        return y.transpose(1, 2).reshape(x.shape)


def norm(width):
    return nn.BatchNorm2d(width, eps=1e-5, momentum=0.4)


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
    def __init__(self, record):
        super().__init__()
        widths, heads = WIDTHS[record["net"]]
        self.scale = record["logit_scale"]
        self.whiten = nn.Conv2d(3, 24, 2)
        inputs = 24
        for i, outputs in enumerate(widths):
            setattr(self, f"block{i + 1}", (ShortBlock if record["net"] == "article" else Block)(inputs, outputs))
            inputs = outputs
        self.blocks = len(widths)
        self.attention = Attention(widths[1], heads) if record["attention"] == "full" else None
        self.head = nn.Linear(inputs, 10)

    def forward(self, x):
        x = F.gelu(self.whiten(x))
        for i in range(self.blocks):
            x = getattr(self, f"block{i + 1}")(x)
            if i == 1 and self.attention is not None:
                x = self.attention(x)
        # Not amax, which shares the gradient among equal maxima: here as in heed the first one takes it all.
        return self.head(F.max_pool2d(x, x.shape[2:]).flatten(1)) * self.scale


def load(net, path):
    missing, unexpected = net.load_state_dict(read_safetensors(path), strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        sys.exit(f"twin: {path} and the net differ: missing {missing}, unexpected {unexpected}")


def loss_of(net, record, batches, step, dtype):
    logits = net(batches[f"images.{step}"].to(dtype).permute(0, 3, 1, 2))
    return F.cross_entropy(logits, batches[f"labels.{step}"], label_smoothing=record["label_smoothing"])


def from_equal_weights(folder, record, dtype):
    """Each step from heed's weights before it: the losses, and how far all gradients together (as one vector) are from heed's, in shares of their
    length. None where the weights were not written."""
    net, batches, losses, apart = Net(record).to(dtype), read_safetensors(folder / "batches.safetensors"), [], []
    for step in range(len(record["losses"])):
        weights = folder / f"weights.{step}.safetensors"
        if not weights.exists():
            return None
        load(net, weights)
        loss = loss_of(net, record, batches, step, dtype)
        net.zero_grad(set_to_none=True)
        loss.backward()
        gradients = read_safetensors(folder / f"gradients.{step}.safetensors")
        own = torch.cat([p.grad.flatten() for name, p in net.named_parameters() if name in gradients]).double()
        other = torch.cat([gradients[name].flatten() for name, p in net.named_parameters() if name in gradients]).double()
        losses.append(loss.item())
        apart.append(((own - other).norm() / own.norm()).item())
    return losses, apart


def steps(folder, record, dtype):
    """The losses of all steps in a row, and the net after them."""
    net = Net(record).to(dtype)
    load(net, folder / "initial.safetensors")
    groups = []
    for name, parameter in net.named_parameters():
        rates = record["rates"][name]
        parameter.requires_grad_(not rates["frozen"])
        if not rates["frozen"]:
            groups.append({"params": [parameter], "lr": 0.0, "base": rates["learning_rate"], "weight_decay": rates["weight_decay"]})
    if record["optimizer"] == "sgd":
        optimizer = torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)
    else:
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8)
    batches, losses = read_safetensors(folder / "batches.safetensors"), []
    for step, factor in enumerate(record["learning_rate_factors"]):
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * factor
        loss = loss_of(net, record, batches, step, dtype)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, net


def main(folder):
    record = json.loads((folder / "losses.json").read_text())
    precision = record["precision"]
    heed = record["losses"]
    dtype = torch.float64 if precision == "double" else torch.float32
    twin, net = steps(folder, record, dtype)
    equal = from_equal_weights(folder, record, dtype)
    # What the same steps give in double: how far rounding alone carries either side.
    exact = twin if precision == "double" else steps(folder, record, torch.float64)[0]

    def apart(a, b):
        return abs(a - b) / abs(b)

    for step, (a, b, c) in enumerate(zip(heed, twin, exact)):
        more = "" if precision == "double" else f"; from the steps in double: heed {apart(a, c):.1e}, PyTorch {apart(b, c):.1e}"
        print(f"step {step:2}  heed {a:.12f}  PyTorch {b:.12f}  apart {apart(a, b):.1e}{more}")
    worst, tolerance = max(map(apart, heed, twin)), TOLERANCE[precision]
    print(f"{record['net']}, attention {record['attention']}, {record['optimizer']}, {precision}: losses of {len(heed)} steps in a row at most "
          f"{worst:.1e} apart (tolerance {tolerance:g})")
    judged = worst
    if equal:
        each, gradients = max(map(apart, heed, equal[0])), max(equal[1])
        print(f"each step from equal weights: losses at most {each:.1e} apart, gradients {gradients:.1e} of their length (tolerance {GRADIENTS[precision]:g})")
        judged = max(worst, each) if precision == "double" else each
        if gradients > GRADIENTS[precision]:
            judged = math.inf
    if precision == "float":
        heed_far, twin_far = max(map(apart, heed, exact)), max(map(apart, twin, exact))
        print(f"from the steps in double: heed at most {heed_far:.1e}, PyTorch {twin_far:.1e}")
    final, far = read_safetensors(folder / "final.safetensors"), ("", 0.0)
    for name, value in net.state_dict().items():
        if name in final:
            error = ((value - final[name]).norm() / value.norm().clamp_min(1e-30)).item()
            far = max(far, (name, error), key=lambda entry: entry[1])
    print(f"weights and running statistics afterwards: at most {far[1]:.1e} apart ({far[0]})")
    return 0 if judged <= tolerance else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
