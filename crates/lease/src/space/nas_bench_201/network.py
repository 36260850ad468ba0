def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, padding=(size - 1) // 2, bias=False)


class ReLUConvBN(nn.Module):
    def __init__(self, inputs, outputs, size, stride=1):
        super().__init__()
        self.op = nn.Sequential(nn.ReLU(), conv(inputs, outputs, size, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return self.op(x)


class Zero(nn.Module):
    def forward(self, x):
        return x * 0


def operation(name, channels):
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
    return ReLUConvBN(channels, channels, int(name[-1]))


class Cell(nn.Module):
    """Four nodes, with an operation from each to each later one."""

    def __init__(self, channels):
        super().__init__()
        self.layers = nn.ModuleList(operation(name, channels) for name in CELL)

    def forward(self, x):
        states, layers = [x], iter(self.layers)
        for _ in range(3):
            states.append(sum(next(layers)(state) for state in states))
        return states[-1]


class Block(nn.Module):
    """A residual block: half the resolution, twice the channels."""

    def __init__(self, channels):
        super().__init__()
        self.conv_a = ReLUConvBN(channels, 2 * channels, 3, stride=2)
        self.conv_b = ReLUConvBN(2 * channels, 2 * channels, 3)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), conv(channels, 2 * channels, 1))

    def forward(self, x):
        return self.downsample(x) + self.conv_b(self.conv_a(x))


class Network(nn.Module):
    """Three stages of equal cells, and residual blocks between them."""

    def __init__(self):
        super().__init__()
        channels = CHANNELS
        if STEM == "imagenet":
            half = max(channels // 2, 1)
            self.stem0 = nn.Sequential(conv(IMAGE[0], half, 3, 2), nn.BatchNorm2d(half), nn.ReLU(),
                                       conv(half, channels, 3, 2), nn.BatchNorm2d(channels))
            self.stem1 = nn.Sequential(nn.ReLU(), conv(channels, channels, 3, 2), nn.BatchNorm2d(channels))
        else:
            self.stem = nn.Sequential(conv(IMAGE[0], channels, 3), nn.BatchNorm2d(channels))
        self.cells = nn.ModuleList()
        for stage in range(3):
            if stage > 0:
                self.cells.append(Block(channels))
                channels *= 2
            self.cells.extend(Cell(channels) for _ in range(CELLS))
        self.lastact = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, len(CLASSES))

    def forward(self, images):
        """Logits of normalised images `[batch, channels, height, width]`."""
        x = self.stem1(self.stem0(images)) if STEM == "imagenet" else self.stem(images)
        for cell in self.cells:
            x = cell(x)
        return self.classifier(self.lastact(x).mean((2, 3)))
