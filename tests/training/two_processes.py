"""One process of a data-parallel run: `torchrun two_processes.py CONFIG LOG OUTPUT CACHE`."""

import json
import sys
from pathlib import Path

from prlhf.config import RunConfig
from prlhf.data import Log
from prlhf.training.train import train
from prlhf.types import Comparison

if __name__ == "__main__":
    config, log, output, cache = map(Path, sys.argv[1:])
    rows = json.loads(log.read_text())
    result = train(
        RunConfig.model_validate_json(config.read_text()),
        output,
        log=Log(tuple(Comparison(**row) for row in rows), "made up"),
        cache=cache,
    )
    with Path(f"{output}.metrics").open("a") as f:
        f.write("yes\n" if result.metrics is not None else "no\n")
