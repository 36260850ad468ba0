def conv(inputs, outputs, size, stride=1, dilation=1, groups=1):
    padding = dilation * (size - 1) // 2
    return nn.Conv2d(inputs, outputs, size, stride, padding, dilation, groups, bias=False)


class Chain(nn.Module):
    """Layers one after the other, under the name `op`."""

    def __init__(self, *layers):
        super().__init__()
        self.op = nn.Sequential(*layers)

    def forward(self, x):
        return self.op(x)


class FactorizedReduce(nn.Module):
    """Half the resolution (rounded up): every second pixel, and those one further down and right."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv_1, self.conv_2 = (conv(inputs, outputs // 2, 1, stride=2) for _ in range(2))
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        x = F.relu(x)
        height, width = x.shape[2:]
        shifted = F.pad(x[:, :, 1:, 1:], (0, width % 2, 0, height % 2))
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(shifted)], dim=1))


class Zero(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return x[:, :, :: self.stride, :: self.stride] * 0


class Beside(nn.Module):
    """An operation and a skip-connect beside it."""

    def __init__(self, operation, aux_skip):
        super().__init__()
        self.operation, self.aux_skip = operation, aux_skip

    def forward(self, x):
        return self.operation(x) + self.aux_skip(x)


def operation(name, channels, stride):
    if name == "none":
        return Zero(stride)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, padding=1)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)
    kind, size = name[:3], int(name[-1])

    def separable(stride, dilation):
        depthwise = conv(channels, channels, size, stride, dilation, groups=channels)
        return nn.ReLU(), depthwise, conv(channels, channels, 1), nn.BatchNorm2d(channels)

    if kind == "dil":
        return Chain(*separable(stride, 2))
    return Chain(*separable(stride, 1), *separable(1, 1))


class Cell(nn.Module):
    def __init__(self, genes, before, last, channels, reduction, after_reduction):
        super().__init__()
        self.nodes, self.concat = genes["nodes"], genes["concat"]
        if after_reduction:
            self.preprocess0 = FactorizedReduce(before, channels)
        else:
            self.preprocess0 = Chain(nn.ReLU(), conv(before, channels, 1), nn.BatchNorm2d(channels))
        self.preprocess1 = Chain(nn.ReLU(), conv(last, channels, 1), nn.BatchNorm2d(channels))
        self._ops = nn.ModuleList()
        for name, state in (edge for node in self.nodes for edge in node):
            stride = 2 if reduction and state < 2 else 1
            edge = operation(name, channels, stride)
            if EDGE_SKIPS:
                edge = Beside(edge, operation("skip_connect", channels, stride))
            self._ops.append(edge)

    def forward(self, s0, s1):
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        for number, node in enumerate(self.nodes):
            states.append(sum(self._ops[2 * number + i](states[state]) for i, (_, state) in enumerate(node)))
        return torch.cat([states[i] for i in self.concat], dim=1)


class Network(nn.Module):
    """Cells of the genotype; those at a third and two thirds of the depth halve the resolution."""

    def __init__(self):
        super().__init__()
        if STEM == "imagenet":
            half = max(CHANNELS // 2, 1)
            self.stem0 = nn.Sequential(conv(IMAGE[0], half, 3, 2), nn.BatchNorm2d(half), nn.ReLU(),
                                       conv(half, CHANNELS, 3, 2), nn.BatchNorm2d(CHANNELS))
            self.stem1 = nn.Sequential(nn.ReLU(), conv(CHANNELS, CHANNELS, 3, 2), nn.BatchNorm2d(CHANNELS))
            before = last = CHANNELS
        else:
            before = last = 3 * CHANNELS
            self.stem = nn.Sequential(conv(IMAGE[0], last, 3), nn.BatchNorm2d(last))
        self.cells = nn.ModuleList()
        channels, after_reduction = CHANNELS, STEM == "imagenet"
        for i in range(CELLS):
            reduction = i in (CELLS // 3, 2 * CELLS // 3)
            channels *= 2 if reduction else 1
            genes = GENOTYPE["reduce" if reduction else "normal"]
            self.cells.append(Cell(genes, before, last, channels, reduction, after_reduction))
            before, last, after_reduction = last, len(genes["concat"]) * channels, reduction
        self.classifier = nn.Linear(last, len(CLASSES))

    def forward(self, images):
        """Logits of normalised images `[batch, channels, height, width]`."""
        if STEM == "imagenet":
            s0 = self.stem0(images)
            s1 = self.stem1(s0)
        else:
            s0 = s1 = self.stem(images)
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1)
        return self.classifier(s1.mean((2, 3)))
