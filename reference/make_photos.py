"""PyTorch's numbers for photos: networks with the stems for ImageNet, the loss with smoothed labels, and augmentation.

    python make_photos.py photos.safetensors photos.json

The first file, in double precision, has two networks under `derived.` and `audience.`, each with

  in.<parameter>                     batch-norm weights and biases moved off 1 and 0
  out.logits, out.logits_aux         one training-mode pass (the audience has no second head)
  out.loss, out.grad.<parameter>     loss = CE(logits) + 0.4 CE(logits_aux), with labels smoothed by 0.1

`derived` is DARTS's `NetworkImageNet` (stem0, stem1, a first cell after a reduction, the auxiliary head with a pool of
stride 2), with the cells of make_evaluation.py; `audience` a ResNet of basic blocks with torchvision's stem. Images are
not stored: the k-th number of a batch is sin(0.37 k), of labels `in.labels`.

The second file has what torchvision makes of small images: resized crops, changes of colour, and the view for testing. The
metadata entry `case` of the first is a JSON object with every setting.
"""
import json
import sys

import torch
import torch.nn.functional as F
from lease_reference import Audience
from make_evaluation import GENOTYPE, AuxiliaryHead, Cell, conv, gradients, inputs, move_affine
from safetensors.torch import save_file
from torch import nn


class AuxiliaryHeadPhotos(AuxiliaryHead):
    """A pool of stride 2."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.features[1] = nn.AvgPool2d(5, stride=2, padding=0, count_include_pad=False)


class Photos(nn.Module):
    """DARTS's network for ImageNet."""

    def __init__(self, genotype, c, layers, classes, aux):
        super().__init__()
        self.stem0 = nn.Sequential(conv(3, c // 2, 3, 2, 1), nn.BatchNorm2d(c // 2), nn.ReLU(),
                                   conv(c // 2, c, 3, 2, 1), nn.BatchNorm2d(c))
        self.stem1 = nn.Sequential(nn.ReLU(), conv(c, c, 3, 2, 1), nn.BatchNorm2d(c))
        cpp, cp, was = c, c, True
        self.cells, self.aux_at = nn.ModuleList(), 2 * layers // 3
        for i in range(layers):
            red = i in (layers // 3, 2 * layers // 3)
            c = 2 * c if red else c
            cell = Cell(genotype, cpp, cp, c, red, was)
            self.cells.append(cell)
            cpp, cp, was = cp, len(cell.concat) * c, red
            if i == self.aux_at:
                self.auxiliary_head = AuxiliaryHeadPhotos(cp, classes, *aux)
        self.classifier = nn.Linear(cp, classes)

    def forward(self, x):
        s0 = self.stem0(x)
        s1 = self.stem1(s0)
        for i, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1, 0.0)
            if i == self.aux_at:
                aux = self.auxiliary_head(s1)
        return self.classifier(s1.mean((2, 3))), aux


class AudiencePhotos(Audience):
    """With torchvision's stem: a 7x7 convolution and a 3x3 max-pool, each of stride 2."""

    def __init__(self, widths, blocks, classes):
        super().__init__(widths, blocks, classes, 3)
        self.conv1 = conv(3, widths[0], 7, 2, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for s in self.stages:
            x = getattr(self, s)(x)
        return self.fc(x.mean((2, 3))), None


def images(*shape):
    return torch.sin(0.37 * torch.arange(torch.Size(shape).numel(), dtype=torch.float64)).reshape(shape)


def case(net, shape, labels, smoothing):
    move_affine(net)
    labels = torch.tensor(labels)
    logits, aux = net(images(*shape))
    out = inputs(net, torch.zeros(1), labels)
    del out["in.images"]
    loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    out["out.logits"] = logits
    if aux is not None:
        loss = loss + 0.4 * F.cross_entropy(aux, labels, label_smoothing=smoothing)
        out["out.logits_aux"] = aux
    loss.backward()
    return out | {"out.loss": loss.reshape(1)} | gradients(net)


def augmentation():
    """What torchvision makes of an image of 9x12 pixels in three colours, all numbers from 0 to 255."""
    from torchvision.transforms import functional as T

    image = (torch.arange(3 * 9 * 12) * 97 % 251).to(torch.uint8).reshape(3, 9, 12)
    flat = lambda t: [round(x, 6) for x in t.flatten().tolist()]  # noqa: E731
    crops = []
    for box, size in [((1, 2, 7, 9), (4, 5)), ((3, 0, 5, 4), (10, 6)), ((0, 0, 9, 12), (3, 4)), ((2, 5, 1, 1), (2, 2))]:
        crop = T.resized_crop(image.float(), *box, size, T.InterpolationMode.BILINEAR, antialias=True)
        crops.append({"box": box, "size": size, "out": flat(crop)})
    unit = image.double() / 255
    colours = []
    for name, change, factors in [("brightness", T.adjust_brightness, (0.6, 1.4)),
                                  ("contrast", T.adjust_contrast, (0.6, 1.4)),
                                  ("saturation", T.adjust_saturation, (0.0, 0.7, 1.3)),
                                  ("hue", T.adjust_hue, (-0.2, 0.13))]:
        colours += [{"name": name, "factor": f, "out": flat(change(unit, f))} for f in factors]
    views = []
    for size, crop in [([8, 10], [7, 7]), ([16, 21], [14, 14])]:
        small = T.resize(image.float(), size, T.InterpolationMode.BILINEAR, antialias=True)
        views.append({"resized": list(small.shape[1:]), "crop": crop, "out": flat(T.center_crop(small, crop))})
    return {"crops": crops, "colours": colours, "views": views}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    meta = {"seed": 41, "channels": 2, "layers": 3, "classes": 3, "shape": [2, 3, 224, 256], "labels": [2, 0],
            "auxiliary": [3, 4], "smoothing": 0.1, "widths": [2, 3], "blocks": [1, 1], "audience_shape": [3, 3, 45, 38],
            "audience_labels": [1, 0, 2], "genotype": GENOTYPE}
    torch.manual_seed(meta["seed"])
    derived = case(Photos(GENOTYPE, meta["channels"], meta["layers"], meta["classes"], meta["auxiliary"]),
                   meta["shape"], meta["labels"], meta["smoothing"])
    audience = case(AudiencePhotos(meta["widths"], meta["blocks"], meta["classes"]), meta["audience_shape"],
                    meta["audience_labels"], 0.0)
    all_of = {f"derived.{k}": v for k, v in derived.items()} | {f"audience.{k}": v for k, v in audience.items()}
    all_of = {k: v.detach().contiguous().clone() for k, v in all_of.items()}
    save_file(all_of, sys.argv[1], metadata={"case": json.dumps(meta)})
    with open(sys.argv[2], "w") as file:
        json.dump(augmentation(), file)
    print(f"{sys.argv[1]}: {len(all_of)} tensors, losses {derived['out.loss'].item():.12f} "
          f"{audience['out.loss'].item():.12f}")
