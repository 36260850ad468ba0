"""Double-precision PyTorch reference of the network that a genotype becomes, and of an odd-sized audience.

    python make_evaluation.py evaluation.safetensors
    python make_evaluation.py audience_odd.safetensors --audience

The first is DARTS's evaluation network for small images, under the state-dict names of the public DARTS
code: affine batch norm with running statistics, auxiliary head, drop path. Only the auxiliary head's two
widths are settings here (128 and 768 in DARTS), to keep the file small. The file holds

  in.images, in.labels, in.<parameter>     batch-norm weights and biases moved off 1 and 0
  out.logits, out.logits_aux, out.loss     one training-mode forward pass, batch statistics, no drop path;
                                           loss = CE(logits) + 0.4 CE(logits_aux)
  out.grad.<parameter>                     of that loss
  out.buffer.<running_mean | running_var>  after that pass, from 0 and 1 (momentum 0.1, unbiased variance)
  out.logits_eval                          evaluation mode with these running statistics

The second is lease_reference.Audience on images whose side is odd, so that every halving rounds up:
in.*, out.logits, out.loss (CE), out.grad.*. The metadata entry `case` is a JSON object with every setting.
"""
import argparse
import json

import torch
import torch.nn.functional as F
from lease_reference import Audience
from safetensors.torch import save_file
from torch import nn

GENOTYPE = {
    # every operation at stride 1
    "normal": [["sep_conv_3x3", 1], ["skip_connect", 0], ["max_pool_3x3", 0], ["dil_conv_3x3", 2],
               ["avg_pool_3x3", 1], ["sep_conv_5x5", 3], ["dil_conv_5x5", 4], ["skip_connect", 2]],
    "normal_concat": [2, 3, 4, 5],
    # every operation at stride 2, and a pool at stride 1
    "reduce": [["max_pool_3x3", 0], ["avg_pool_3x3", 1], ["sep_conv_3x3", 1], ["skip_connect", 0],
               ["sep_conv_5x5", 0], ["dil_conv_3x3", 1], ["max_pool_3x3", 3], ["dil_conv_5x5", 0]],
    "reduce_concat": [2, 3, 4, 5],
}


def conv(ci, co, k, stride=1, pad=0, dil=1, groups=1):
    return nn.Conv2d(ci, co, k, stride, pad, dil, groups, bias=False)


class Chain(nn.Module):
    """A sequence kept under the name `op`."""

    def __init__(self, *mods):
        super().__init__()
        self.op = nn.Sequential(*mods)

    def forward(self, x):
        return self.op(x)


class FactorizedReduce(nn.Module):
    """Halve the resolution with two 1x1 stride-2 convolutions, the second one pixel further on."""

    def __init__(self, ci, co):
        super().__init__()
        self.conv_1, self.conv_2 = conv(ci, co // 2, 1, 2), conv(ci, co // 2, 1, 2)
        self.bn = nn.BatchNorm2d(co)

    def forward(self, x):
        x = F.relu(x)
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], dim=1))


