"""Much data: each stage from a Parquet file to batches, from 10⁴ comparisons to 10⁶; kills; the reference; TRL.

    python benchmarks/data_scale.py [--quick] [--sizes 1e4,1e5,1e6] [--json FILE] [--picture FILE]

The file has prompts of about 60 tokens of the bundled model, responses of about 35, and users drawn from 100,000. Every
size is a process of its own: reading with validation, split, tokenising, bucketing, then a thousand batches fetched.
Memory is the peak of each stage above what the process held with the model loaded: all of it, and without mapped files,
which the system takes back when it needs the room. A preparation is then killed (SIGKILL) twice, while it reads and
while it tokenises, and finished; its result has to be that of one that was never stopped. The reference pass runs over
two counts of comparisons, whose difference gives the bytes that a comparison takes. The alternative is what TRL's
DPOTrainer does with the same rows before its first step (`datasets`, tokenised row by row), against ours from the file
to tokens, in turns. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import data_file
import data_stages
from figures import add_options, machine, save_picture, write

USERS = 100_000


class Bench:
    """The options, the files, and processes that do the work."""

    def __init__(self, args: argparse.Namespace, scratch: Path):
        self.args = args
        self.scratch = scratch

    def file(self, rows: int) -> Path:
        """The Parquet file of so many rows; made once."""
        path = self.scratch / f"{rows}.parquet"
        return path if path.exists() else data_file.write(path, rows, USERS)

    def cache(self, name: str) -> Path:
        """An empty folder."""
        path = self.scratch / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def work(self, what: str, rows: int, cache: Path, of: int | None = None) -> dict[str, Any]:
        """What `data_stages` is told."""
        path, args = str(self.file(of or rows)), self.args
        return {
            "what": what,
            "path": path,
            "rows": rows,
            "cache": str(cache),
            "threads": args.threads,
            "part": args.part,
        }

    def start(self, work: dict[str, Any]) -> BaseProcess:
        """A process for it, that is there to be killed; with `--quick` one that has everything imported already."""
        context = multiprocessing.get_context("fork" if self.args.quick else "spawn")
        process = context.Process(target=data_stages.run, args=(work,), daemon=True)
        process.start()
        return process

    def run(self, work: dict[str, Any]) -> dict[str, Any]:
        """Its result; with `--quick` in this process, since one of its own takes longer than the work."""
        if self.args.quick:
            return data_stages.run(work)
        environment = os.environ | {"OMP_NUM_THREADS": str(self.args.threads), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, data_stages.__file__, json.dumps(work)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{work['what']} failed:\n{done.stderr[-4000:]}")
        return json.loads(done.stdout.splitlines()[-1].removeprefix("result "))


def show(title: str, stages: list[dict[str, Any]]) -> None:
    """A table of stages."""
    print(f"\n{title}\n{'':24s} {'rows':>9s} {'seconds':>8s} {'rows/s':>8s} {'peak MB':>8s} {'less files':>10s}")
    for s in stages:
        figures = (
            f"{s['rows']:9,d} {s['seconds']:8.1f} {s['per_second']:8,.0f} {s['rss_mb']:8.0f} {s['anonymous_mb']:10.0f}"
        )
        print(f"{s['stage']:24s} {figures}", flush=True)


def curve(bench: Bench) -> list[dict[str, Any]]:
    """All stages at every size."""
    rows = []
    for size in bench.args.sizes:
        found = bench.run(bench.work("prepare", size, bench.cache("curve")))
        show(f"{size:,} comparisons", found["stages"])
        rows.append({"comparisons": size, **found})
    return rows


def killed(bench: Bench) -> dict[str, Any]:
    """Killed while it reads and while it tokenises, then finished; and one that was never stopped."""
    rows, cache = bench.args.killed, bench.cache("killed")
    whole = bench.run(bench.work("prepare", rows, bench.cache("whole")))
    for pattern in ("tokens-*/*.npy",) if bench.args.quick else ("feedback-*/*.json", "tokens-*/*.npy"):
        process = bench.start(bench.work("prepare", rows, cache))
        while not list(cache.glob(pattern)) and process.is_alive():
            time.sleep(0.01)
        process.kill()
        process.join()
    kept = {name: len(list(cache.glob(f"{name}-*/*.npy"))) for name in ("feedback", "tokens")}
    again = bench.run(bench.work("prepare", rows, cache))
    show(f"{rows:,} comparisons, killed and finished, with {kept} parts kept", again["stages"])
    same = again["same"] == whole["same"]
    print(f"the same fingerprint, sides and token ids as without a kill: {same}", flush=True)
    return {"comparisons": rows, "kept": kept, "same": same, "stages": again["stages"], "whole": whole["stages"]}


def reference(bench: Bench) -> dict[str, Any]:
    """Speed and memory of the reference pass."""
    few, many = bench.args.reference
    found = {}
    for rows in (few, many):
        found[rows] = bench.run(bench.work("reference", rows, bench.cache("reference"), of=many))
        show(f"reference of {rows:,} comparisons", found[rows]["stages"])
    peaks = {kind: [found[rows]["stages"][0][kind] for rows in (few, many)] for kind in ("rss_mb", "anonymous_mb")}
    slopes = {kind: 1e6 * (large - small) / (many - few) for kind, (small, large) in peaks.items()}
    said = f"{slopes['anonymous_mb']:.0f} bytes a comparison ({slopes['rss_mb']:.0f} with mapped files)"
    print(f"the slope of its memory: {said}; the cache gives the same: {found[many]['same']}")
    return {"rows": [few, many], "slope_bytes": slopes, "stages": found[many]["stages"], "same": found[many]["same"]}


def against_trl(bench: Bench) -> dict[str, Any]:
    """From the file to tokens, ours and TRL's, in turns."""
    rows, ours, theirs = bench.args.trl, [], []
    for turn in range(bench.args.rounds):
        cache = bench.cache(f"turn-{turn}")
        stages = bench.run(bench.work("prepare", rows, cache))["stages"][:3]
        ours.append({"seconds": sum(s["seconds"] for s in stages), "rss_mb": max(s["rss_mb"] for s in stages)})
        theirs.append(bench.run(bench.work("trl", rows, bench.cache(f"trl-{turn}")))["stages"][0])
    ratios = [t["seconds"] / o["seconds"] for o, t in zip(ours, theirs, strict=True)]
    middle = statistics.median(ratios)
    print(f"\n{rows:,} rows from the file to tokens, {len(ratios)} turns: ours (with validation and split) ", end="")
    print(f"{rows / statistics.median(o['seconds'] for o in ours):,.0f} rows/s, TRL's ", end="")
    print(f"{rows / statistics.median(t['seconds'] for t in theirs):,.0f} rows/s; ", end="")
    print(f"ours is {middle:.2f} [{min(ratios):.2f}, {max(ratios):.2f}] times as fast", flush=True)
    return {"rows": rows, "ratio": [middle, min(ratios), max(ratios)], "ours": ours, "trl": theirs}


