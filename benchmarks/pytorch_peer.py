# SPDX-License-Identifier: MIT
"""PyTorch on the workloads that heed_benchmarks names: what `compare_with_pytorch` times heed against.

    python3 benchmarks/pytorch_peer.py [--threads N] [--seconds S] NAME ...     a line of JSON for each name

Each workload is run in the ways that docs/benchmarks.md lists, all in float32; training of `large` also under bf16 autocast. Without names they are
read from standard input, a line each; asked for the same name again, the peer times it again. Needs torch, numpy, and for the nets safetensors
(examples/pytorch/nets.py).
"""
import argparse
import copy
import json
import math
import os
import pathlib
import re
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
FAMILIES = {}


class Unavailable(Exception):
    """PyTorch cannot do this, or not here."""


def family(function):
    FAMILIES[function.__name__] = function
    return function


class Workload:
    """A name in its parts: sizes, options (True, or the number behind the word), and what of it is timed."""

    def __init__(self, name):
        self.family, *parts = name.split("/")
        self.dropout = 0.1 if parts[-1] == "dropout" else 0.0
        parts = [part for part in parts if part != "dropout"]
        self.training = parts[-1] == "forward_backward"
        parts = [part for part in parts if part not in ("forward", "forward_backward")]
        fixed = 2 if self.family == "conv2d" else 1
        self.word = parts[0]
        self.sizes = [int(number) for number in re.findall(r"\d+", "/".join(parts[:fixed]))]
        options = [re.fullmatch(r"(\w+?)(\d*)", part).groups() for part in parts[fixed:]]
        self.options = {word: int(number) if number else True for word, number in options}

    def option(self, word, default=0):
        return self.options.get(word, default)


def passes(function, inputs, training):
    """One pass as a function: inference, or forward and the gradients of all that wants one."""
    if not training:
        def run():
            with torch.inference_mode():
                function(*inputs)
        return run
    parameters = list(function.parameters()) if isinstance(function, nn.Module) else []
    wanted = [x for x in [*inputs, *parameters] if x.requires_grad]
    dy = torch.randn_like(function(*inputs))
    return lambda: torch.autograd.grad(function(*inputs), wanted, dy)


def wanting(*shape):
    return torch.randn(*shape).requires_grad_()


def ways(function, inputs, training, layouts=None, compiled=True):
    """(mode, run) of a function or module in each layout, eager and compiled."""
    for layout in layouts or {"": None}:
        placed, own = inputs, function
        if layout:
            placed = [x.detach().contiguous(memory_format=LAYOUTS[layout]).requires_grad_(x.requires_grad) for x in inputs]
            own = copy.deepcopy(function).to(memory_format=LAYOUTS[layout])
        yield layout or "eager", lambda: passes(own, placed, training)
        if compiled:
            yield f"{layout} compile".strip(), lambda: passes(torch.compile(own), placed, training)


