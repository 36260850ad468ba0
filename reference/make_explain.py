"""Frozen values for the measures of explanations: crates/lease/tests/data/explain.json.

ROAD: the authors' code (https://github.com/tleemann/road_evaluation), their own imputation and order of pixels; the folder that has their
`road/` is the first argument. Maximum sensitivity: Captum's `sensitivity_max` (pip install captum). Neither is needed to test.

    python reference/make_explain.py FOLDER_WITH_ROAD crates/lease/tests/data/explain.json
"""

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from captum.metrics import sensitivity_max


def road(folder):
    """The two files of theirs that are needed, without the rest of the package, which imports trained models."""
    package = types.ModuleType("road")
    package.__path__ = [str(Path(folder) / "road")]
    sys.modules["road"] = package
    # An imputer that is not used here.
    gsmv = types.ModuleType("road.gisp.models.gsmv")
    gsmv.GNet_ResNet = None
    for name in ["road.gisp", "road.gisp.models"]:
        sys.modules[name] = types.ModuleType(name)
    sys.modules["road.gisp.models.gsmv"] = gsmv
    from road.imputations import NoisyLinearImputer
    from road.imputed_dataset import ImputedDataset

    return NoisyLinearImputer, ImputedDataset


def rounded(tensor):
    return [float(f"{v:.9g}") for v in tensor.flatten().tolist()]


def road_values(folder):
    NoisyLinearImputer, ImputedDataset = road(folder)
    generator = torch.Generator().manual_seed(1)
    channels, height, width = 3, 6, 7
    image = torch.rand(channels, height, width, generator=generator)
    relevance = torch.rand(height, width, generator=generator)
    imputed = []
    for most_first in [True, False]:
        for level in range(1, 10):
            # By their code the least relevant go until this share is left; by the paper's figure the share that goes is named.
            share = level / 10
            data = ImputedDataset(
                [(image.clone(), 0)],
                [relevance.numpy()[..., None].astype(np.float64)],
                th_p=share,
                remove=most_first,
                imputation=NoisyLinearImputer(noise=0.0),
            )
            # No lots are to be drawn: no two pixels are equal.
            data.random_v = 0.0 * data.random_v
            kept = int(height * width * share)
            removed = kept if most_first else height * width - kept
            values, _, _ = data[0]
            imputed.append(
                {"most_first": most_first, "removed": removed, "values": rounded(values)}
            )
    return {
        "shape": [channels, height, width],
        "image": rounded(image),
        "relevance": rounded(relevance),
        "imputed": imputed,
    }


def sensitivity_values():
    generator = torch.Generator().manual_seed(2)
    shape = (2, 1, 3, 4)
    images = torch.randn(shape, generator=generator)
    # The second explanation is 0, where nothing is divided by.
    images[1] = 0
    draws, radius = 10, 0.02
    noise = (2 * torch.rand(draws, *shape, generator=generator) - 1) * radius

    def explain(x):
        # As Captum's own explanations: of a tuple a tuple.
        if isinstance(x, tuple):
            return tuple(map(explain, x))
        return x**3 + 0.5 * x * x.roll(1, dims=-1)

    def perturb(x):
        # Captum repeats each image for its draws.
        return x + noise.transpose(0, 1).reshape(x.shape)

    found = sensitivity_max(explain, images, perturb, perturb_radius=radius, n_perturb_samples=draws)
    return {
        "shape": list(shape),
        "explanations": rounded(explain(images)),
        "after": [rounded(explain(images + noise[i])) for i in range(draws)],
        "sensitivity": rounded(found),
    }


def main():
    folder, out = sys.argv[1:]
    values = {"road": road_values(folder), "sensitivity": sensitivity_values()}
    Path(out).write_text(json.dumps(values) + "\n")


if __name__ == "__main__":
    main()