def operation(name, c, stride):
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, 1)  # no batch norm after a pool, unlike in the search
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(c, c)
    kind, k = name[:3], int(name[-1])
    if kind == "dil":
        return Chain(nn.ReLU(), conv(c, c, k, stride, 2 * (k // 2), 2, c), conv(c, c, 1), nn.BatchNorm2d(c))
    return Chain(nn.ReLU(), conv(c, c, k, stride, k // 2, 1, c), conv(c, c, 1), nn.BatchNorm2d(c),
                 nn.ReLU(), conv(c, c, k, 1, k // 2, 1, c), conv(c, c, 1), nn.BatchNorm2d(c))


def drop_path(x, prob):
    """Drop the whole tensor of an image with this probability, and scale up what is kept."""
    keep = torch.bernoulli(torch.full((x.shape[0], 1, 1, 1), 1.0 - prob))
    return x / (1.0 - prob) * keep


class Cell(nn.Module):
    def __init__(self, genotype, cpp, cp, c, reduction, after_reduction):
        super().__init__()
        self.preprocess0 = (FactorizedReduce(cpp, c) if after_reduction
                            else Chain(nn.ReLU(), conv(cpp, c, 1), nn.BatchNorm2d(c)))
        self.preprocess1 = Chain(nn.ReLU(), conv(cp, c, 1), nn.BatchNorm2d(c))
        kind = "reduce" if reduction else "normal"
        self.genes, self.concat = genotype[kind], genotype[kind + "_concat"]
        self._ops = nn.ModuleList(operation(name, c, 2 if reduction and state < 2 else 1)
                                  for name, state in self.genes)

    def forward(self, s0, s1, drop_prob):
        states, edges = [self.preprocess0(s0), self.preprocess1(s1)], []
        for (_, state), op in zip(self.genes, self._ops):
            y = op(states[state])
            if self.training and drop_prob > 0 and not isinstance(op, nn.Identity):
                y = drop_path(y, drop_prob)
            edges.append(y)
            if len(edges) % 2 == 0:
                states.append(edges[-2] + edges[-1])
        return torch.cat([states[i] for i in self.concat], dim=1)


class AuxiliaryHead(nn.Module):
    """For feature maps of 8x8."""

    def __init__(self, c, classes, width1, width2):
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(), nn.AvgPool2d(5, stride=3, padding=0, count_include_pad=False),
            conv(c, width1, 1), nn.BatchNorm2d(width1), nn.ReLU(),
            conv(width1, width2, 2), nn.BatchNorm2d(width2), nn.ReLU())
        self.classifier = nn.Linear(width2, classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Evaluation(nn.Module):
    def __init__(self, genotype, channels, layers, classes, aux_width1=128, aux_width2=768, drop_path_prob=0.0):
        super().__init__()
        c_stem = 3 * channels
        self.stem = nn.Sequential(conv(3, c_stem, 3, 1, 1), nn.BatchNorm2d(c_stem))
        cpp, cp, c, was = c_stem, c_stem, channels, False
        self.cells, self.aux_at, self.drop_path_prob = nn.ModuleList(), 2 * layers // 3, drop_path_prob
        for i in range(layers):
            red = i in (layers // 3, 2 * layers // 3)
            c = 2 * c if red else c
            cell = Cell(genotype, cpp, cp, c, red, was)
            self.cells.append(cell)
            cpp, cp, was = cp, len(cell.concat) * c, red
            if i == self.aux_at:
                self.auxiliary_head = AuxiliaryHead(cp, classes, aux_width1, aux_width2)
        self.classifier = nn.Linear(cp, classes)

    def forward(self, x):
        """The logits, and in training those of the auxiliary head."""
        aux, s0, s1 = None, *[self.stem(x)] * 2
        for i, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1, self.drop_path_prob)
            if i == self.aux_at and self.training:
                aux = self.auxiliary_head(s1)
        return self.classifier(s1.mean((2, 3))), aux


def move_affine(net):
    """Move the one-dimensional parameters off 1 and 0, so that an error in them shows."""
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))


def inputs(net, images, labels):
    return {"in.images": images, "in.labels": labels} | {f"in.{k}": v for k, v in net.named_parameters()}


def gradients(net):
    return {f"out.grad.{k}": v.grad for k, v in net.named_parameters()}


def evaluation_case(seed=31, channels=4, layers=5, classes=4, size=32, batch=3, aux_width1=8, aux_width2=12,
                    aux_weight=0.4):
    meta = dict(locals()) | {"stem_multiplier": 3, "drop_path_prob": 0.0, "bn_momentum": 0.1, "bn_eps": 1e-5,
                             "genotype": GENOTYPE}
    torch.manual_seed(seed)
    net = Evaluation(GENOTYPE, channels, layers, classes, aux_width1, aux_width2)
    move_affine(net)
    images, labels = torch.randn(batch, 3, size, size), torch.randint(0, classes, (batch,))
    out = {k: v.detach().clone() for k, v in inputs(net, images, labels).items()}
    logits, aux = net(images)
    loss = F.cross_entropy(logits, labels) + aux_weight * F.cross_entropy(aux, labels)
    loss.backward()
    out |= {"out.logits": logits, "out.logits_aux": aux, "out.loss": loss.reshape(1)} | gradients(net)
    out |= {f"out.buffer.{k}": v.clone() for k, v in net.named_buffers() if "running_" in k}
    net.eval()
    out["out.logits_eval"] = net(images)[0]
    return out, meta


def audience_case(seed=32, widths=(4, 6, 8), blocks=(1, 2, 1), classes=5, in_channels=3, size=9, batch=3):
    meta = dict(locals())
    torch.manual_seed(seed)
    net = Audience(widths, blocks, classes, in_channels)
    move_affine(net)
    images, labels = torch.randn(batch, in_channels, size, size), torch.randint(0, classes, (batch,))
    logits = net(images)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    out = inputs(net, images, labels) | {"out.logits": logits, "out.loss": loss.reshape(1)} | gradients(net)
    return out, meta


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("--audience", action="store_true", help="the odd-sized audience instead")
    a = p.parse_args()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    out, meta = audience_case() if a.audience else evaluation_case()
    out = {k: v.detach().contiguous().clone() for k, v in out.items()}
    save_file(out, a.out, metadata={"case": json.dumps(meta)})
    print(f"{a.out}: {len(out)} tensors, loss {out['out.loss'].item():.12f}")
