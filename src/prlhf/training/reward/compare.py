"""`compare_rewards`: several reward models on the same votes, each tuned with the same budget.

config.json     the options            results.json   every figure, by method, setting and seed
report.html     tables and plots       runs/seed-K/   common.json, and a folder for each method
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from prlhf.config.rewards.base import AnyReward
from prlhf.config.rewards.compare import RewardCompare
from prlhf.data import Log, load_comparisons
from prlhf.data.checks import Check, check_artefacts
from prlhf.errors import ConfigError
from prlhf.evaluation.reward.comparison import FLIPPED, SEEN, Method, RewardComparison, pooled
from prlhf.lm.folders import read_object, write_text
from prlhf.rewards.features import FeatureMap
from prlhf.training.reward.cell import Cell, make_cell
from prlhf.training.reward.sides import Common, kept
from prlhf.training.reward.tuning import base_config

__all__ = ["compare_rewards"]

logger = logging.getLogger(__name__)

_MORE = ("models", "seeds", "bootstrap")
"""Options that another call on the same folder may change, the first two only to more: what is there stays right."""


def compare_rewards(
    config: RewardCompare, output: str | Path, *, log: Log | None = None, features: FeatureMap | None = None
) -> RewardComparison:
    """Fit, tune and measure every model of `config` under every seed, and write results and report to `output`.

    Each (seed, model) is kept when it is done, so that the same call again goes on; one with more models or seeds adds
    to what is there, and one that leaves out any that are there is an error.

    Args:
        log: the votes, where they are in memory already.
        features: the same in the place of `config.features`, for all seeds.

    Raises:
        ConfigError: an unknown model, or a folder that holds a comparison with other options, of other votes, or of
            models or seeds that are not among these.
        DataError: too few votes or users for these sides, or a model none of whose configurations could be fitted.
    """
    bases = {name: base_config(name, config.options.get(name)) for name in config.models}
    unknown = sorted(set(config.options) - set(bases))
    if unknown:
        raise ConfigError(f"options.{unknown[0]}: the models compared are {', '.join(bases)}")
    log = kept(load_comparisons(config.data) if log is None else log, config)
    place = Path(output)
    _open(place, config, log)
    seeds = [_Seed(place, k, log, config, features) for k in range(config.seeds)]
    for seed in seeds:
        for name, base in bases.items():
            seed.fill(name, base)
    found = _collect(log, config, seeds)
    write_text(place / "results.json", json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n")
    found.report().save(place / "report.html")
    return found


def _open(place: Path, config: RewardCompare, log: Log) -> None:
    """Make the folder, or look whether this comparison goes on with what it holds."""
    held, wanted = read_object(place / "config.json"), config.model_dump(mode="json")
    if held:
        same = {**held, **{name: wanted[name] for name in _MORE}, "fingerprint": log.fingerprint}
        others = [name for name, value in wanted.items() if same.get(name) != value and name != "options"]
        others += _other_options(held, wanted, place)
        if held.get("fingerprint") != log.fingerprint:
            others.append("the votes")
        if others:
            raise ConfigError(f"{place} holds a comparison with other {', '.join(others)}; choose another folder")
        _refuse_fewer(place, config)
    elif place.exists() and any(place.iterdir()):
        raise ConfigError(f"{place} is not empty and holds no comparison; choose another folder")
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / "config.json", json.dumps({**wanted, "fingerprint": log.fingerprint}, indent=2) + "\n")


def _other_options(held: dict[str, Any], wanted: dict[str, Any], place: Path) -> list[str]:
    """Those of the wanted models that have been fitted here with other options."""
    before, now = held.get("options", {}), wanted["options"]
    done = {name for _, name in _done(place)} & set(wanted["models"])
    return [f"options.{name}" for name in sorted(done) if before.get(name) != now.get(name)]


def _done(place: Path) -> list[tuple[int, str]]:
    """Seed and model of everything that is kept."""
    cells = sorted(place.glob("runs/seed-*/*/cell.json"))
    return [(int(cell.parts[-3].removeprefix("seed-")), cell.parts[-2]) for cell in cells]


def _refuse_fewer(place: Path, config: RewardCompare) -> None:
    """ConfigError where the new report would leave out models or seeds that are done here."""
    done = _done(place)
    names = [*config.models, *dict.fromkeys(name for _, name in done if name not in config.models)]
    if len(names) > len(config.models):
        raise ConfigError(
            f"models: {place} has {', '.join(names[len(config.models) :])} too, which its report would lose; expected "
            f"{','.join(names)}, or another folder"
        )
    seeds = max((seed - config.seed + 1 for seed, _ in done), default=0)
    if seeds > config.seeds:
        raise ConfigError(
            f"seeds: {place} has {seeds}, of which its report would lose some; found {config.seeds}, expected at least "
            f"{seeds}, or another folder"
        )


class _Seed:
    """The votes of one seed, made when a model needs them, and what is kept of it."""

    def __init__(self, place: Path, k: int, log: Log, config: RewardCompare, features: FeatureMap | None):
        self.number, self.seed = k, config.seed + k
        self.folder = place / "runs" / f"seed-{self.seed}"
        self._log, self._config, self._features = log, config, features

    @cached_property
    def common(self) -> Common:
        """Split, features and arrays; what there is to say about them is written down."""
        found = Common.of(self._log, self._config, self.seed, self._features)
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {
            "sizes": found.sizes,
            "notes": found.notes,
            "checks": [check.as_dict() for check in found.checks],
        }
        write_text(self.folder / "common.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
        return found

    def fill(self, name: str, base: AnyReward) -> None:
        """Fit and measure one model, unless that is done."""
        if (self.folder / name / "cell.json").is_file():
            return
        common = self.common
        logger.info("%s, seed %d of %d", name, self.number + 1, self._config.seeds)
        make_cell(base, common, self._config, self.seed).save(self.folder / name)

    def about(self) -> dict[str, Any]:
        """What `common` wrote down."""
        return read_object(self.folder / "common.json")

    def cell(self, name: str) -> Cell:
        return Cell.load(self.folder / name)


def _collect(log: Log, config: RewardCompare, seeds: Sequence[_Seed]) -> RewardComparison:
    """All seeds of each model in one table a setting."""
    methods = []
    for name in config.models:
        cells = [seed.cell(name) for seed in seeds]
        scores = {s: pooled([cell.scores[s] for cell in cells]) for s in _settings(cells[0])}
        flipped = pooled([cell.scores[FLIPPED] for cell in cells]) if FLIPPED in cells[0].scores else None
        methods.append(Method(name, scores, flipped, tuple(cell.about for cell in cells)))
    abouts = [seed.about() for seed in seeds]
    return RewardComparison(
        methods=tuple(methods),
        source=log.source,
        fingerprint=log.fingerprint,
        config=config.model_dump(mode="json"),
        data_checks=(check_artefacts(log.items), *_worst([about["checks"] for about in abouts])),
        notes=tuple(note for about in abouts for note in about["notes"]),
        sizes=tuple(about["sizes"] for about in abouts),
        bootstrap=config.bootstrap,
        attribution=log.attribution,
    )


def _settings(cell: Cell) -> list[str]:
    return [SEEN, *sorted((s for s in cell.scores if s.startswith("unseen_")), key=lambda s: int(s.split("_")[1]))]


def _worst(by_seed: Sequence[Sequence[dict[str, Any]]]) -> list[Check]:
    """Of each check the first seed with a finding, or the first."""
    found = []
    for same in zip(*by_seed, strict=True):
        checks = [Check(**check) for check in same]
        place = next((k for k, check in enumerate(checks) if check.finding), 0)
        found.append(replace(checks[place], text=f"Seed {place + 1} of {len(checks)}: {checks[place].text}"))
    return found
