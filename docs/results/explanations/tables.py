"""Tables of the explanations in a folder that run.sh has made, as Markdown."""

import json
import sys
from pathlib import Path

COLUMNS = ["road", "road_probability", "mass", "pointing", "sensitivity_map", "gini", "ties", "at_epsilon"]
SOURCES = ["explanation", "random", "edges", "gradient", "other"]


def told(measured):
    if measured is None:
        return "–"
    low, high = measured["interval"] or (float("nan"),) * 2
    return f"{measured['mean']:.3f} ({low:.3f} to {high:.3f})"


def of(found, key, source):
    for measure in found["measures"] or []:
        if measure["key"] == key:
            return next((m for m in measure["of"] if m["source"] == source), None)
    return None


def row(found, source):
    """The measures of an explanation, or of a control."""
    cells = []
    for key in COLUMNS:
        measured = of(found, key, source)
        whole = key.startswith("road")
        cells.append(told(measured) if whole else "–" if measured is None else f"{measured['mean']:.3f}")
    return " | ".join(cells)


def main():
    out = Path(sys.argv[1])
    for network in ["digits", "shapes", "cifar10"]:
        files = sorted(out.glob(f"{network}-*/explanations.json"))
        if not files:
            continue
        print(f"## {network}\n")
        print("| explanation | predictions changed | " + " | ".join(COLUMNS) + " |")
        print("|---" * (2 + len(COLUMNS)) + "|")
        for file in files:
            found = json.loads(file.read_text())
            attack = found["attack"]
            name = f"ε {attack['epsilon']}, {attack['attack_steps']} × {attack['attack_step']}"
            name += " (test)" if "test" in found["explained"]["from"] else ""
            changed = f"{100 * found['predictions']['changed']:.0f} %"
            print(f"| {name} | {changed} | {row(found, 'explanation')} |")
        # The controls, but for another image's explanation, are the same whatever the attack: those of the last file of each part.
        last = {"test" in json.loads(file.read_text())["explained"]["from"]: file for file in files}
        for on_test, file in sorted(last.items()):
            found = json.loads(file.read_text())
            for source in SOURCES[1:]:
                print(f"| {source}{' (test)' if on_test else ''} | – | {row(found, source)} |")
        print("\n| randomisation | likeness | of two starts | passed | entropy rises | passed |")
        print("|---|---|---|---|---|---|")
        for file in files:
            found = json.loads(file.read_text())
            attack = found["attack"]
            for check in found["randomisation"] or []:
                if check["source"] == "explanation":
                    print(
                        f"| ε {attack['epsilon']}, {attack['attack_steps']} × {attack['attack_step']} "
                        f"| {check['likeness']['mean']:.3f} | {check['likeness_of_starts']['mean']:.3f} "
                        f"| {'yes' if check['likeness_passed'] else 'no'} | {100 * check['rise']['mean']:+.1f} % "
                        f"| {'yes' if check['rise_passed'] else 'no'} |"
                    )
        print()
        audience = out / f"{network}-audience/audience.md"
        if audience.exists():
            print("### Audiences\n\n" + audience.read_text())


if __name__ == "__main__":
    main()
