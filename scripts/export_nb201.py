"""Export the table that `lease --nb201-table` reads from the official benchmark file.

    pip install nas-bench-201          # the public package nas_201_api
    python scripts/export_nb201.py NAS-Bench-201-v1_1-096897.pth nb201.csv.gz

One line for each of the 15,625 architectures: mean accuracies in percent over all trainings of 200 epochs
(CIFAR-10 validation accuracy from trainings on half of the training images, as the benchmark has it),
parameters, and multiply-adds on CIFAR-10.
"""
import csv
import gzip
import sys

from nas_201_api import NASBench201API

COLUMNS = [("cifar10_valid", "cifar10-valid", "valid-accuracy"), ("cifar10_test", "cifar10", "test-accuracy"),
           ("cifar100_valid", "cifar100", "valid-accuracy"), ("cifar100_test", "cifar100", "test-accuracy"),
           ("in16_valid", "ImageNet16-120", "valid-accuracy"), ("in16_test", "ImageNet16-120", "test-accuracy")]


def main(source, target):
    api = NASBench201API(source, verbose=False)
    opened = gzip.open if target.endswith(".gz") else open
    with opened(target, "wt", newline="") as file:
        table = csv.writer(file)
        table.writerow(["arch", *[name for name, _, _ in COLUMNS], "params", "flops"])
        for index in range(len(api)):
            line = [api.arch(index)]
            for _, dataset, key in COLUMNS:
                info = api.get_more_info(index, dataset, hp="200", is_random=False)
                line.append(round(info[key], 4))
            cost = api.get_cost_info(index, "cifar10", hp="200")
            table.writerow(line + [round(1e6 * cost["params"]), round(1e6 * cost["flops"])])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
