"""Kill a campaign at random moments, resume it, and compare with one that nobody touched.

    python -m experiments.studies.kill_test            # 15 kills, stand-in calculator
    python -m experiments.studies.kill_test --real --between-verdicts     # 5 kills, real potentials

Passes when the resumed run has the same ids, formulas, order, statuses and values within 1e-4, and when every
verdict that was on disk at a kill is still there, unchanged, at the end.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from inverse.campaign.run_folder import RunFolder
from surrogates.errors import RunFolderError

ROOT = Path(__file__).parents[2]
CONFIG = """
name: kill-test
targets:
  bulk_modulus_vrh: {min: 300}
  shear_modulus_vrh: {min: 150}
constraints:
  elements: {only: [W, Mo, Ti, C, N]}
  n_elements: [2, 2]
  n_atoms: {max: 4}
search: {method: METHOD}
verify: {potential: "POTENTIAL", reuse: false}
budget: {verifications: BUDGET}
seed: 11
"""


def command(config: Path, folder: Path) -> list[str]:
    call = "import sys; from inverse.commands.cli import main; sys.exit(main())"
    return [sys.executable, "-c", call, "run", str(config), "--output", str(folder), "--resume"]


def start(config: Path, folder: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    log = open(folder.parent / "log.txt", "ab")  # noqa: SIM115 - the child keeps it
    return subprocess.Popen(command(config, folder), cwd=ROOT, env=environment, stdout=log, stderr=log)


def summary(folder: Path) -> list[tuple[object, ...]]:
    with RunFolder.read(folder) as stored:
        return [
            (
                c.id,
                c.structure.composition.reduced_formula,
                str(c.status),
                c.duplicate_of,
                {} if c.verification is None else {k: v.mean for k, v in c.verification.values.items()},
            )
            for c in stored.candidates()
        ]


def verdicts(folder: Path) -> dict[str, dict[str, float]]:
    try:
        with RunFolder.read(folder) as stored:
            return {k: {n: x.mean for n, x in v.values.items()} for k, v in stored.verifications().items()}
    except RunFolderError:
        return {}


def differences(one: list[tuple[object, ...]], other: list[tuple[object, ...]]) -> list[str]:
    found = [] if len(one) == len(other) else [f"{len(one)} against {len(other)} candidates"]
    for a, b in zip(one, other, strict=False):
        if a[:4] != b[:4] or not close(a[4], b[4]):
            found.append(f"{a} against {b}")
    return found


def close(a: dict[str, float], b: dict[str, float]) -> bool:
    return a.keys() == b.keys() and all(abs(a[k] - b[k]) <= 1e-4 * max(1.0, abs(a[k])) for k in a)


def await_verdict(child: "subprocess.Popen[bytes]", folder: Path, wanted: int) -> None:
    """Return when that many verdicts are on disk, or when the run has ended."""
    while child.poll() is None and len(verdicts(folder)) < wanted:
        time.sleep(0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--budget", type=int)
    parser.add_argument("--method", default="hybrid")
    parser.add_argument(
        "--between-verdicts", action="store_true", help="kill only after one or two more verdicts"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / ".work" / "campaign" / "kill")
    options = parser.parse_args()
    kills = options.kills or (5 if options.real else 15)
    potential = "auto" if options.real else "experiments.studies.stand_in:calculator"
    base = options.folder / ("real" if options.real else "stand_in")
    base.mkdir(parents=True, exist_ok=True)
    config = base / "config.yaml"
    budget = options.budget or (6 if options.real else 18)
    text = CONFIG.replace("POTENTIAL", potential).replace("BUDGET", str(budget))
    config.write_text(text.replace("METHOD", options.method))
    whole = base / "whole"
    began = time.time()
    start(config, whole).wait()
    duration = time.time() - began
    expected = summary(whole)
    sys.stdout.write(
        f"undisturbed: {len(expected)} candidates, {len(verdicts(whole))} verdicts, {duration:.0f} s\n"
    )
    rng = np.random.default_rng(5)
    bad = 0
    done = 0
    run = 0
    while done < kills:
        folder = base / f"killed-{run}"
        run += 1
        seen: dict[str, dict[str, float]] = {}
        # up to five kills a run, then it is left to end
        for _ in range(min(5, kills - done)):
            child = start(config, folder)
            wait = float(rng.uniform(0.05, 0.7)) * duration
            if options.between_verdicts:
                wait = float(rng.uniform(0.0, 15.0))
                await_verdict(child, folder, len(seen) + int(rng.integers(1, 3)))
            limit = time.time() + wait
            while child.poll() is None and time.time() < limit:
                time.sleep(0.05)
            if child.poll() is not None:
                break
            child.send_signal(signal.SIGKILL)
            child.wait()
            done += 1
            now = verdicts(folder)
            lost = [k for k in seen if k not in now or not close(seen[k], now[k])]
            bad += bool(lost)
            seen = now
            sys.stdout.write(f"kill {done} after {wait:.0f} s: {len(now)} verdicts on disk, lost {lost}\n")
            sys.stdout.flush()
        start(config, folder).wait()
        end = verdicts(folder)
        lost = [k for k in seen if k not in end or not close(seen[k], end[k])]
        different = differences(expected, summary(folder))
        bad += bool(lost) + bool(different)
        sys.stdout.write(f"run {run}: {'same' if not different else different[:3]}, lost {lost}\n")
        sys.stdout.flush()
    sys.stdout.write(json.dumps({"kills": done, "bad": bad, "real": options.real}) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