@family
def attention(w):
    B, H, T, D = w.sizes
    kv, width, keys, cap = w.option("kv", H), w.option("dv", D), w.option("keys", T), w.option("softcap")
    q, k, v = wanting(B, H, T, D), wanting(B, kv, keys, D), wanting(B, kv, keys, width)
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    needed = 6 * 4 * B * H * T * keys  # weights, their mask, and the gradients of both
    if (w.dropout or cap) and needed > available / 2:
        raise Unavailable(f"PyTorch makes the weights here, about {needed / 1e9:.0f} GB with their gradients")
    position = torch.arange(T).view(T, 1) + keys - T
    allowed, bias = [], []
    # is_causal goes with no mask, and means the first of the keys where there are more of them than queries.
    if w.option("causal") and (keys != T or any(w.option(word) for word in ("mask", "padding", "bias", "alibi"))):
        allowed.append(torch.arange(keys) <= position)
    if w.option("mask"):
        allowed.append((torch.rand(T, keys) < 0.75) | torch.eye(T, keys, dtype=torch.bool))
    if w.option("padding"):
        lengths = torch.tensor([keys - keys * (1 + b % 3) // 8 for b in range(B)])
        allowed.append(torch.arange(keys).expand(B, 1, 1, keys) < lengths.view(B, 1, 1, 1))
    if w.option("bias"):
        bias.append(torch.randn(H, T, keys))
    if w.option("alibi"):
        slopes = torch.tensor([2.0 ** (-8 * (h + 1) / H) for h in range(H)]).view(H, 1, 1)
        bias.append(-slopes * (torch.arange(keys) - position).abs())
    mask = None
    for one in allowed:
        mask = one if mask is None else mask & one
    if bias:
        total = sum(bias)
        mask = total if mask is None else total.masked_fill(~mask, -math.inf)
    causal = bool(w.option("causal")) and not allowed

    def grouped(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, mask, w.dropout, is_causal=causal, enable_gqa=kv != H)

    def repeated(q, k, v):
        return F.scaled_dot_product_attention(q, *(x.repeat_interleave(H // kv, 1) for x in (k, v)), mask, w.dropout, is_causal=causal)

    def written_out(q, k, v):  # scaled_dot_product_attention has no soft cap
        k, v = (x.repeat_interleave(H // kv, 1) for x in (k, v))
        scores = cap * torch.tanh(q @ k.transpose(-1, -2) * (D ** -0.5 / cap))
        if causal:
            scores = scores.masked_fill(torch.arange(keys) > position, -math.inf)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        return F.dropout(scores.softmax(-1), w.dropout) @ v

    if cap:
        yield from ways(written_out, [q, k, v], w.training)
        return
    yield from ways(grouped, [q, k, v], w.training, compiled=False)
    if kv != H:
        for mode, make in ways(repeated, [q, k, v], w.training, compiled=False):
            yield mode + " repeated", make


@family
def conv2d(w):
    N, H, W, ci, co, K, S = w.sizes
    module = nn.Conv2d(ci, co, K, S, K // 2 if K % 2 else 0, groups=w.option("groups", 1))
    yield from ways(module, [wanting(N, ci, H, W)], w.training, LAYOUTS, compiled=False)


def of_images(make):
    def run(w):
        N, H, W, C = w.sizes
        yield from ways(make(C, w), [wanting(N, C, H, W)], w.training, LAYOUTS)
    return run


def of_rows(make):
    def run(w):
        yield from ways(make(w.sizes[-1], w), [wanting(*w.sizes)], w.training)
    return run


FAMILIES.update(
    batch_norm=of_images(lambda C, w: nn.BatchNorm2d(C).train()), group_norm=of_images(lambda C, w: nn.GroupNorm(w.option("groups", 1), C)),
    max_pool2d=of_images(lambda C, w: nn.MaxPool2d(2)), avg_pool2d=of_images(lambda C, w: nn.AvgPool2d(2)),
    layer_norm=of_rows(lambda C, w: nn.LayerNorm(C)), rms_norm=of_rows(lambda C, w: nn.RMSNorm(C)), softmax=of_rows(lambda C, w: nn.Softmax(-1)),
    gelu=of_rows(lambda C, w: nn.GELU("tanh" if w.option("tanh") else "none")))


@family
def linear(w):
    R, I, O = w.sizes
    yield from ways(nn.Linear(I, O), [wanting(R, I)], w.training, compiled=False)


@family
def gemm(w):
    M, N, K = w.sizes
    a, b, c = torch.randn(M, K), torch.randn(K, N), torch.empty(M, N)
    yield "mm", lambda: lambda: torch.mm(a, b)
    yield "mm out", lambda: lambda: torch.mm(a, b, out=c)


@family
def residual(w):
    x, branch, dy, d_branch = (torch.randn(*w.sizes) for _ in range(4))
    pairs = [(x, branch), (dy, d_branch)] if w.training else [(x, branch)]

    def fresh():
        for a, b in pairs:
            a + b

    def in_place():
        for a, b in pairs:
            b.add_(a)
    yield "eager", lambda: fresh
    yield "in place", lambda: in_place


@family
def embedding(w):
    T, V, C = w.sizes
    x = torch.randint(0, V, (T,))
    for sparse in (False, True):
        for mode, make in ways(nn.Embedding(V, C, sparse=sparse), [x], w.training, compiled=False):
            yield "sparse gradient" if sparse else mode, make


@family
def rotary_embedding(w):
    B, H, T, D = w.sizes
    angles = torch.arange(T).view(T, 1) * 10000.0 ** (-torch.arange(0, D, 2) / D)
    cos, sin = angles.cos(), angles.sin()

    def turn(x):
        u, v = x.chunk(2, -1)
        return torch.cat([u * cos - v * sin, v * cos + u * sin], -1)
    yield from ways(turn, [wanting(B, H, T, D)], w.training)


def encoder(C, H):
    return nn.TransformerEncoderLayer(C, H, 4 * C, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)


class Causal(nn.Module):
    def __init__(self, block, T):
        super().__init__()
        self.block = block
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(T))

    def forward(self, x):
        return self.block(x, src_mask=self.mask, is_causal=True)


@family
def encoder_block(w):
    B, T, C, H = w.sizes
    block = encoder(C, H)
    block = Causal(block, T) if w.option("causal") else block
    yield from ways(block.train(), [wanting(B, T, C)], w.training)
    if not w.training:  # PyTorch's own fast path for inference
        fast = encoder(C, H).eval()
        yield "eval", lambda: passes(Causal(fast, T).eval() if w.option("causal") else fast, [torch.randn(B, T, C)], False)


class Decoder(nn.Module):
    """One token after T others, whose keys and values are kept."""

    def __init__(self, B, T, C, H):
        super().__init__()
        self.block, self.length, self.heads = encoder(C, H), T, H
        self.keys, self.values = (torch.randn(B, H, T + 1, C // H) for _ in range(2))

    def forward(self, x):
        B, _, C = x.shape
        a, t = self.block.self_attn, self.length
        q, k, v = F.linear(self.block.norm1(x), a.in_proj_weight, a.in_proj_bias).view(B, 1, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        self.keys[:, :, t:], self.values[:, :, t:] = k, v
        y = F.scaled_dot_product_attention(q, self.keys, self.values)
        x = x + a.out_proj(y.transpose(1, 2).reshape(B, 1, C))
        return x + self.block.linear2(F.gelu(self.block.linear1(self.block.norm2(x))))


@family
def decode(w):
    B, T, C, H = w.sizes
    yield from ways(Decoder(B, T, C, H), [torch.randn(B, 1, C)], False)


@family
def adamw(w):
    for mode, options in {"default": {}, "fused": {"fused": True}, "foreach": {"foreach": True}}.items():
        p = wanting(w.sizes[0])
        p.grad = torch.randn_like(p)
        yield mode, lambda: torch.optim.AdamW([p], lr=1e-3, **options).step


def net(w, layout):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "examples" / "pytorch"))
    import nets
    made = nets.Net(w.word)

    def context(u):  # by PyTorch's fused attention
        B, T, C = u.shape
        q, k, v = made.attention.qkv(u).view(B, T, 3, made.attention.heads, C // made.attention.heads).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(u.shape)
    made.attention.context = context
    made.attention.positions = made.attention.positions.float()
    images = torch.randn(w.option("batch", 256), 3, 32, 32)
    return made.to(memory_format=LAYOUTS[layout]), images.contiguous(memory_format=LAYOUTS[layout])


def predict(w):
    for layout in LAYOUTS:
        made, images = net(w, layout)
        yield from ((mode.replace("eager", layout), make) for mode, make in ways(made.eval(), [images], False, [layout], layout == "channels_last"))
    # The weights are constants to the compiler, which packs them for the convolutions and folds the batch norms into them.
    yield "channels_last compile, frozen", lambda: passes(torch.compile(made, options={"freezing": True}), [images], False)


FAMILIES["predict"] = FAMILIES["forward"] = predict


@family
def train_step(w):
    def training(layout, compiled=False, bf16=False):
        made, images = net(w, layout)
        labels = torch.arange(len(images)) % 10
        optimizer = torch.optim.AdamW([p for p in made.parameters() if p.requires_grad], lr=1e-3, fused=True)
        forward = torch.compile(made) if compiled else made

        def step():
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = forward(images)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
        return step
    yield "contiguous", lambda: training("contiguous")
    yield "channels_last", lambda: training("channels_last")
    yield "channels_last compile", lambda: training("channels_last", compiled=True)
    if w.word == "large":
        yield "bf16 autocast", lambda: training("channels_last", bf16=True)


class Case:
    """A name, and its runs in each mode. The first call of each may compile."""

    def __init__(self, name):
        self.name, self.runs, self.failed = name, {}, {}
        torch.manual_seed(0)
        workload = Workload(name)
        if workload.family not in FAMILIES:
            raise Unavailable("PyTorch has nothing to compare")
        for mode, make in FAMILIES[workload.family](workload):
            try:
                run = make()
                run(), run()
                self.runs[mode] = run
            except Exception as error:  # noqa: BLE001: whatever a mode does not like, others may work
                self.failed[mode] = f"{type(error).__name__}: {error}".splitlines()[0]

    def time(self, seconds):
        """Milliseconds a run, the mean over so many seconds, in each mode."""
        return {mode: self.mean(run, seconds) for mode, run in self.runs.items()}

    @staticmethod
    def mean(run, seconds):
        run()
        count, start = 0, time.perf_counter()
        while count < 2 or time.perf_counter() - start < seconds:
            run()
            count += 1
        return 1e3 * (time.perf_counter() - start) / count


def main(arguments):
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes elsewhere
    torch.set_num_threads(arguments.threads)
    case = None
    for line in arguments.names or sys.stdin:
        name = line.strip()
        answer = {"name": name, "torch": torch.__version__, "threads": torch.get_num_threads()}
        try:
            if case is None or case.name != name:
                case = None  # its memory is free before the next one is made
                torch._dynamo.reset()
                case = Case(name)
            answer |= {"ms": case.time(arguments.seconds), "failed": case.failed}
        except Unavailable as reason:
            answer["unavailable"] = str(reason)
        except Exception as error:  # noqa: BLE001: said, and the next name is served
            answer["unavailable"] = f"{type(error).__name__}: {error}".splitlines()[0]
        print(json.dumps(answer), file=out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=0.3, help="of timing for each mode")
    main(parser.parse_args())
