"""Faults, with real processes and real disks: whatever happens to a run, it ends with the same bytes or says why not.

    cargo build --release
    python3 scripts/faults.py target/release/lease [--kills 100] [--seed 0] [--only TEXT]

Searches, trainings, whole runs and comparisons are killed at random moments and gone on with as a person would, by what
the program says. Disks get full or read-only, folders go away, files are damaged, two processes want the same run, signals
come, the clock runs backwards. A case fails on other results than those of an undisturbed run, on a panic, on a hang, on
an unfinished file left behind, and on an error that is not told in one clear line. The folder of a failed case is kept.
Cases with file systems of their own need root.
"""
import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

HANG = 120
DATA = ["--limit", "200", "--threads", "1", "--checkpoint-seconds", "0"]
TINY = "--channels 2 --nodes 1 --batch 20 --audience-width 0.1 --seed 3 --epochs 3".split()
TRAIN = "--train-channels 2 --train-cells 3 --train-batch 20 --train-drop-path 0.2".split()
METHODS = ["darts-first", "random", "brief:method=random-search,random-draws=2,random-epochs=1"]


class Failed(Exception):
    """What is not as it should be."""


def need(condition, what):
    if not condition:
        raise Failed(what)


# What is run. Each kind has a command that starts a run in a folder, and one that goes on with it.

def search(run, *more):
    return ["search", *DATA, *TINY, "--out", run, *more]


def seldom_saved(run):
    """With ten steps from one checkpoint to the next."""
    rare = {"0": "1000", "20": "10"}
    return [rare.get(word, word) for word in search(run)]


def resume(run):
    return ["search", "--resume", run]


def train(run):
    return ["train", "random:5", *DATA, *TRAIN, "--train-epochs", "3", "--out", run]


def whole_run(run):
    return ["run", *DATA, *TINY, *TRAIN, "--train-epochs", "1", "--out", run]


def compare(run):
    return ["compare", *METHODS, "--seeds", "1", *DATA, *TINY, *TRAIN, "--train-epochs", "1", "--out", run]


AGAIN = {search: resume, seldom_saved: resume, train: train, whole_run: lambda run: ["run", "--resume", run], compare: compare}


# Processes.

def start(command, under=(), **more):
    command = [*under, OPTIONS.lease, *map(str, command)]
    defaults = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **(defaults | more))


def end(process):
    """The exit status of a process and what it said, which is never a panic, and comes in time."""
    try:
        out, told = process.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed(f"hangs: {process.args}") from None
    told = (told or b"").decode()
    need("panicked" not in told, told)
    need(process.returncode in (0, 1, -signal.SIGKILL, 129, 130, 143), f"status {process.returncode}: {told}")
    return process.returncode, told


def done(process):
    status, told = end(process)
    need(status == 0, f"status {status}: {told}")
    return told


def refused(process, *words):
    status, told = end(process)
    need(status == 1, f"status {status} where it should refuse: {told}")
    need(sum(line.startswith("error: ") for line in told.splitlines()) == 1, f"not one error: {told}")
    need(any(word in told for word in words), f"it does not say {' or '.join(words)}: {told}")
    return told


def wait(process, condition):
    """Until something holds, which it will before the process ends."""
    started = time.monotonic()
    while not condition():
        need(process.poll() is None and time.monotonic() < started + HANG, "it ended or hung before it was to be disturbed")


