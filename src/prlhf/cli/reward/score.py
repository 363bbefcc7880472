"""`prlhf reward score`: what responses are worth to somebody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlhf.cli.options import DataOverrides, read_as
from prlhf.cli.picks import tell_unsure
from prlhf.cli.places import check_places
from prlhf.cli.reward.options import NewEmbeddings, RewardFolder
from prlhf.words import counted, some

if TYPE_CHECKING:
    import numpy as np

    from prlhf.data.responses import Responses
    from prlhf.rewards import Reward, RewardModel

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
    groups = _groups(asked, users)
    ranks = _ranks(groups, found)
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
    met = [rows for (_, user), rows in groups.items() if user is not None and user not in unknown]
    _tell_undecided(model, asked, met, users, found)
    if output is not None:
        _write(rows, output)
        typer.echo(f"rewards: {output}")


def _groups(asked: Responses, users: list[str | None]) -> dict[tuple[Any, str | None], list[int]]:
    """The rows of each (prompt, user)."""
    groups: dict[tuple[Any, str | None], list[int]] = {}
    for i, key in enumerate(zip(asked.prompts, users, strict=True)):
        groups.setdefault(key, []).append(i)
    return groups


def _ranks(groups: dict[tuple[Any, str | None], list[int]], found: Reward) -> np.ndarray:
    """From 1, the best, within each group; equal rewards share the better rank `[n]`."""
    import numpy as np

    ranks = np.zeros(len(found.mean), np.int64)
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


def _tell_undecided(
    model: RewardModel, asked: Responses, groups: list[list[int]], users: list[str | None], found: Reward
) -> None:
    """A note where the best response of a group is not surely better than the middle one."""
    from prlhf.types import Comparison

    pairs = []
    for rows in groups:
        different = {asked.responses[i]: i for i in rows}
        order = sorted(different.values(), key=lambda i: -found.mean[i])
        best, middle = order[0], order[len(order) // 2]
        if len(order) > 1:
            texts = asked.responses[best], asked.responses[middle]
            pairs.append(Comparison(asked.prompts[best], *texts, user=users[best]))
    if pairs and found.variance.any():  # else the model does not say how unsure it is
        lead = model.margin(pairs)
        tell_unsure(int((lead.mean < lead.variance**0.5).sum()), len(pairs), "responses", "the middle one")


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
