"""`prlhf reward score`: what responses are worth to somebody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlhf.cli.options import DataOverrides, read_as
from prlhf.cli.places import check_places
from prlhf.cli.reward.options import NewEmbeddings, RewardFolder
from prlhf.words import counted, some

if TYPE_CHECKING:
    import numpy as np

    from prlhf.data.responses import Responses
    from prlhf.rewards import Reward

__all__ = ["score"]

SHOWN = 20


def score(
    folder: RewardFolder,
    data: Annotated[
        Path,
        typer.Option(metavar="RESPONSES", help="JSONL, JSON, CSV or Parquet with prompt, response, perhaps user_id."),
    ],
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="ID", help="For whom, in every row; else as user_id says.")
    ] = None,
    embeddings: NewEmbeddings = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the rows with their rewards: .jsonl or .parquet."),
    ] = None,
    overrides: DataOverrides = None,
) -> None:
    """The reward of each response, how unsure the model is, and its rank among those to the same prompt and user.

    A reward has no zero: only differences between responses to one prompt for one user mean anything, and they are
    log-odds. Who is unknown to the model is answered as the generic user.
    """
    from prlhf.data.readers import open_table
    from prlhf.data.responses import read_responses
    from prlhf.errors import ConfigError
    from prlhf.evaluation.reward.run import held_out_users, load_run, run_config

    check_places({"--output": output}, {"--data": data, "--embeddings": embeddings})
    if output is not None and output.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"--output {output}: found the ending {output.suffix!r}, expected .jsonl or .parquet")
    open_table(data).close()  # says what is wrong with the file before a run's names of columns are looked for in it
    run = run_config(folder)
    (reading,) = read_as(None if run is None else run.data, overrides, data)
    asked = read_responses(data, reading.columns)
    model, _ = load_run(folder, embeddings)
    users: list[str | None] = list(asked.users) if user is None else [user] * len(asked)
    found = model.score(asked.prompts, asked.responses, users)
    ranks = _ranks(asked, users, found)
    rows = [_row(asked, users, found, ranks, i) for i in range(len(asked))]
    known = model.users.rows(users).tolist()
    unknown = {u for u, row in zip(users, known, strict=True) if u is not None and not row}
    held_out = held_out_users(folder, run) & unknown if unknown else frozenset()
    _tell_unknown(sorted(unknown - held_out), "unknown to the model and answered as the generic user")
    if held_out and run is not None:
        _tell_unknown(
            sorted(held_out),
            f"held out by data.split.users={run.data.split.users:g} and so answered as the generic user; train without "
            "it for the model that knows everybody, or fold their votes in",
        )
    _tell(asked, rows)
    if output is not None:
        _write(rows, output)
        typer.echo(f"rewards: {output}")


def _ranks(asked: Responses, users: list[str | None], found: Reward) -> np.ndarray:
    """From 1, the best, within (prompt, user); equal rewards share the better rank `[n]`."""
    import numpy as np

    groups: dict[Any, list[int]] = {}
    for i, key in enumerate(zip(asked.prompts, users, strict=True)):
        groups.setdefault(key, []).append(i)
    ranks = np.zeros(len(asked), np.int64)
    for rows in groups.values():
        values = found.mean[rows]
        ranks[rows] = 1 + len(rows) - np.searchsorted(np.sort(values), values, side="right")
    return ranks


def _row(asked: Responses, users: list[str | None], found: Reward, ranks: np.ndarray, i: int) -> dict[str, Any]:
    return {
        **asked.rows[i],
        "user_id": users[i],
        "reward": float(found.mean[i]),
        "sd": float(found.variance[i]) ** 0.5,
        "rank": int(ranks[i]),
    }


def _tell_unknown(who: list[str], what: str) -> None:
    """A line about some of the users, if there are any."""
    from rich.console import Console

    if who:
        are = f"{counted(len(who), 'user')} {'is' if len(who) == 1 else 'are'}"
        told = f"{are} {what}: {some([repr(name) for name in who])}"
        Console().print(told, highlight=False, markup=False, style="yellow")


def _tell(asked: Responses, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from prlhf.types import prompt_text

    console = Console()
    table = Table(show_edge=False, pad_edge=False, expand=True)
    table.add_column("user", overflow="ellipsis", no_wrap=True, max_width=16)
    for heading, share in (("prompt", 1), ("response", 2)):  # of the width that the numbers leave over
        table.add_column(heading, overflow="ellipsis", no_wrap=True, ratio=share)
    for heading in ("reward", "sd", "rank"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row, prompt, response in zip(rows[:SHOWN], asked.prompts, asked.responses, strict=False):
        texts = (" ".join(text.split()) for text in (prompt_text(prompt), response))
        table.add_row(
            row["user_id"] or "(generic)", *texts, f"{row['reward']:+.3f}", f"{row['sd']:.3f}", str(row["rank"])
        )
    console.print(table)
    if len(rows) > SHOWN:
        console.print(f"… and {len(rows) - SHOWN:,} more; --output writes all of them", highlight=False)


def _write(rows: list[dict[str, Any]], output: Path) -> None:
    import json

    from prlhf.data.cache import aside

    with aside(output) as place:
        if output.suffix == ".jsonl":
            place.write_text("".join(json.dumps(r, ensure_ascii=False, default=str) + "\n" for r in rows), "utf8")
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), place)
