"""What `data_scale.py` measures in a process of its own: the stages of a preparation, one after the other."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import prlhf.data.rows as reading
import prlhf.lm.tokens as tokens
from prlhf import PersonalizedLM
from prlhf.config import Individual, ModelConfig, RunConfig
from prlhf.data import Log, Split, load_comparisons
from prlhf.lm import TokenIds, choose_layout, reference_logprobs, tokenise
from prlhf.lm.loading import resolve
from prlhf.training.dataset import Ids, LengthBuckets
from prlhf.training.sides import sides_of, trained_on

__all__ = ["Meter", "memory", "prepare", "reference", "run", "trl"]

MB = 1e6


def memory() -> dict[str, float]:
    """Resident memory of this process, all of it and without mapped files, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf8")
    found = {
        line.split(":")[0]: int(line.split()[1])
        for line in status.splitlines()
        if line.startswith(("VmRSS", "RssAnon"))
    }
    return {"rss": found["VmRSS"] * 1024 / MB, "anonymous": found["RssAnon"] * 1024 / MB}


class Meter:
    """Seconds of each stage and its peak of memory, looked at every 20 ms, above what there was at the start."""

    def __init__(self) -> None:
        gc.collect()
        self.start = memory()
        self.stages: list[dict[str, Any]] = []
        self._peak: dict[str, float] = {}
        self._done = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _look(self) -> None:
        for name, value in memory().items():
            self._peak[name] = max(self._peak.get(name, 0.0), value - self.start[name])

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self._look()

    @contextmanager
    def stage(self, name: str, rows: int) -> Iterator[None]:
        """One stage over so many rows."""
        self._peak = {}
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self._look()
        peak = {f"{kind}_mb": value for kind, value in self._peak.items()}
        found = {"stage": name, "rows": rows, "seconds": seconds, "per_second": rows / seconds, **peak}
        self.stages.append(found)
        print("stage " + json.dumps(found), flush=True)

    def close(self) -> None:
        """No more looks."""
        self._done.set()


def make_lm(users: list[str]) -> PersonalizedLM:
    """The bundled model."""
    return PersonalizedLM.create(ModelConfig(base="planted"), Individual(tokens=2), users)


def _told(log: Log, sides: Split, encoded: TokenIds) -> dict[str, Any]:
    """What two preparations of the same file have in common."""
    ids = hashlib.sha256()
    for i in range(0, len(encoded), max(len(encoded) // 5000, 1)):
        ids.update(repr(encoded[i]).encode())
    sides_hash = hashlib.sha256(repr(sides).encode()).hexdigest()
    return {"fingerprint": log.fingerprint, "sides": sides_hash, "tokens": ids.hexdigest()}


def prepare(path: Path, rows: int, cache: Path) -> dict[str, Any]:
    """All stages that come before the reference, as `prlhf train` takes them."""
    config = RunConfig()
    lm = make_lm(["nobody"])
    meter = Meter()
    with meter.stage("read and validate", rows):
        log = load_comparisons(str(path), cache=cache)
    with meter.stage("split", rows):
        sides = sides_of(log, config)
        sides.save(cache / "split.json", log)
        sides.text(log)
        training = trained_on(log, sides, config)
    with meter.stage("tokenise", len(training)):
        encoded = tokenise(lm.template, training, cache=cache)
    with meter.stage("bucket", len(training)):
        order = np.fromiter(LengthBuckets(encoded.lengths, 8), np.int64, len(encoded))
    with meter.stage("fetch 1,000 batches", fetched := min(8000, len(order))):
        ids = Ids(training)
        some = [(encoded[i], ids[i]) for i in order[:fetched].tolist()]
    assert some
    meter.close()
    return {"stages": meter.stages, "start": meter.start, "same": _told(log, sides, encoded)}


def reference(path: Path, rows: int, cache: Path) -> dict[str, Any]:
    """The reference pass over the first `rows` comparisons, then once more from the cache."""
    lm = make_lm(["nobody"])
    log = load_comparisons(str(path), cache=cache)
    encoded = tokenise(lm.template, log.items[:rows], cache=cache)
    layout = choose_layout(lm, encoded.telling(), "auto")
    reference_logprobs(lm, encoded[:64], layout=layout)  # what a first pass allocates
    meter = Meter()
    with meter.stage("reference", rows):
        first = reference_logprobs(lm, encoded, layout=layout, cache=cache)
    with meter.stage("reference from the cache", rows):
        again = reference_logprobs(lm, encoded, layout=layout, cache=cache)
    meter.close()
    return {"stages": meter.stages, "start": meter.start, "same": bool(np.array_equal(first, again))}


def trl(path: Path, rows: int, cache: Path) -> dict[str, Any]:
    """What TRL's DPOTrainer does with the rows before its first step."""
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    disable_progress_bars()
    folder = resolve("planted")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    options = DPOConfig(output_dir=str(cache), report_to=[], use_cpu=True, bf16=False, precompute_ref_log_probs=False)
    meter = Meter()
    with meter.stage("TRL", rows):
        data = Dataset.from_parquet(str(path), cache_dir=str(cache))
        DPOTrainer(model, args=options, train_dataset=data, processing_class=tokenizer)
    meter.close()
    return {"stages": meter.stages, "start": meter.start}


def run(work: dict[str, Any]) -> dict[str, Any]:
    """One of them, as `data_scale.py` asks for it."""
    reading.PART = work.get("part") or reading.PART
    tokens.PART = work.get("part") or tokens.PART
    torch.set_num_threads(work["threads"])
    what = {"prepare": prepare, "reference": reference, "trl": trl}[work["what"]]
    return what(Path(work["path"]), work["rows"], Path(work["cache"]))


if __name__ == "__main__":
    print("result " + json.dumps(run(json.loads(sys.argv[1]))), flush=True)
