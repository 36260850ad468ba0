"""Cases of lease_reference with one and with two cells.

    python make_few_cells.py [--check] [FOLDER]

Such a supernet has reduction cells only (0, then 0 and 1), so alphas_normal takes no part in it, and
lease_reference.py, as it is, stops there: autograd refuses to differentiate by a tensor that was not
used. Here the explainer adds zero times the sum of both coefficient matrices to its logits. No value and
no other derivative changes, and the derivative with respect to alphas_normal is what it is: exactly zero.
The rest is lease_reference.make_case. The metadata entry `patched` of these files says so.
"""
import argparse
import os

import lease_reference as reference
import torch
from safetensors.torch import save_file

CASES = {
    "cells1_nodes3_4px": dict(
        seed=57, channels=2, cells=1, nodes=3, classes=4, in_channels=3, size=4, batch=5, widths=[3, 4],
        blocks=[1, 2], lr_explainer=0.25, lr_delta=103.0, lr_audience=0.033, wd_explainer=3e-4,
        wd_audience=5e-4, gamma=2.5, epsilon=0.07, alpha_scale=0.5, reweight="signed"),
    "cells2_nodes1_three_stages_magnitude": dict(
        seed=51, channels=2, cells=2, nodes=1, classes=2, in_channels=1, size=8, batch=2, widths=[3, 5, 4],
        blocks=[1, 2, 1], lr_explainer=0.013, lr_delta=37.0, lr_audience=0.27, wd_explainer=1e-2,
        wd_audience=2e-2, gamma=1.0, epsilon=0.2, alpha_scale=1.0, reweight="magnitude"),
}


class Explainer(reference.Explainer):
    def forward(self, x, alphas_normal, alphas_reduce):
        return super().forward(x, alphas_normal, alphas_reduce) + 0.0 * (alphas_normal.sum() + alphas_reduce.sum())


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("folder", nargs="?", default=".")
    p.add_argument("--check", action="store_true", help="also compare with a central difference")
    a = p.parse_args()
    torch.set_num_threads(1)
    note = {"patched": "make_few_cells.py: adds 0 * sum(alphas) to the explainer's logits"}
    reference.Explainer = Explainer
    reference.save_file = lambda out, path, metadata: save_file(out, path, metadata=metadata | note)
    for name, settings in CASES.items():
        out = os.path.join(a.folder, name + ".safetensors")
        reference.make_case(argparse.Namespace(**settings, out=out, check=a.check))
