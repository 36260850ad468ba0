"""A case of lease_reference with images of odd size.

    python make_odd_case.py [--check] OUT.safetensors

DARTS's FactorizedReduce, and so lease_reference.py as it is, cannot halve an odd size: the first of its two
convolutions rounds up and the second, one pixel further on, rounds down. Here the second one finds a row
or column of zeros past the edge wherever the size is odd, which leaves even sizes as they were:

    conv_2(F.pad(x, (0, width % 2, 0, height % 2))[:, :, 1:, 1:])

The rest is lease_reference.make_case. The metadata entry `patched` of the file says so. Sizes here: 9 in the
first cell, 5 after the first reduction, 3 after the second; FactorizedReduce meets 9 and 5.
"""
import argparse

import lease_reference as reference
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

CASE = dict(
    seed=55, channels=2, cells=3, nodes=1, classes=3, in_channels=1, size=9, batch=4, widths=[3, 4],
    blocks=[2, 1], lr_explainer=0.17, lr_delta=311.0, lr_audience=0.19, wd_explainer=3e-4,
    wd_audience=5e-4, gamma=1.3, epsilon=0.1, alpha_scale=0.5, reweight="signed")


class FactorizedReduce(reference.FactorizedReduce):
    def forward(self, x):
        x = F.relu(x)
        height, width = x.shape[2:]
        further = F.pad(x, (0, width % 2, 0, height % 2))[:, :, 1:, 1:]
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(further)], dim=1))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("--check", action="store_true", help="also compare with a central difference")
    a = p.parse_args()
    torch.set_num_threads(1)
    note = {"patched": "make_odd_case.py: FactorizedReduce pads odd sizes with zeros on the right and below"}
    reference.FactorizedReduce = FactorizedReduce
    reference.save_file = lambda out, path, metadata: save_file(out, path, metadata=metadata | note)
    reference.make_case(argparse.Namespace(**CASE, out=a.out, check=a.check))
