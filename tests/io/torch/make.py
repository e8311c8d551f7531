# SPDX-License-Identifier: MIT
"""Makes the files of this folder, the state_dicts of torch.nn modules with an input and what the module makes of it in evaluation:

    python3 tests/io/torch/make.py      # needs torch and safetensors

Each file holds `module.<name>` for every entry of the state_dict as it is, `input` (or `query`, `key`, `value`), and `output`. Images and sequences of
features are stored channels-last, as heed takes them; weights are stored as torch has them. Read by tests/io/torch_test.cpp.
"""
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

FOLDER = pathlib.Path(__file__).parent


def channels_last(x):
    return x.movedim(1, -1).contiguous() if x.is_floating_point() and x.dim() > 2 else x.contiguous()


def shake(module):
    """Ones and zeros would hide a weight that is not read."""
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter) * 0.4 + 0.1 * (parameter.dim() == 1)


def write(name, module, *inputs, images=False, names=("input",), stored=None):
    """`stored`: the kind of number of the state_dict in the file."""
    module.eval()
    if stored is not None:  # the output is that of the rounded weights
        module.to(stored).float()
    with torch.no_grad():
        output = module(*inputs)
    output = output[0] if isinstance(output, tuple) else output
    lay = channels_last if images else torch.Tensor.contiguous
    tensors = {f"module.{key}": value.to(stored) if stored is not None and value.is_floating_point() else value
               for key, value in module.state_dict().items()}
    tensors |= {key: lay(value) for key, value in zip(names, inputs)}
    tensors["output"] = lay(output)
    save_file(tensors, FOLDER / f"{name}.safetensors", metadata={"module": repr(module).replace("\n", ""), "torch": torch.__version__.split("+")[0]})


def make(name, module, *inputs, **options):
    shake(module)
    write(name, module, *inputs, **options)


torch.manual_seed(4)
random = torch.randn
make("linear", nn.Linear(5, 3), random(2, 4, 5))
make("linear_bf16", nn.Linear(5, 3), random(2, 4, 5), stored=torch.bfloat16)
make("linear_f16", nn.Linear(5, 3), random(2, 4, 5), stored=torch.float16)
make("conv2d", nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2), random(2, 4, 5, 6), images=True)
make("conv1d", nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), random(2, 4, 7), images=True)
make("layer_norm", nn.LayerNorm(6), random(2, 3, 6))
make("rms_norm", nn.RMSNorm(6, eps=1e-6), random(2, 3, 6))
make("group_norm", nn.GroupNorm(3, 6), random(2, 6, 4, 5), images=True)
make("embedding", nn.Embedding(7, 4), torch.randint(7, (2, 5)))

for kind, batch in (("batch_norm1d", random(8, 4)), ("batch_norm2d", random(3, 4, 2, 5))):
    norm = getattr(nn, kind.replace("batch_norm", "BatchNorm"))(4, momentum=0.3)
    shake(norm)
    for _ in range(3):
        norm(batch * 2 + 1)  # running statistics, and 3 batches counted
    write(kind, norm, batch, images=True)

make("multihead_attention", nn.MultiheadAttention(6, 2, batch_first=True), *[random(2, 4, 6)] * 3)
make("multihead_attention_widths", nn.MultiheadAttention(6, 3, kdim=5, vdim=4, add_bias_kv=True, batch_first=True),
     random(2, 4, 6), random(2, 3, 5), random(2, 3, 4), names=("query", "key", "value"))
make("encoder_layer", nn.TransformerEncoderLayer(6, 2, 10, batch_first=True), random(2, 4, 6))
layer = nn.TransformerEncoderLayer(6, 2, 10, activation="gelu", norm_first=True, batch_first=True)
make("encoder", nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), random(2, 4, 6))

# Not with a Linear behind Flatten of a larger map: heed's columns are channels-last (docs/interchange.md).
net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3))
shake(net)
net(random(6, 2, 4, 4))
write("sequential", net, random(2, 2, 4, 4), images=True)
