"""`prlhf suggest`: what to ask somebody."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlhf.cli.options import DataOverrides, read_as
from prlhf.cli.places import check_places
from prlhf.cli.reward.options import NewEmbeddings, RewardFolder
from prlhf.words import counted

if TYPE_CHECKING:
    from prlhf.config import DataConfig
    from prlhf.rewards import RewardModel, States
    from prlhf.rewards.asking import Pool, Suggestion
    from prlhf.types import Comparison

__all__ = ["Asked", "PoolSource", "RuleName", "prepared", "suggest"]

PoolSource = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        help="Pairs to choose from: any preference log (its labels are not looked at), or a file with prompt, a, b, or "
        "with prompt, response, of which all pairs are taken.",
    ),
]


def _named(user: str) -> str:
    if not user.strip():
        raise typer.BadParameter("found an empty text, expected the id of a person")
    return user


Asked = Annotated[str, typer.Option("--user", "-u", metavar="ID", help="Whom.", callback=_named)]
RuleName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="information (the default), variance, d_optimal, pref or random."),
]


def suggest(
    folder: RewardFolder,
    user: Asked,
    pool: PoolSource,
    n: Annotated[int, typer.Option("-n", min=1, help="So many questions, none of which repeats another.")] = 1,
    rule: RuleName = None,
    votes: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="What the user has answered so far: folded in, and not asked again."),
    ] = None,
    embeddings: NewEmbeddings = None,
    seed: Annotated[int, typer.Option(help="Of the rule random, and of pairs that are drawn.")] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="OUT.json", help="Write the questions.")] = None,
    overrides: DataOverrides = None,
) -> None:
    """What to ask somebody next: the pairs whose answers are expected to tell most about them.

    The model has to say how sure it is of a person, as factor does. Nothing is stored.
    """
    from prlhf.rewards.asking import DEFAULT, check_rule

    check_places({"--json": json_path}, {"--pool": pool, "--votes": votes})
    check = partial(check_rule, rule=rule or DEFAULT)
    made = prepared(folder, pool, votes, overrides, embeddings, seed, check)
    state, asked = _state(made, user)
    found = made.model.suggest(made.pool, state, n, rule, asked, seed)  # type: ignore[arg-type]
    if not found:
        typer.echo("nothing is left to be asked: every pair of the pool was answered")
    for i, one in enumerate(found, 1):
        _tell(i, one)
    if json_path is not None:
        json_path.write_text(json.dumps([_row(s) for s in found], indent=2, ensure_ascii=False) + "\n", encoding="utf8")
        typer.echo(f"questions: {json_path}")


@dataclass(frozen=True)
class Prepared:
    """A model, a pool for it, and how votes are read (None: there are none)."""

    model: RewardModel
    pool: Pool
    votes: DataConfig | None
    learned: DataConfig | None = None
    """How the votes are read that the model was trained on, where its run says."""


def prepared(
    folder: Path,
    pool: str,
    votes: str | Path | None,
    overrides: list[str] | None,
    embeddings: Path | None,
    seed: int,
    check: Callable[[RewardModel], None],
) -> Prepared:
    """Read the model, `check` it, read the pool, which may take long, and say what was read."""
    from prlhf.data.pairs import read_pairs
    from prlhf.evaluation.reward.run import load_run
    from prlhf.rewards.asking import Pool

    model, config = load_run(folder, embeddings)
    check(model)
    sources = [pool] if votes is None else [pool, votes]
    of_pool, *of_votes = read_as(None if config is None else config.data, overrides, *sources)
    read = read_pairs(of_pool, seed=seed)
    made = Pool.of(model, read.pairs)
    told = f"pool: {counted(len(made), 'pair')} from {read.source}"
    told += f" ({made.left_out:,} left out: there already, or of equal texts)" if made.left_out else ""
    typer.echo(told + (f"; {read.note}" if read.note else ""))
    return Prepared(model, made, of_votes[0] if of_votes else None, None if config is None else config.data)


def _state(made: Prepared, user: str) -> tuple[str | States | None, list[str]]:
    """What is known of the user, and the keys of the pairs that they have answered."""
    row = int(made.model.users.rows([user])[0])
    table = made.model.users
    known = f"version {table.versions[row]}, {counted(table.states.votes[row], 'vote')}" if row else ""
    own = [] if made.votes is None else _own(made.votes, user)
    if not own:
        typer.echo(
            f"{user} is known to the model ({known})" if row else f"{user} is unknown: asked as the generic user"
        )
        return user, _answered(made.learned, user) if row else []
    alone = f", and by these alone; the model has {known}" if row else ""
    typer.echo(f"{user} is met by {counted(len(own), 'vote')}{alone}")
    return made.model.fold_in(own)[1], [vote.pair_key for vote in own]


def _answered(learned: DataConfig | None, user: str) -> list[str]:
    """The keys of the pairs that the user voted on in the model's own data, as far as these can be read."""
    from prlhf.data import load_comparisons
    from prlhf.errors import PrlhfError

    if learned is None:
        return []
    try:
        log = load_comparisons(learned)
    except PrlhfError as e:
        typer.echo(f"pairs that {user} voted on may be asked again, since the model's data cannot be read: {e}")
        return []
    found = [vote.pair_key for vote in log.comparisons if vote.user == user]
    typer.echo(f"not asked again: {counted(len(set(found)), 'pair')} that {user} voted on in {log.source}")
    return found


def _own(votes: DataConfig, user: str) -> list[Comparison]:
    """The user's votes in a file of anybody's."""
    from prlhf.evaluation.reward.run import votes_to_fold_in, without_votes

    rows, log = votes_to_fold_in(None, votes, ties=True)
    for line in without_votes(user, rows, log.source):
        typer.echo(line)
    return [vote for vote in rows if vote.user == user]


def _tell(number: int, one: Suggestion) -> None:
    from prlhf.cli.console import short
    from prlhf.types import prompt_text

    assert one.pair is not None
    typer.echo(f"\n{number}. {short(prompt_text(one.pair.prompt), 90)}")
    typer.echo(f"   a: {short(one.pair.chosen, 90)}\n   b: {short(one.pair.rejected, 90)}")
    if one.nats is None or one.share is None or one.probability is None:
        typer.echo("   drawn; the model does not say what it expects to learn")
        return
    typer.echo(f"   expected to tell {one.nats:.2f} nats (an answer has at most {math.log(2):.2f}), and to take away")
    typer.echo(f"   {one.share:.0%} of what is unknown about the person, as far as it matters in this pool")
    typer.echo(
        f"   why: the model expects {one.margin:+.1f} log-odds for a, and people such as this one differ by ± "
        f"{one.spread:.1f}; a: {one.probability:.0%}"
    )


def _row(one: Suggestion) -> dict[str, Any]:
    from prlhf.data.votes_file import as_row

    assert one.pair is not None
    pair = as_row(one.pair)
    told = {"probability_a": one.probability, "margin": one.margin, "spread": one.spread}
    return {
        "prompt": pair["prompt"],
        "a": one.pair.chosen,
        "b": one.pair.rejected,
        "pair_key": one.pair.pair_key,
        **told,
        "nats": one.nats,
        "share": one.share,
    }
