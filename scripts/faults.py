"""Faults, with real processes and real disks: whatever happens to a run, it ends with the same bytes or says why not.

    cargo build --release
    python3 scripts/faults.py target/release/lease [--kills 100] [--seed 0] [--only TEXT]

Searches, trainings, whole runs and comparisons are killed at random moments and gone on with as a person would, by what
the program says. Disks get full or read-only, folders go away, files are damaged, two processes want the same run,
signals come, the clock runs backwards. A case fails on other results than those of an undisturbed run, on a panic, on a
hang, on an unfinished file left behind, and on an error that is not told in one clear line. The folder of a failed case
is kept. Cases with file systems of their own need root.
"""
import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

HANG = 120
HELD = os.WSTOPPED | os.WEXITED | os.WNOWAIT
DATA = ["--dataset", "digits", "--limit", "200", "--threads", "1", "--checkpoint-seconds", "0"]
TINY = "--channels 2 --nodes 1 --batch 20 --audience-width 0.1 --seed 3 --epochs 3".split()
TRAIN = "--train-channels 2 --train-cells 3 --train-batch 20 --train-drop-path 0.2".split()
METHODS = ["darts-first", "random", "brief:method=random-search,random-draws=2,random-epochs=1"]
BUSY, FULL, READ_ONLY = "another process is at work", "No space left on device", "Read-only file system"
LEASE, WORK, ONLY, SEED = "", Path(), "", "0"
COUNTS = {"ok": 0, "FAILED": 0}
WHOLE, STARTED = {}, []


class Failed(Exception):
    """What is not as it should be."""


class TooSoon(Exception):
    """A process that ended before it was disturbed."""


def need(condition, what):
    if not condition:
        raise Failed(what)


# What is run: the commands that start a run in a folder, and those that go on with it.

def search(run, *more):
    return ["search", *DATA, *TINY, "--out", run, *more]


def search_seldom_saved(run):
    """With a checkpoint every ten steps."""
    return ["search", *DATA[:-1], "1000", *(word.replace("20", "10") for word in TINY), "--out", run]


def train(run, *more):
    return ["train", "random:5", *DATA, *TRAIN, "--train-epochs", "3", "--out", run, *more]


def whole_run(run):
    return ["run", *DATA, *TINY, *TRAIN, "--train-epochs", "1", "--out", run]


def compare(run):
    return ["compare", *METHODS, "--seeds", "1", *DATA, *TINY, *TRAIN, "--train-epochs", "1", "--out", run]


def compare_at_a_time(run):
    """Two cells."""
    return [*compare(run), "--jobs", "2"]


def again(run, first):
    """The command that goes on: the same, or the one with --resume."""
    if first in (train, compare, compare_at_a_time):
        return first(run)
    return ["run" if first is whole_run else "search", "--resume", run]


LAST = {search: 15, train: 30}


# Processes.

def start(command, under=(), **more):
    defaults = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*under, LEASE, *map(str, command)], **(defaults | more))
    STARTED.append(process)
    return process


def end(process):
    """The exit status of a process and what it told, which is never a panic, and comes in time."""
    try:
        _, told = process.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed(f"hangs: {process.args}") from None
    told = (told or b"").decode()
    need("panicked" not in told, told)
    need(process.returncode in (0, 1, -signal.SIGKILL, 129, 130, 143), f"status {process.returncode}: {told}")
    return process.returncode, told


def ended_by_a_kill(process):
    process.kill()
    process.wait()


def done(process):
    status, told = end(process)
    need(status == 0, f"status {status}: {told}")
    return told


def one_error(ended, *words):
    status, told = ended
    need(status == 1, f"status {status} where it should refuse: {told}")
    need(sum(line.startswith("error: ") for line in told.splitlines()) == 1, f"not one error: {told}")
    need(any(word in told for word in words), f"it does not say {' or '.join(words)}: {told}")


def started_until(command, condition, **more):
    """A process at the moment at which something holds."""
    process = start(command, **more)
    wait(process, condition)
    return process


def wait(process, condition):
    begun = time.monotonic()
    while not condition():
        if process.poll() is not None:
            raise TooSoon(f"it ended too soon to be disturbed: {end(process)}")
        need(time.monotonic() < begun + HANG, "hangs")


@contextmanager
def held(process):
    """While this lasts, the process does nothing."""
    process.send_signal(signal.SIGSTOP)
    if process.returncode is not None or os.waitid(os.P_PID, process.pid, HELD).si_code == os.CLD_EXITED:
        raise TooSoon(f"it ended too soon to be disturbed: {end(process)}")
    yield
    process.send_signal(signal.SIGCONT)


