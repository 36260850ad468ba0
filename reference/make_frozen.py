"""Frozen numbers for optimisers, the learning-rate schedule, the derivation of a genotype and the parts of a search.

    python make_frozen.py > frozen.json

Everything is computed in double precision by PyTorch itself, and printed with all its digits:

  sgd     SGD with momentum and weight decay, a new learning rate at every step, gradients clipped by
          their norm before the step (torch.nn.utils.clip_grad_norm_)
  adam    Adam with coupled weight decay (torch.optim.Adam, not AdamW), gradients not clipped
  cosine  CosineAnnealingLR: the rate that epoch 0, 1, ... is trained with
  derive  mixing coefficients (before softmax) and the genes DARTS derives from them, in its order
  parts   what the parts of a search compute, by the formulas of their authors' code, with PyTorch's own functions and derivatives:
          β-decay (the mean of logsumexp), DrNAS's distance to its prior (the sum of kl_divergence of Dirichlet distributions), the
          zero-one loss (minus mse_loss to ½), Λ-DARTS's agreement (the mean cosine_similarity of pairs of layers), and the step
          of SmoothDARTS's attack on mixing weights

`after` holds the parameters after each step; `gradients` are those before clipping.
"""
import json

import torch
from torch.nn import functional
from lease_reference import OPS

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def rounded(*shape, scale=1.0):
    """Normal numbers with three decimals, so that the file is easy to read."""
    return (torch.randn(*shape) * scale * 1000).round() / 1000


def steps(make_optimiser, rates, start, gradients, clip=None):
    """The parameters after each step, and the norms of the gradients before clipping."""
    p = start.clone().requires_grad_()
    optimiser, after, norms = make_optimiser(p), [], []
    for rate, g in zip(rates, gradients):
        for group in optimiser.param_groups:
            group["lr"] = rate
        p.grad = g.clone()
        norms.append(g.norm().item())
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([p], clip)
        optimiser.step()
        after.append(p.detach().tolist())
    return {"start": start.tolist(), "gradients": gradients.tolist(), "gradient_norms": norms, "after": after}


def sgd():
    rates, settings = [0.1, 0.09, 0.05, 0.02], {"momentum": 0.9, "weight_decay": 3e-4}
    start, gradients = rounded(7), rounded(4, 7)
    gradients[1] *= 10  # the one that is clipped
    run = steps(lambda p: torch.optim.SGD([p], lr=rates[0], **settings), rates, start, gradients, clip=5.0)
    assert [n > 5.0 for n in run["gradient_norms"]] == [False, True, False, False]
    return {"lr": rates, "clip_norm": 5.0} | settings | run


def adam():
    settings = {"lr": 0.01, "betas": [0.5, 0.999], "eps": 1e-8, "weight_decay": 1e-3}
    start, gradients = rounded(7), rounded(4, 7)
    gradients[:, 6] = 0.0  # only weight decay moves this one
    run = steps(lambda p: torch.optim.Adam([p], **settings), [settings["lr"]] * 4, start, gradients)
    return settings | run


def cosine():
    settings = {"T_max": 50, "eta_min": 0.001}
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.025)
    schedule, rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, **settings), []
    for _ in range(50):
        rates += schedule.get_last_lr()
        optimiser.step()
        schedule.step()
    return {"base": 0.025} | settings | {"lr": rates}


def strength(row):
    """The largest weight of an edge, `none` left out."""
    return max(w for op, w in zip(OPS, row) if op != "none")


def clear(scores, chosen):
    """Ties are exact and nothing else comes near to one, so rounding cannot change what is chosen."""
    top = sorted(scores, reverse=True)[:chosen + 1]
    assert all(x == y or x - y > 5e-4 for x, y in zip(top, top[1:])), top


def derive(alphas, nodes=4):
    """DARTS's rule, on the coefficients after softmax.

    Every node keeps the two incoming edges of greatest strength, the stronger one first and, when
    two are equal, the one from the earlier state first. A kept edge becomes its best operation
    other than `none`, the earlier one in OPS when two are equal.
    """
    weights, genes, first = torch.softmax(alphas, -1).tolist(), [], 0
    for node in range(nodes):
        incoming = weights[first:first + node + 2]
        clear([strength(row) for row in incoming], 2)
        for row in incoming:
            clear(row[1:], 1)
        for state in sorted(range(node + 2), key=lambda s: -strength(incoming[s]))[:2]:
            best = incoming[state].index(strength(incoming[state]), 1)
            genes.append([OPS[best], state])
        first += node + 2
    return genes


def ties():
    """Equal operations in an edge, and equal edges in a node."""
    a = rounded(14, 8)
    a[0, [3, 5]] = 2.0                      # node 0: the same edge twice, with two best operations
    a[1] = a[0]
    a[2:5] *= 0.1                           # node 1: edges 0 and 2 equal and best, `none` above all
    a[2, 0], a[2, 6] = 3.0, 2.5
    a[4] = a[2]
    a[5:9] = 0.0                            # node 2: nothing to choose between
    a[9:] *= 0.1                            # node 3: the strongest edge is the last, the next two equal
    a[13, 7] = 3.0
    a[10, [1, 2, 4]] = 1.5
    a[12] = a[10]
    return a


def differentiated(value, *of):
    return {"value": value.item(), "gradients": [g.tolist() for g in torch.autograd.grad(value, of)]}


def parts():
    rows = rounded(3, 5)
    alphas = rows.clone().requires_grad_()
    dirichlet = torch.distributions.Dirichlet(functional.elu(alphas) + 1)
    prior = torch.distributions.Dirichlet(torch.ones_like(alphas))
    half = torch.full_like(alphas, 0.5)
    layers = rounded(3, 6).requires_grad_()
    pairs = [(i, j) for i in range(3) for j in range(i)]
    cosines = [functional.cosine_similarity(layers[i], layers[j], dim=0) for i, j in pairs]
    # SmoothDARTS: a step along the sign, back into the box around the start, then clipped and normalised row by row.
    start, step, epsilon = torch.softmax(rounded(3, 5), -1), 0.2, 0.15
    moved = start + step * rounded(3, 5).sign()
    boxed = torch.max(torch.min(moved, start + epsilon), start - epsilon).clamp(0, 1)
    assert (boxed == 0).any()
    return {
        "alphas": rows.tolist(),
        "beta_decay": differentiated(torch.logsumexp(alphas, -1).mean(), alphas),
        "dirichlet_prior": differentiated(torch.distributions.kl_divergence(dirichlet, prior).sum(), alphas),
        "zero_one": differentiated(-functional.mse_loss(torch.sigmoid(alphas), half), alphas),
        "agreement": {"layers": layers.tolist()} | differentiated(sum(cosines) / len(pairs), layers),
        "perturbation": {
            "start": start.tolist(), "epsilon": epsilon, "moved": moved.tolist(),
            "projected": (boxed / boxed.sum(-1, keepdim=True)).tolist(),
        },
    }


if __name__ == "__main__":
    assert OPS[0] == "none"
    torch.manual_seed(8)
    frozen = {"sgd": sgd(), "adam": adam(), "cosine": cosine()}
    matrices = {"random": rounded(14, 8), "spread": rounded(14, 8, scale=2.0), "ties": ties()}
    frozen["derive"] = [{"name": name, "nodes": 4, "ops": OPS, "alphas": a.tolist(), "genes": derive(a)}
                        for name, a in matrices.items()]
    frozen["parts"] = parts()
    print(json.dumps(frozen, indent=1))