@contextmanager
def held(process):
    """While this lasts, the process does nothing."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


# Run folders.

def checkpoints(run):
    return sorted((run / "checkpoints").glob("step-*.safetensors"))


def step(run):
    """Of the newest checkpoint; -1 without one."""
    return max((int(path.stem[5:]) for path in checkpoints(run)), default=-1)


def unfinished(run):
    return {path for path in run.rglob(".partial-*")}


def results(run):
    """All files that must not depend on interruptions, without the seconds that something took."""
    found = {}
    for path in run.rglob("*"):
        if path.is_file() and "checkpoints" not in path.parts and path.name != "timing.jsonl":
            comparison = path.name.startswith("comparison.")
            found[str(path.relative_to(run))] = b"" if comparison else path.read_bytes()
            if path.suffix == ".json":
                found[str(path.relative_to(run))] = re.sub(rb'seconds": [-0-9.e]+', b"", path.read_bytes()) if not comparison else b""
    return found


WHOLE = {}


def undisturbed(first, *more):
    """The results of a run that nothing happens to, and its seconds."""
    key = (first, more)
    if key not in WHOLE:
        run, started = OPTIONS.work / f"undisturbed-{len(WHOLE)}", time.monotonic()
        done(start(first(run, *more)))
        WHOLE[key] = results(run), time.monotonic() - started
    return WHOLE[key]


def same(run, first, *more):
    there, here = undisturbed(first, *more)[0], results(run)
    differing = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    need(not differing, f"other results than undisturbed: {', '.join(differing)}")
    need(not unfinished(run), f"unfinished files are left: {unfinished(run)}")


def go_on(run, first, disturb=lambda process: False, command=None):
    """Goes on with a run until it is done, as a person would, and says how often it was killed on the way."""
    first, again = first(run), AGAIN[first](run)
    command, kills, refusals = command or again, 0, 0
    while True:
        process = start(command)
        if disturb(process):
            process.kill()
        status, told = end(process)
        if status == 0:
            return kills
        if status == -signal.SIGKILL:
            kills, refusals, command = kills + 1, 0, again
            continue
        refusals += 1
        need(status == 1 and refusals < 3, f"neither starts nor goes on, status {status}: {told}")
        if command is again and ("is no run folder" in told or "No such file" in told):
            command = first
        else:
            need(command is first and "--resume" in told, f"cannot be gone on with: {told}")
            command = again


# Kills.

def killed(run, kind, chance):
    """Kills at random moments: of all, of the first writes of a new folder, and in the middle of writing a file."""
    seconds, most = undisturbed(kind)[1], chance.randint(1, 4)

    def disturb(process):
        nonlocal most
        most -= 1
        moment = chance.choice(("any", "first writes", "in a file"))
        if most < 0:
            return False
        if moment == "first writes" and not run.exists():
            while process.poll() is None and not run.exists():
                pass
            time.sleep(chance.uniform(0, 0.03))
        elif moment == "in a file":
            seen, files = set(), chance.randint(1, 25)
            while process.poll() is None and len(seen) < files:
                seen |= unfinished(run)
        else:
            time.sleep(chance.uniform(0, seconds))
        return True

    kills = go_on(run, kind, disturb, kind(run))
    same(run, kind)
    return kills


def many_kills():
    tenth = (OPTIONS.kills + 9) // 10
    for kind, kills in ((search, OPTIONS.kills), (train, OPTIONS.kills), (whole_run, tenth), (compare, tenth)):
        total = 0
        for life in range(10 * kills):
            if total >= kills:
                break
            name = f"a {kind.__name__.replace('_', ' ')} killed and gone on with, {life + 1}"
            total += case(name, lambda run, chance: killed(run, kind, chance)) or 0


# A run that is stopped, damaged, and gone on with.

def stopped(run, first):
    """A run that was killed in its second epoch."""
    template = OPTIONS.work / f"stopped-{first.__name__}"
    if not template.exists():
        process = start(first(template))
        wait(process, lambda: step(template) >= (7 if first is search else 13))
        process.kill()
        end(process)
    shutil.copytree(template, run)


def remove(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path, at=100):
    """One bit, at this byte from the start or, if negative, the end."""
    whole = bytearray(path.read_bytes())
    whole[at] ^= 4
    path.write_bytes(whole)


def append(path):
    with path.open("ab") as file:
        file.write(b'{"kind":"step"}\n' * 200)


def replace_by_a_file(path):
    shutil.rmtree(path)
    path.write_bytes(b"")


def damaged(run, first, damage, words, goes_on):
    stopped(run, first)
    before = run.with_name(run.name + "-before")
    shutil.copytree(run, before)
    damage(run)
    if goes_on:
        told = done(start(AGAIN[first](run)))
        need(any(word in told for word in words), f"it does not say {' or '.join(words)}: {told}")
    else:
        refused(start(AGAIN[first](run)), *words)
        # Refusing has spoilt nothing: with what was there before, it goes on.
        for path in before.iterdir():
            there = run / path.name
            if path.is_dir() and not there.is_dir():
                there.unlink(missing_ok=True)
            if path.is_dir():
                shutil.copytree(path, there, dirs_exist_ok=True)
            else:
                shutil.copy2(path, there)
        done(start(AGAIN[first](run)))
    same(run, first)
    shutil.rmtree(before)


def damages():
    log, gone, before = "metrics.jsonl was changed", "its checkpoints are gone", "Using the checkpoint before"
    newest = {"cut": cut, "emptied": empty} | {
        f"with a bit flipped at {at}": lambda path, at=at: flip(path, at) for at in (0, 3, 7, 8, 30, 900, -5000, -1)}
    for first in (search, train):
        kind = f"a {first.__name__}'s"
        for name, damage in {"removed": remove, "emptied": empty, "shortened": cut, "with a bit flipped": flip}.items():
            damage_case(f"{kind} metrics.jsonl {name}", first, "metrics.jsonl", damage, log)
        damage_case(f"{kind} metrics.jsonl with more after what was recorded", first, "metrics.jsonl", append, "Resuming", True)
        for name, damage in newest.items():
            case(f"{kind} newest checkpoint {name}", lambda run, chance: damaged(
                run, first, lambda r: damage(checkpoints(r)[-1]), [before], True))
            case(f"{kind} checkpoints, both {name}", lambda run, chance: damaged(
                run, first, lambda r: [damage(path) for path in checkpoints(r)], ["no checkpoint in"], False))
        damage_case(f"{kind} checkpoints removed", first, "checkpoints", shutil.rmtree, gone)
        damage_case(f"{kind} checkpoints replaced by a file", first, "checkpoints", replace_by_a_file, "checkpoints")
        damage_case(f"{kind} run.json removed", first, "run.json", remove, "no search", "no training", "no run folder")
        damage_case(f"{kind} run.json emptied", first, "run.json", empty, "no search", "no training", "run.json")
    damage_case("a search's timing.jsonl removed", search, "timing.jsonl", remove, "timing.jsonl was changed")
    damage_case("a search's config.toml removed", search, "config.toml", remove, "no config.toml")
    damage_case("a search's config.toml emptied", search, "config.toml", empty, "is of another run", "another configuration")
    damage_case("a search's config.toml with a setting twice", search, "config.toml",
                lambda path: path.write_text(path.read_text() + "\n[run]\nseed = 3\n"), "config.toml")


def damage_case(name, first, file, damage, *words):
    goes_on = words[-1] is True
    case(name, lambda run, chance: damaged(run, first, lambda r: damage(r / file), [w for w in words if w is not True], goes_on))


# What changes under a run at work.

def disturbed(run, first, at, file, change):
    """Changes a file or folder (`.` for the run's own) once a checkpoint is there, and puts it back when the run ended."""
    process = start(first(run))
    away, path = run.with_name(run.name + "-away"), run / file
    wait(process, lambda: step(run) >= at)
    with held(process):
        need(process.poll() is None, "it ended too soon")
        path.rename(away)
        if change:
            shutil.copy2(away, path) if away.is_file() else empty(path)
            inode_kept = away.is_file()
            if inode_kept:
                # The very file that the process has open is changed; the copy is what there was.
                copy = path.read_bytes()
                path.unlink()
                away.rename(path)
                away.write_bytes(copy)
                change(path)
    status, told = end(process)
    if status == 0:
        return same(run, first)
    need(status == 1 and told.count("error: ") == 1, f"status {status}, not one error: {told}")
    need(str(run) in told, f"it does not say where: {told}")
    need(change or not path.exists(), f"what was taken away is made anew: {path}")
    path.unlink(missing_ok=True)
    away.rename(path)
    go_on(run, first)
    same(run, first)
    return None


def disturbances():
    for first, last in ((search, 15), (train, 30)):
        for when, at in (("at work", 4), ("after its last step", last)):
            for name, file, change in (
                    ("whose folder is moved away", ".", None), ("whose metrics.jsonl is removed", "metrics.jsonl", None),
                    ("whose metrics.jsonl is emptied", "metrics.jsonl", empty),
                    ("whose metrics.jsonl is changed", "metrics.jsonl", lambda path: os.pwrite_at(path)),
                    ("whose metrics.jsonl gets longer", "metrics.jsonl", append),
                    ("whose checkpoints are replaced by a file", "checkpoints", empty)):
                case(f"a {first.__name__} {when} {name}",
                     lambda run, chance: disturbed(run, first, at, file, change))