# Run folders.

def step(run):
    """Of the newest checkpoint; -1 without one."""
    return max((int(path.stem[5:]) for path in (run / "checkpoints").glob("step-*.safetensors")), default=-1)


def lines(run):
    log = run / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def unfinished(run):
    return {str(path) for path in run.rglob(".partial-*")}


def contents(run):
    return {str(path.relative_to(run)): path.is_file() and path.read_bytes() for path in run.rglob("*")}


def results(run):
    """All that must not depend on interruptions: all but checkpoints, and the time that something took."""
    found = {}
    for name, file in contents(run).items():
        if file is not False and "checkpoints" not in name and not name.endswith(("timing.jsonl", "report.html")):
            seconds = b"" if name.startswith("comparison.") else rb'(seconds|latency_ms)": [-0-9.e]+'
            found[name] = re.sub(seconds, b"", file) if seconds else b""
    return found


def undisturbed(first, *more):
    """The results of a run that nothing happens to, and how long it took."""
    if (first, more) not in WHOLE:
        run, begun = WORK / f"undisturbed-{len(WHOLE)}", time.monotonic()
        done(start(first(run, *more)))
        WHOLE[first, more] = results(run), time.monotonic() - begun
    return WHOLE[first, more]


def same(run, first, *more):
    there, here = undisturbed(first, *more)[0], results(run)
    differing = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    need(not differing, f"missing or other than undisturbed: {', '.join(differing)}")
    need(not unfinished(run), f"unfinished files are left: {unfinished(run)}")


def go_on(run, first, disturb=lambda process: None, from_the_start=False):
    """Goes on with a run until it is done, as a person would; how often it was killed on the way, what it told last."""
    the_first, the_next = first(run), again(run, first)
    command, kills, refusals = the_first if from_the_start else the_next, 0, 0
    while True:
        process = start(command)
        disturb(process)
        status, told = end(process)
        if status == 0:
            return kills, told
        if status == -signal.SIGKILL:
            kills, refusals, command = kills + 1, 0, the_next
            continue
        refusals += 1
        need(status == 1 and refusals < 3, f"neither starts nor goes on, status {status}: {told}")
        if command is the_next and ("nothing was written yet" in told or "No such file" in told):
            command = the_first
        else:
            need(command is the_first and "--resume" in told, f"cannot be gone on with, status {status}: {told}")
            command = the_next


# Kills.

def is_killed(run, first):
    """At random moments: of all, of the first writes of a new folder, and while a file is written."""
    whole, left = undisturbed(first)[1], random.randint(1, 4)

    def disturb(process):
        nonlocal left
        left -= 1
        moment = random.choice(("any", "first writes", "in a file"))
        if left < 0:
            return
        if moment == "first writes" and not run.exists():
            while process.poll() is None and not run.exists():
                pass
            time.sleep(random.uniform(0, 0.03))
        elif moment == "in a file":
            seen, files = set(), random.randint(1, 25)
            while process.poll() is None and len(seen) < files:
                seen |= unfinished(run)
        else:
            time.sleep(random.uniform(0, whole))
        process.kill()

    kills, _ = go_on(run, first, disturb, from_the_start=True)
    same(run, first)
    return kills


def removes_unfinished_files(run, first, begun, *folders):
    """Those that a kill can leave in these folders."""
    if begun:
        ended_by_a_kill(started_until(first(run), lambda: begun(run)))
    for folder in folders:
        (run / folder).mkdir(parents=True, exist_ok=True)
        (run / folder / ".partial-1-file").write_bytes(b"{")
    go_on(run, first)
    same(run, first)


def is_started_otherwise(run, first, *more):
    """And is then the run with these settings, also when it is asked for again."""
    ended_by_a_kill(started_until(first(run), lambda: (run / "config.toml").exists()))
    shutil.rmtree(run / "checkpoints")
    for _ in range(2):
        done(start(first(run, *more)))
    same(run, first, *more)


