"""A process that starts training runs in children of its own, to be killed: libraries are imported once.

Run as a script it reads one JSON object a line: `config` (a RunConfig), `log` (comparisons), `output`, `cache`,
`resume`, and optionally `pause`: `target` (what is patched), `when` (a part of its arguments, as text), `nth` (which
such call).
There the child stops for good, after writing the file `paused`. It answers with the child's process id, and with what
became of it once that ended.
"""

import json
import os
import pkgutil
import sys
import time
import traceback
from pathlib import Path

import prlhf.training.train as training
from prlhf.config import RunConfig
from prlhf.data import Log
from prlhf.types import Comparison


def stop_at(target: str, when: str, nth: int, flag: Path) -> None:
    """Make `target` ("package.module.attribute") stop at the `nth` call that has `when` in its arguments."""
    owner = pkgutil.resolve_name(target.rpartition(".")[0])
    name = target.rpartition(".")[2]
    original, left = getattr(owner, name), [nth]

    def patched(*args, **kwargs):
        if when in repr((args, kwargs)):
            left[0] -= 1
            if left[0] == 0:
                flag.touch()
                time.sleep(600)
        return original(*args, **kwargs)

    setattr(owner, name, patched)


def child(job: dict) -> None:
    if job.get("pause"):
        stop_at(**job["pause"], flag=Path(job["paused"]))
    log = Log(tuple(Comparison(**row) for row in job["log"]), "made up")
    training.train(
        RunConfig.model_validate(job["config"]), job["output"], log=log, resume=job["resume"], cache=Path(job["cache"])
    )


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what is printed on the way is no answer
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                child(json.loads(line))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        answers.write(f"{pid}\n")
        _, status = os.waitpid(pid, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    serve()
