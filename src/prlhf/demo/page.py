"""The study as a self-contained page."""

from __future__ import annotations

from collections.abc import Sequence

from prlhf.demo.newcomers import VOTES, Newcomers
from prlhf.demo.study import Study
from prlhf.demo.targets import Finding
from prlhf.evaluation import Report, WinRate
from prlhf.evaluation.by_user import per_user
from prlhf.evaluation.plots import CURVES, learning_curves, per_user_accuracy, profile_bars, read_curves, win_rate_bars
from prlhf.evaluation.report import Answer, Picture, Section, SideBySide, Table, Verdict
from prlhf.evaluation.scores import Scores

__all__ = ["before_and_after", "page", "side_by_side", "win_rates"]

OPPONENTS = {"SFT model": "sft", "pooled DPO": "pooled", "oracle (told the profile)": "oracle"}


def win_rates(study: Study) -> dict[str, WinRate]:
    """P-DPO against each opponent: sampled answers, then greedy ones."""
    return {
        f"{name}, greedy" if greedy else name: study.wins("personal", key, greedy=greedy)
        for greedy in (False, True)
        for name, key in OPPONENTS.items()
    }


def side_by_side(study: Study) -> SideBySide:
    """One question, answered greedily for one user of each profile and by the model without people."""
    examples = study.examples
    answers = [Answer("pooled DPO", examples.pooled, "one answer for everybody")]
    answers += [Answer(f"{u.id} ({u.name})", text, u.text) for u, text in examples.personal.items()]
    return SideBySide(examples.question, answers)


def page(study: Study, found: Sequence[Finding]) -> Report:
    """The report: what was found, who gains, what it looks like."""
    return Report(
        title="One language model, an answer for each user",
        intro=(
            f"{len(study.world.users)} users of a planted world voted on pairs of answers; each has a hidden profile, "
            "and a tenth of the votes is flipped. Pooled DPO learns one model from all votes together. P-DPO learns "
            "from the same votes with the user's name on each. Questions and truth below are held out: other topics, "
            "no flips."
        ),
        sections=[
            _figures(found),
            _users(study),
            _answers(win_rates(study)),
            _examples(study),
            *([] if study.newcomers is None else [_newcomers(study.newcomers)]),
            _how(study),
        ],
        footer="Made by prlhf. Every figure comes from the run folders beside this page.",
    )


def _figures(found: Sequence[Finding]) -> Section:
    verdict = Verdict([(f.words, f.value, f.target_words, f.reached) for f in found if f.target is not None])
    rest = Table(["figure", "found"], [[f.words, f.value] for f in found if f.target is None])
    return Section(
        "What was found", "Accuracy: how often the model ranks a held-out pair as this user would.", [verdict, rest]
    )


def _users(study: Study) -> Section:
    beta = study.config.objective.beta
    own = per_user(Scores.load(study.folder / "personal" / "scores.parquet"), beta)
    pooled = per_user(Scores.load(study.folder / "pooled" / "scores.parquet"), beta)
    curves = read_curves(study.folder / "personal" / "metrics.jsonl", CURVES)
    pictures = [
        Picture(per_user_accuracy(own, pooled), "accuracy of every user", ""),
        Picture(profile_bars(study.by_profile), "accuracy by profile", ""),
    ]
    if curves:
        pictures.append(Picture(learning_curves(curves), "accuracy while training", ""))
    return Section("Who gains", "The majority and the minority, user by user.", pictures)


def _answers(wins: dict[str, WinRate]) -> Section:
    rows = [
        [
            name,
            w.per_user,
            w.groups["majority"].per_user,
            w.groups["minority"].per_user,
            f"{w.ties_share:.0%}",
        ]
        for name, w in wins.items()
    ]
    return Section(
        "Whose answers are preferred",
        "Answers judged by rule; a tie counts half to either side. All policies sample at temperature 1, or, where it "
        "says so, all are greedy.",
        [
            Picture(win_rate_bars(wins), "win rates of P-DPO", ""),
            Table(["against", "all users", "majority", "minority", "ties"], rows),
        ],
    )


def _examples(study: Study) -> Section:
    return Section(
        "Six users ask the same question",
        "Greedy answers; the profile is what the model had to find out.",
        [side_by_side(study)],
    )


def before_and_after(met: Newcomers) -> SideBySide:
    """One newcomer's question, answered greedily as a stranger's and after their votes."""
    answers = [
        Answer("before", met.before, "the generic row"),
        Answer(f"after {VOTES} votes", met.after, met.shown.text),
    ]
    return SideBySide(met.question, answers)


def _newcomers(met: Newcomers) -> Section:
    before, after = met.accuracy
    return Section(
        "Somebody new",
        f"{len(met.users)} people came when training was over. {VOTES} votes of each, a tenth of them flipped, were "
        f"fitted a row ({met.seconds:.1f} s a person); nothing else changed. Held-out accuracy {before:.3f} before and "
        f"{after:.3f} after; sampled answers after are preferred to those before at a rate of {met.wins.per_user}. "
        "Below: who gained most.",
        [before_and_after(met)],
    )


def _how(study: Study) -> Section:
    rows = [[name, f"{seconds:.0f} s"] for name, seconds in study.seconds.items()]
    return Section("How long it took", "", [Table(["part", "time"], rows)])
