"""`prlhf best-of`: several answers written, the best for a user picked by a reward model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlhf.cli.answers import with_decoding
from prlhf.cli.console import no_loading_bars
from prlhf.cli.errors import interruptible
from prlhf.cli.options import DataOverrides, read_as
from prlhf.cli.picks import show, tell_unsure, tokens_text
from prlhf.cli.places import check_places
from prlhf.cli.questions import AnswersFile, EachUser, Prompts, Users, check_questions, questions_of
from prlhf.words import counted, some

if TYPE_CHECKING:
    from prlhf.config import DataConfig
    from prlhf.generation.jobs import Question
    from prlhf.generation.picks import Picking
    from prlhf.rewards import RewardModel

__all__ = ["best_of"]


@partial(with_decoding, taken=("-n",), temperature=1.0)
def best_of(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_MODEL",
            help="Who writes: a run, a model folder, a hub id of one; or a plain model: a folder, a hub id, planted.",
        ),
    ],
    reward: Annotated[Path, typer.Option(metavar="DIR", help="Who picks: a folder of `prlhf reward train`.")],
    prompt: Annotated[str | None, typer.Argument(metavar="PROMPT", help="What to answer.")] = None,
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="ID", help="For whom; without it for the generic user.")
    ] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", help="Candidates for each prompt.")] = 16,
    greedy: Annotated[
        bool, typer.Option("--greedy/--no-greedy", help="Whether one of them is the greedy answer; beams have none.")
    ] = True,
    by: Annotated[
        str, typer.Option(metavar="mean|lcb", help="The best by mean, or by mean - K standard deviations.")
    ] = "mean",
    k: Annotated[float, typer.Option("--k", metavar="K", help="Of --by lcb.")] = 1.0,
    votes: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Votes of the users, folded into the reward model first.")
    ] = None,
    as_user: Annotated[
        bool, typer.Option("--as-user", help="Draw from the user's own row of the run, not the generic user's.")
    ] = False,
    method: Annotated[
        str,
        typer.Option(metavar="best-of|beams", help="Whole answers, or partial ones that are picked from as they grow."),
    ] = "best-of",
    keep: Annotated[int, typer.Option(metavar="W", help="Of beams: so many are kept; divides N.")] = 4,
    chunk: Annotated[int, typer.Option(metavar="TOKENS", help="Of beams: picked from so often.")] = 8,
    candidates: Annotated[bool, typer.Option("--candidates", help="Show or write all candidates.")] = False,
    user_text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the language model is told about the user.")
    ] = None,
    prompts: Prompts = None,
    users: Users = None,
    each_user: EachUser = False,
    output: AnswersFile = None,
    batch_size: Annotated[int, typer.Option(metavar="B", help="Answers drawn at once.")] = 64,
    overrides: DataOverrides = None,
    *,
    options: Any,
) -> None:
    """Answer by the best of N answers: for each user the one that a reward model takes.

    Nothing is trained. The candidates come from the generic user of the run, so that the reward alone knows the person
    and users who ask the same share them; --votes folds in what somebody said a minute ago. What it took in tokens is
    told.
    """
    check_questions(prompt, prompts, users, user, output, each_user)
    check_places({"--output": output}, {"--prompts": prompts, "--users": users, "--votes": votes})
    picking = _picking(n, greedy, by, k, as_user, method, keep, chunk)
    of_votes, columns = _readings(reward, votes, prompts, overrides)
    # before all that is imported for the language model: a mistake is told at once
    model = _reward(reward, of_votes, user)
    from prlhf.generation.jobs import Question
    from prlhf.generation.models import language_model
    from prlhf.generation.pick_jobs import pick_file, picks, reward_name
    from prlhf.lm.requests import Work
    from prlhf.training.progress import bar

    if prompts is None:
        assert prompt is not None
        questions = [Question(1, prompt, user, user_text)]
    else:
        questions = questions_of(prompts, users, user, user_text, each_user, columns)
    if each_user and users is None:
        questions = _for_everybody(model, questions)
    _tell_unknown(model, questions)
    no_loading_bars()
    lm = language_model(run)
    how: Any = {"work": Work(batch_size=batch_size)}
    if output is None:
        found = picks(lm, model, questions, picking, options, **how)
        show(questions, (pick for some in found for pick in some), candidates, one=prompt is not None)
        return
    how |= {"reward_name": reward_name(model, reward), "candidates": candidates, "progress": bar}
    with interruptible("the same command goes on where it stopped"):
        done, spent, unsure = pick_file(lm, model, questions, output, picking, options, **how)
    before = f" ({done.kept:,} were there)" if done.kept else ""
    typer.echo(f"{counted(done.written, 'answer')} written{before}: {done.path}")
    typer.echo(tokens_text(spent, done.written), err=True)
    tell_unsure(unsure, done.written)


def _picking(n: int, greedy: bool, by: Any, k: float, as_user: bool, method: str, keep: int, chunk: int) -> Picking:
    from prlhf.errors import ConfigError
    from prlhf.generation.picks import Picking

    if method not in ("best-of", "beams"):
        raise ConfigError(f"--method: found {method!r}, expected best-of or beams")
    if method == "beams" and keep < 1:
        raise ConfigError(f"--keep: found {keep}, expected at least 1 beam")
    return Picking(n, greedy, by, k, as_user, keep if method == "beams" else 0, chunk)


def _readings(
    reward: Path, votes: str | None, prompts: Path | None, overrides: list[str] | None
) -> tuple[DataConfig | None, dict[str, str]]:
    """How the votes are read, and the names of the columns of the prompts: as the data of the reward model's run."""
    from prlhf.data.readers import FORMATS
    from prlhf.evaluation.reward.run import run_config

    table = prompts is not None and prompts.suffix.lower() in FORMATS
    sources = [source for source, given in ((votes, votes is not None), (prompts, table)) if source and given]
    if not sources:
        return None, {}
    run = run_config(reward)
    found = read_as(None if run is None else run.data, overrides, *sources)
    return found[0] if votes is not None else None, found[-1].columns if table else {}


def _reward(folder: Path, votes: DataConfig | None, user: str | None) -> RewardModel:
    """The reward model with the votes in it."""
    from prlhf.evaluation.reward.run import few_shot_votes, load_run, without_votes
    from prlhf.generation.picks import check_new_texts

    model, config = load_run(folder)
    check_new_texts(model)
    if votes is not None:
        first, notes = few_shot_votes(model, config, votes)
        for note in [*notes, *without_votes(user, first, votes.source)]:
            typer.echo(note, err=True)
        model.commit(*model.fold_in(first))
    return model


def _for_everybody(model: RewardModel, questions: list[Question]) -> list[Question]:
    """Each question by every user whom the reward model knows."""
    from prlhf.errors import ConfigError
    from prlhf.generation.jobs import assign

    if not len(model.users.index):
        raise ConfigError("--each-user: the reward model knows no users; name some with --users, or give --votes")
    return assign(questions, model.users.index.ids(), every=True)


def _tell_unknown(model: RewardModel, questions: list[Question]) -> None:
    ids = sorted({q.user for q in questions if q.user is not None})
    unknown = [i for i, row in zip(ids, model.users.rows(ids).tolist(), strict=True) if not row]
    if unknown:
        shown = some([repr(name) for name in unknown])
        many = f"{counted(len(unknown), 'user')} {'is' if len(unknown) == 1 else 'are'}"
        typer.echo(f"note: {many} unknown to the reward model, which picks for the generic user ({shown})", err=True)