def kill_cases(wanted):
    tenth = -(-wanted // 10)
    for first, kills in ((search, wanted), (train, wanted), (whole_run, tenth), (compare, tenth),
                         (compare_at_a_time, tenth)):
        killed, lives = 0, 0
        while killed < kills and lives < 5 * kills:
            lives += 1
            killed += case(f"{first.__name__} {lives} is killed and gone on with", is_killed, first) or 0
        print(f"       {first.__name__}: {killed} kills", flush=True)
    later, in_cell = lambda run: step(run) > 3, lambda cell: lambda run: step(run / cell) > 3
    for first, begun, *folders in (
            (search, None, ".", "checkpoints"), (search, later, ".", "checkpoints"), (train, None, ".", "checkpoints"),
            (train, later, ".", "checkpoints"), (whole_run, in_cell("train"), "train", "train/checkpoints"),
            (compare, in_cell("random/seed0/train"), "random/seed0"), (compare, in_cell("brief/seed0/draw-1"), "."),
            (compare, in_cell("brief/seed0/draw-1"), "brief/seed0")):
        what = f"{'later' if begun else 'at once'}: unfinished files in {' and '.join(folders)} are removed"
        case(f"{first.__name__}, {what}", removes_unfinished_files, first, begun, *folders)
    case("train killed before its first checkpoint is started with other settings", is_started_otherwise, train,
         "--train-weight-decay", "0.1")


# Files that are damaged or gone, of a run that is stopped and of one that is at work.

def flip(path, at=20):
    """One bit, in this byte from the start or, if negative, the end."""
    whole = bytearray(path.read_bytes())
    whole[at] ^= 4
    path.write_bytes(whole)


def append(path):
    with path.open("ab") as file:
        file.write(b'{"kind":"step"}\n' * 200)


def replace(folder):
    shutil.rmtree(folder)
    folder.write_bytes(b"")


DAMAGE = {"removed": Path.unlink, "emptied": lambda path: os.truncate(path, 0), "changed": flip,
          "cut": lambda path: os.truncate(path, path.stat().st_size // 2), "appended to": append,
          "replaced by a file": replace}


def newest(damage):
    return lambda folder: damage(max(folder.glob("step-*")))


def both(damage):
    return lambda folder: [damage(path) for path in folder.iterdir()]


def stopped(run, first):
    """A run that was killed in its second epoch."""
    template = WORK / f"stopped-{first.__name__}"
    if not template.exists():
        ended_by_a_kill(started_until(first(template), lambda: step(template) > LAST[first] // 2))
    shutil.copytree(template, run)


def damaged_when_stopped(run, first, file, damage, goes_on, *words):
    """It says so, and goes on or leaves all as it is."""
    stopped(run, first)
    damage(run / file)
    before, ended = contents(run), end(start(again(run, first)))
    if goes_on:
        need(ended[0] == 0 and words[0] in ended[1], f"status {ended[0]}, it does not say {words[0]}: {ended[1]}")
        return same(run, first)
    after = contents(run)
    one_error(ended, *words)
    touched = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    return need(not touched, f"refused, but changed or made {touched}")


def damage_cases():
    goes_on, refuses, log, save = True, False, "metrics.jsonl", "checkpoints"
    table = [(log, "appended to", append, goes_on, "Resuming")]
    table += [(log, what, DAMAGE[what], refuses, f"{log} was") for what in ("removed", "emptied", "cut", "changed")]
    flips = {f"changed at {at}": lambda path, at=at: flip(path, at) for at in (0, 3, 7, 8, 30, 900, -5000, -1)}
    for what, damage in {"cut": DAMAGE["cut"], "emptied": DAMAGE["emptied"], **flips}.items():
        table += [(save, f"newest {what}", newest(damage), goes_on, "Using the checkpoint before")]
    for what in ("cut", "emptied", "changed"):
        table += [(save, f"both {what}", both(DAMAGE[what]), refuses, "no checkpoint in")]
    table += [(save, "both removed", both(Path.unlink), refuses, "its checkpoints are gone"),
              (save, "replaced by a file", replace, refuses, save)]
    table += [("run.json", what, DAMAGE[what], goes_on, "Resuming") for what in ("removed", "emptied", "cut")]
    settings = [("timing.jsonl", "removed", Path.unlink, refuses, "timing.jsonl was changed"),
                ("config.toml", "removed", Path.unlink, refuses, "no config.toml"),
                ("config.toml", "emptied", DAMAGE["emptied"], refuses, "of another run"),
                ("config.toml", "cut", DAMAGE["cut"], refuses, "config.toml", "of another run")]
    for first, cases in ((search, table + settings), (train, table)):
        for file, what, *more in cases:
            case(f"{first.__name__}, stopped, {file} {what}", damaged_when_stopped, first, file, *more)


def changed_at_work(run, first, at, file, change):
    """Something changes at a step. When the process has noticed, all is put back as it was then, and it goes on."""
    process, before = started_until(first(run), lambda: step(run) >= at), run.with_name(run.name + "-before")
    with held(process):
        if list(run.glob("weights*")):
            raise TooSoon("it is past its last look at the log")
        shutil.copytree(run, before)
        change(run / file)
    status, told = end(process)
    if status != 0:
        one_error((status, told), str(run))
        need(change is not shutil.rmtree or not run.exists(), "the folder was made anew")
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(before, run)
        go_on(run, first)
    shutil.rmtree(before)
    same(run, first)


def change_cases():
    changes = [(".", "removed", shutil.rmtree), ("checkpoints", "replaced by a file", replace)]
    changes += [("metrics.jsonl", what, DAMAGE[what]) for what in ("removed", "emptied", "changed", "appended to")]
    for first, last in LAST.items():
        # Both have lines by then: a training writes one an epoch.
        for at in (12, last):
            for file, what, change in changes:
                case(f"{first.__name__}, at step {at} {file} is {what}", changed_at_work, first, at, file, change)


# Disks that are full, read-only or broken.

@contextmanager
def mounted(folder, *arguments):
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *map(str, arguments), folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def small_disk(folder):
    return mounted(folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs")


@contextmanager
def read_only(folder):
    with mounted(folder, "--bind", folder):
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield


def fill(filler, leave=0):
    """Takes all space but so many KiB."""
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(max(0, filler.stat().st_size - 1024 * leave))


def goes_on_after(run, first, ended, *words):
    """After one clear error, from the newest checkpoint. Only what cannot be removed may be left unfinished."""
    one_error(ended, *words)
    need(READ_ONLY in words or not unfinished(run), f"unfinished files are left: {unfinished(run)}")
    reached = step(run)
    _, told = go_on(run, first)
    need(reached < 0 or first not in LAST or f"after step {reached}." in told, f"not from step {reached}: {told}")
    same(run, first)


def on_a_full_disk(folder, first, leave, begun, *words):
    """With so many KiB to go once it has begun, or when it starts."""
    run, filler = folder / "run", folder / "filler"
    with small_disk(folder):
        if begun:
            process = started_until(first(run), lambda: begun(run))
            with held(process):
                fill(filler, leave)
        else:
            fill(filler, leave)
            process = start(first(run))
        ended = end(process)
        filler.unlink()
        if ended[0] == 0 and leave:
            return same(run, first)
        need(all(word in ended[1] for word in words), f"it does not say {words}: {ended[1]}")
        return goes_on_after(run, first, ended, FULL)


def gets_read_only(run, first, at, folder="."):
    """Before the start, or at a step."""
    with ExitStack() as mounts:
        if at is None:
            mounts.enter_context(read_only(run))
            ended = end(start(first(run)))
        else:
            process = started_until(first(run), lambda: step(run) >= at)
            with held(process):
                mounts.enter_context(read_only(run / folder))
            ended = end(process)
            if ended[0] == 0:  # all was written just before
                return same(run, first)
            one_error(end(start(again(run, first))), READ_ONLY)
    goes_on_after(run, first, ended, READ_ONLY)


def on_a_broken_disk(folder, first, at):
    """An error of the file system makes it read-only. It is checked, and the run goes on."""
    image, run = folder.with_suffix(".ext4"), folder / "run"
    image.touch()
    os.truncate(image, 16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-e", "remount-ro", image], check=True)
    with mounted(folder, "-o", "loop", image):
        process = started_until(first(run), lambda: step(run) >= at)
        device = os.stat(folder).st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("broken")
        ended = end(process)
    subprocess.run(["e2fsck", "-fy", image], capture_output=True)
    with mounted(folder, "-o", "loop", image):
        goes_on_after(run, first, ended, READ_ONLY, "Input/output error", "Structure needs cleaning")
    image.unlink()


def disk_cases():
    for first, last in LAST.items():
        name = first.__name__
        for leave in sorted({0, 4, 8, 12, 16, *random.Random(SEED).sample(range(20, 400, 4), 15)}):
            case(f"{name} starts on a disk with {leave} KiB", on_a_full_disk, first, leave, None)
        for at in (4, last - 1):
            case(f"{name}, disk full from step {at}", on_a_full_disk, first, 0, lambda run: step(run) >= at)
        for at, folder in ((None, "."), (4, "."), (4, "checkpoints"), (last, ".")):
            case(f"{name}, {folder} read-only from step {at or 0}", gets_read_only, first, at, folder)
        if shutil.which("mkfs.ext4"):
            case(f"{name}, disk broken from step 4", on_a_broken_disk, first, 4)
    case("train, disk full before the result", on_a_full_disk, train, 0, lambda run: step(run) == 30, "weights")
    logging = lambda run: lines(run) > 1
    case("search, disk full under the log", on_a_full_disk, search_seldom_saved, 0, logging, "metrics.jsonl")
    for first, cell in ((whole_run, "train"), (compare, "random/seed0/train"), (compare, "brief/seed0/draw-1")):
        case(f"{first.__name__}, disk full in {cell}", on_a_full_disk, first, 0, lambda run: step(run / cell) > 2, cell)


# Readers that are gone, two processes, signals, clocks.

def is_read_by_nobody(run, first, stream, full):
    """What is told may get lost. That a result does is in the exit status."""
    with open("/dev/full", "wb") as nowhere:
        process = start(first(run), **({stream: nowhere} if full else {}))
    if not full:
        process.stderr = process.stderr.close()
    ended = end(process)
    if stream == "stdout":
        one_error(ended, "cannot write to standard output")
    else:
        need(ended[0] == 0, f"status {ended[0]}")
    same(run, first)


def two_go_on_at_once(run, first):
    stopped(run, first)
    ended = sorted(end(process) for process in [start(again(run, first)) for _ in range(2)])
    need(ended[0][0] == 0, f"neither goes on: {ended}")
    one_error(ended[1], BUSY)
    same(run, first)


def others_come_later(run, first):
    """Again and again, while one is at work."""
    stopped(run, first)
    before = step(run)
    process = started_until(again(run, first), lambda: step(run) > before)
    while process.poll() is None:
        ended = end(start(again(run, first)))
        if ended[0] == 0:
            # It came after the end.
            process.wait(timeout=5)
        else:
            one_error(ended, BUSY)
    done(process)
    same(run, first)


def two_start_at_once(run, first, *more):
    """With other settings or the same: the settings of the one that goes on are kept."""
    two = [((), start(first(run))), (more, start(first(run, *more)))]
    while all(process.poll() is None for _, process in two):
        need(step(run) < 10, "both go on")
    (_, loser), (settings, winner) = sorted(two, key=lambda one: one[1].poll() is None)
    one_error(end(loser), BUSY, "already", "is of another run")
    wait(winner, lambda: step(run) >= 3)
    ended_by_a_kill(winner)
    done(start(again(run, first) if first is search else first(run, *settings)))
    same(run, first, *settings)


def two_compare_at_once(run):
    """Each leaves the other's cells to it, and the last one makes the tables."""
    ended = [end(process) for process in [start(compare(run)) for _ in range(2)]]
    need(any(status == 0 for status, _ in ended), f"neither has all: {ended}")
    for status, told in ended:
        need(status == 0 or BUSY in told, told)
    same(run, compare)


def two_choose_their_folders(folder):
    """At once, without --out."""
    folder.mkdir()
    commands = [[word for word in search("", *more) if word not in ("--out", "")] for more in ((), ("--gamma", "2"))]
    for process in [start(command, cwd=folder) for command in commands]:
        done(process)
    need(len(list((folder / "runs").iterdir())) == 2, "they share a folder")


def a_signal_stops(run, number, first, times):
    begun = lambda: lines(run) > 2 if first is search_seldom_saved else step(run) > 2
    process = started_until(first(run), begun)
    for _ in range(times):
        process.send_signal(number)
    status, told = end(process)
    need(status == 128 + number, f"status {status}: {told}")
    if times == 1:
        need("oes on" in told or "Go on with: lease search --resume" in told, told)
        need(step(run) == lines(run) or first is train, f"no checkpoint of the last step: {step(run)}, {lines(run)}")
    go_on(run, first)
    same(run, first)


def the_second_signal_stops_at_once(run, number):
    """In steps that take seconds."""
    log = run.with_suffix(".log")
    slow = ["search", "--limit", "400", "--batch", "100", "--threads", "1", "--out", run]
    with log.open("wb") as stderr:
        process = started_until(slow, lambda: step(run) == 0, stderr=stderr)
        process.send_signal(number)
        wait(process, lambda: "Stopping" in log.read_text())
        process.send_signal(number)
        signalled = time.monotonic()
        status, _ = end(process)
    need(status == 128 + number and time.monotonic() < signalled + 1, f"status {status}: {log.read_text()}")
    log.unlink()


def an_ignored_signal_stays_ignored(run):
    process = started_until(search(run), lambda: step(run) >= 2, under=["nohup"])
    process.send_signal(signal.SIGHUP)
    wait(process, lambda: step(run) >= 6)
    process.send_signal(signal.SIGTERM)
    status, told = end(process)
    need(status == 143, f"status {status}: {told}")
    go_on(run, search)
    same(run, search)


BACKWARDS = """
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static long calls;
    int answer = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec -= 7200L * ++calls;
    return answer;
}
"""


def the_clock_runs_backwards(run, first):
    """By two hours whenever it is read."""
    library = WORK / "backwards.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=BACKWARDS.encode(), check=True)
    backwards = {"env": os.environ | {"LD_PRELOAD": str(library)}}
    told = [*first(run), "--log-format", "json"], [*again(run, first), "--log-format", "json"]
    process = started_until(told[0], lambda: step(run) > LAST[first] // 2, **backwards)
    process.kill()
    times = re.findall(r'"time":([0-9.]+)', end(process)[1] + done(start(told[1], **backwards)))
    need(any(float(b) < float(a) - 3600 for a, b in zip(times, times[1:])), "the clock does not run backwards")
    same(run, first)


def process_cases():
    for first, other in ((search, ("--gamma", "2")), (train, ("--train-weight-decay", "0.1"))):
        name = first.__name__
        for stream, full in (("stderr", True), ("stdout", True), ("stderr", False)):
            case(f"{name} with {stream} {'full' if full else 'closed'}", is_read_by_nobody, first, stream, full)
        for number in range(1, 4):
            case(f"two go on with a {name} at once, {number}", two_go_on_at_once, first)
            case(f"others come while a {name} goes on, {number}", others_come_later, first)
            case(f"two {name} start at once, {number}", two_start_at_once, first)
            case(f"two {name} with other settings start at once, {number}", two_start_at_once, first, *other)
        if shutil.which("cc"):
            case(f"{name} while the clock runs backwards", the_clock_runs_backwards, first)
    case("two searches choose their folders at once", two_choose_their_folders)
    for number in range(1, 4):
        case(f"two compare at once, {number}", two_compare_at_once)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        for first, times in ((search_seldom_saved, 1), (search_seldom_saved, 2), (train, 1)):
            case(f"{times} times {number.name} stops {first.__name__}", a_signal_stops, number, first, times)
        case(f"{number.name} again stops at once", the_second_signal_stops_at_once, number)
    case("SIGHUP under nohup stays ignored", an_ignored_signal_stays_ignored)


# All cases.

def case(name, act, *arguments):
    """Does one, and says how it went. What is random in it depends on its name and the seed alone."""
    if ONLY not in name:
        return None
    run, answer, failure, kind = WORK / f"case-{sum(COUNTS.values())}", None, "", "ok"
    for last in (*[False] * 9, True):
        random.seed(f"{SEED} {name}")
        try:
            answer = act(run, *arguments)
        except (Failed, TooSoon, OSError, subprocess.SubprocessError) as error:
            if isinstance(error, TooSoon) and not last:
                shutil.rmtree(run, ignore_errors=True)
                continue
            kind, failure = "FAILED", f": {str(error).strip()}\n       kept: {run}"
        else:
            shutil.rmtree(run, ignore_errors=True)
        finally:
            while STARTED:
                ended_by_a_kill(STARTED.pop())
        break
    COUNTS[kind] += 1
    print(f"{kind:6} {name}{failure}", flush=True)
    return answer


def may_mount():
    try:
        with small_disk(WORK / "mounted"):
            return True
    except (OSError, subprocess.SubprocessError):
        return False


def main(a):
    global LEASE, WORK, ONLY, SEED
    LEASE, ONLY, SEED = str(a.lease.resolve()), a.only, str(a.seed)
    WORK = Path(tempfile.mkdtemp(prefix="lease-faults-"))
    kill_cases(a.kills)
    damage_cases()
    change_cases()
    process_cases()
    if may_mount():
        disk_cases()
    else:
        print("left out: disks that are full, read-only or broken, since this user may not mount any")
    print(f"{COUNTS['ok']} ok, {COUNTS['FAILED']} failed")
    if not COUNTS["FAILED"]:
        shutil.rmtree(WORK)
    return 1 if COUNTS["FAILED"] else 0


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("lease", type=Path, help="the program")
    p.add_argument("--kills", type=int, default=100, help="of searches, and as many of trainings [100]")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--only", default="", metavar="TEXT", help="the cases whose names have this in them")
    sys.exit(main(p.parse_args()))
