# SPDX-License-Identifier: MIT
"""Makes the training steps that `cifar10 export DIR` has made, in PyTorch, from the same weights on the same batches, and compares.

    cifar10 export steps --net demo --precision double [--each-step]
    python3 examples/pytorch/twin.py steps

Needs torch, numpy and safetensors. The nets stand in nets.py, in torch's own layers; parameters are found by their names in the file.
Exit code 1 if a loss differs by more than 1e-8 of itself in double, 1e-4 in float. All steps are made in a row from the first weights; where
the weights before every step are there (--each-step), each loss and gradient is also computed from those, and in float it is these that are judged:
in a row, rounding alone carries either side further than that from the same steps in double (which are made as well, to show it).
"""
import json
import math
import pathlib
import sys

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import nets

TOLERANCE = {"double": 1e-8, "float": 1e-4}
# Max-pooling sends a gradient elsewhere where rounding decides, on either side: in float, heed may be this many times as far from double as PyTorch.
GRADIENTS = {"double": 1e-8, "float": 4}


def net_of(record, weights, dtype):
    net = nets.Net(record["net"], record["attention"], record["logit_scale"]).to(dtype)
    net.load_state_dict(load_file(weights))
    return net


def loss_of(net, record, batches, step, dtype):
    logits = net(batches[f"images.{step}"].to(dtype).permute(0, 3, 1, 2))
    return F.cross_entropy(logits, batches[f"labels.{step}"], label_smoothing=record["label_smoothing"])


def gradients_of(record, weights, batches, step, dtype, names):
    """The loss of a step from the weights in that file, and all gradients as one vector."""
    net = net_of(record, weights, dtype)
    loss = loss_of(net, record, batches, step, dtype)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for name, p in net.named_parameters() if name in names]).double()


def from_equal_weights(folder, record, dtype):
    """Each step from heed's weights before it: the losses, and how far heed's and PyTorch's gradients (all together, as one vector) are from
    PyTorch's in double, in shares of their length. None where the weights were not written."""
    batches, losses, heed_apart, twin_apart = load_file(folder / "batches.safetensors"), [], [], []
    for step in range(len(record["losses"])):
        weights = folder / f"weights.{step}.safetensors"
        if not weights.exists():
            return None
        gradients = load_file(folder / f"gradients.{step}.safetensors")
        loss, twin = gradients_of(record, weights, batches, step, dtype, gradients)
        exact = twin if dtype == torch.float64 else gradients_of(record, weights, batches, step, torch.float64, gradients)[1]
        names = [name for name, _ in net_of(record, weights, dtype).named_parameters() if name in gradients]
        heed = torch.cat([gradients[name].flatten() for name in names]).double()
        losses.append(loss)
        heed_apart.append(((heed - exact).norm() / exact.norm()).item())
        twin_apart.append(((twin - exact).norm() / exact.norm()).item())
    return losses, max(heed_apart), max(twin_apart)


def steps(folder, record, dtype):
    """The losses of all steps in a row, and the net after them."""
    net = net_of(record, folder / "initial.safetensors", dtype)
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
    batches, losses = load_file(folder / "batches.safetensors"), []
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
        each, heed_gradients, twin_gradients = max(map(apart, heed, equal[0])), *equal[1:]
        print(f"each step from equal weights: losses at most {each:.1e} apart; gradients from PyTorch's in double, in shares of their length: "
              f"heed {heed_gradients:.1e}, PyTorch {twin_gradients:.1e}")
        judged = max(worst, each) if precision == "double" else each
        if heed_gradients > GRADIENTS[precision] * (1 if precision == "double" else twin_gradients):
            judged = math.inf
    if precision == "float":
        heed_far, twin_far = max(map(apart, heed, exact)), max(map(apart, twin, exact))
        print(f"from the steps in double: heed at most {heed_far:.1e}, PyTorch {twin_far:.1e}")
    final, far = load_file(folder / "final.safetensors"), ("", 0.0)
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
