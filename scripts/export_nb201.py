"""Export the table that `lease --nb201-table` reads from the official benchmark file.

    pip install nas-bench-201          # the public package nas_201_api
    python scripts/export_nb201.py NAS-Bench-201-v1_1-096897.pth nb201.csv.gz

One line for each of the 15,625 architectures: mean accuracies in percent over all trainings of 200 epochs
(CIFAR-10 validation accuracy from trainings on half of the training images, as the benchmark has it),
parameters, and multiply-adds on CIFAR-10.

    python scripts/export_nb201.py --check NAS-Bench-201-v1_1-096897.pth nb201.csv.gz

compares a table that is there with the official file instead, line by line: accuracies to a hundredth of a point, costs to
the last digit. With `--epochs 12` before the rest, both are about the benchmark's short trainings, without costs.
"""
import csv
import gzip
import sys

from nas_201_api import NASBench201API

COLUMNS = [("cifar10_valid", "cifar10-valid", "valid-accuracy"), ("cifar10_test", "cifar10", "test-accuracy"),
           ("cifar100_valid", "cifar100", "valid-accuracy"), ("cifar100_test", "cifar100", "test-accuracy"),
           ("in16_valid", "ImageNet16-120", "valid-accuracy"), ("in16_test", "ImageNet16-120", "test-accuracy")]


NAMES = ["arch", *[name for name, _, _ in COLUMNS]]
COSTS = ["params", "flops"]


def lines(source, epochs):
    """The lines of the official file."""
    api = NASBench201API(source, verbose=False)
    for index in range(len(api)):
        line = [api.arch(index)]
        for _, dataset, key in COLUMNS:
            info = api.get_more_info(index, dataset, hp=epochs, is_random=False)
            line.append(round(info[key], 4))
        if epochs == "200":
            cost = api.get_cost_info(index, "cifar10", hp=epochs)
            line += [round(1e6 * cost["params"]), round(1e6 * cost["flops"])]
        yield line


def opened(path, mode):
    return (gzip.open if path.endswith(".gz") else open)(path, mode, newline="")


def names(epochs):
    return NAMES + (COSTS if epochs == "200" else [])


def write(source, target, epochs):
    with opened(target, "wt") as file:
        table = csv.writer(file)
        table.writerow(names(epochs))
        table.writerows(lines(source, epochs))


def check(source, target, epochs):
    with opened(target, "rt") as file:
        there = {row["arch"]: row for row in csv.DictReader(file)}
    different = 0
    for line in lines(source, epochs):
        row = there.pop(line[0], {})
        bounds = [0.01] * len(COLUMNS) + [0, 0]
        for name, value, bound in zip(names(epochs)[1:], line[1:], bounds):
            if name not in row or abs(float(row[name]) - value) > bound:
                different += 1
                print(f"{line[0]} {name}: {row.get(name)} there, {value} in the official file")
    print(f"{different} differences, {len(there)} lines too many")
    return 1 if different or there else 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    epochs = "200"
    if arguments[:1] == ["--epochs"] and arguments[1:2] in (["12"], ["200"]):
        epochs = arguments[1]
        arguments = arguments[2:]
    if len(arguments) == 3 and arguments[0] == "--check":
        sys.exit(check(*arguments[1:], epochs))
    if len(arguments) != 2:
        sys.exit(__doc__)
    write(*arguments, epochs)