def lines(part: str, found: Any) -> list[dict[str, Any]]:
    """What a part found, as lines of tables."""
    if part == "trl":
        ratio = {"ours, from the file to tokens ÷ TRL's": found["ratio"]}
        return [{"table": "against TRL's DPOTrainer", "rows": found["rows"], **ratio}]
    made = [found] if part != "curve" else found
    table = [
        {
            "table": part, "stage": s["stage"], "rows": s["rows"], "seconds": s["seconds"], "rows/s": s["per_second"],
            "peak MB": s["rss_mb"], "without mapped files": s["anonymous_mb"],
        }
        for one in made
        for s in one["stages"]
    ]  # fmt: skip
    if part == "killed":
        table += [{"table": "killed", "stage": "the same as without a kill", "rows": found["same"]}]
    if part == "reference":
        slope = {
            "peak MB": found["slope_bytes"]["rss_mb"],
            "without mapped files": found["slope_bytes"]["anonymous_mb"],
        }
        table += [{"table": "reference", "stage": "slope, bytes a comparison", **slope}]
    return table


def picture(path: Path, rows: list[dict[str, Any]]) -> None:
    """Peak memory of a preparation by its size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    sizes = [row["comparisons"] for row in rows]
    for kind, name in (("rss_mb", "with mapped files"), ("anonymous_mb", "without")):
        axes.plot(sizes, [max(s[kind] for s in row["stages"]) for row in rows], "o-", label=name)
    axes.axhline(2000, color="grey", linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="comparisons", ylabel="peak MB beyond the model")
    axes.legend(frameon=False)
    save_picture(figure, path)


def options(given: list[str] | None) -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1e4,1e5,1e6", help="comparisons, with commas between")
    parser.add_argument("--killed", type=float, default=1e5, help="comparisons of the preparation that is killed")
    parser.add_argument("--part", type=float, default=0, help="items of a part; 0 = as the package has it")
    parser.add_argument("--reference", default="5e3,2e4", help="two counts of comparisons for the reference")
    parser.add_argument("--trl", type=float, default=1e4, help="rows that are tokenised as TRL does")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="curve,killed,reference,trl", help="which of the parts, with commas between")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--picture", type=Path)
    add_options(parser)
    args = parser.parse_args(given)
    if args.quick:
        args.sizes, args.killed, args.reference, args.trl = "100,200", 300, "4,8", 8
        args.rounds, args.part, args.threads = 1, 100, 1
    args.sizes = [int(float(size)) for size in args.sizes.split(",")]
    args.reference = [int(float(size)) for size in args.reference.split(",")]
    args.killed, args.trl, args.part = int(args.killed), int(args.trl), int(args.part)
    return args


def main(given: list[str] | None = None) -> None:
    args = options(given)
    print(machine(args.threads), flush=True)
    parts = {"curve": curve, "killed": killed, "reference": reference, "trl": against_trl}
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args, Path(scratch))
        rows = [{"part": name, "found": parts[name](bench)} for name in args.only.split(",")]
    for row in rows:
        if args.picture and row["part"] == "curve":
            picture(args.picture, row["found"])
    table = [line for row in rows for line in lines(row["part"], row["found"])]
    write(args.json, "data_scale", machine(args.threads), vars(args), table, details=rows)


if __name__ == "__main__":
    main()
