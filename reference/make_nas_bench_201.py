"""Double-precision PyTorch reference of NAS-Bench-201's networks: the supernet and one derived network.

    python make_nas_bench_201.py nas_bench_201.safetensors

Written from the description of the benchmark's public code, under its state-dict names: in the supernet the
operations' batch norms have no scale and shift, in a derived network they do; stem, residual blocks and the last
batch norm always do; an average pool is not normalised. For each of the two, `supernet.` and `derived.`:

  in.<parameter>      batch-norm weights and biases moved off 1 and 0
  out.logits, out.loss, out.grad.<parameter>    one training-mode pass; loss = CE

and in.images, in.labels. The metadata entry `case` is a JSON object with every setting.
"""
import json
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

OPS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
CELL = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"


class ReLUConvBN(nn.Module):
    def __init__(self, ci, co, k, stride, affine):
        super().__init__()
        self.op = nn.Sequential(nn.ReLU(), nn.Conv2d(ci, co, k, stride, k // 2, bias=False),
                                nn.BatchNorm2d(co, affine=affine))

    def forward(self, x):
        return self.op(x)


class Zero(nn.Module):
    def forward(self, x):
        return x * 0.0


def operation(name, c, affine):
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return ReLUConvBN(c, c, int(name[-1]), 1, affine)


class SearchCell(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.edges = nn.ModuleDict({f"{i}<-{j}": nn.ModuleList([operation(o, c, False) for o in OPS])
                                    for i in range(1, 4) for j in range(i)})

    def forward(self, x, weights):
        states, edge = [x], 0
        for i in range(1, 4):
            total = 0
            for j in range(i):
                for op, w in zip(self.edges[f"{i}<-{j}"], weights[edge]):
                    total = total + w * op(states[j])
                edge += 1
            states.append(total)
        return states[-1]


class InferCell(nn.Module):
    def __init__(self, c):
        super().__init__()
        names = [e.split("~")[0] for e in CELL.replace("+", "").split("|") if e]
        self.layers = nn.ModuleList([operation(n, c, True) for n in names])

    def forward(self, x, _):
        states, edge = [x], 0
        for i in range(1, 4):
            states.append(sum(self.layers[edge + j](states[j]) for j in range(i)))
            edge += i
        return states[-1]


class ResNetBasicblock(nn.Module):
    def __init__(self, ci, co):
        super().__init__()
        self.conv_a, self.conv_b = ReLUConvBN(ci, co, 3, 2, True), ReLUConvBN(co, co, 3, 1, True)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(ci, co, 1, bias=False))

    def forward(self, x, _):
        return self.downsample(x) + self.conv_b(self.conv_a(x))


class Network(nn.Module):
    def __init__(self, cell, c, n, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c))
        cells = []
        for stage in range(3):
            if stage:
                cells.append(ResNetBasicblock(c, 2 * c))
                c *= 2
            cells += [cell(c) for _ in range(n)]
        self.cells = nn.ModuleList(cells)
        self.lastact = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU())
        self.classifier = nn.Linear(c, classes)

    def forward(self, x, weights):
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x, weights)
        return self.classifier(self.lastact(x).mean((2, 3)))


def main(path):
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.manual_seed(3)
    case = {"channels": 2, "cells": 1, "classes": 3, "cell": CELL}
    images, labels = torch.randn(4, 3, 12, 8), torch.tensor([0, 1, 2, 1])
    tensors = {"in.images": images, "in.labels": labels}
    alphas = torch.randn(6, len(OPS)).requires_grad_()
    for name, cell in (("supernet", SearchCell), ("derived", InferCell)):
        net = Network(cell, case["channels"], case["cells"], case["classes"]).train()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
        logits = net(images, alphas.softmax(-1))
        loss = F.cross_entropy(logits, labels)
        parameters = dict(net.named_parameters())
        if name == "supernet":
            parameters["arch_parameters"] = alphas
        grads = torch.autograd.grad(loss, list(parameters.values()))
        tensors |= {f"{name}.in.{k}": v.detach().clone() for k, v in parameters.items()}
        tensors |= {f"{name}.out.grad.{k}": g for k, g in zip(parameters, grads)}
        tensors |= {f"{name}.out.logits": logits.detach(), f"{name}.out.loss": loss.detach().reshape(1)}
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"case": json.dumps(case)})


if __name__ == "__main__":
    main(sys.argv[1])
