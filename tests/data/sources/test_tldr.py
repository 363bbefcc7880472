"""TL;DR comparisons from files of the published schema: who is trained on, simulated votes, the data's own sides."""

import pytest

from prlhf.data import load_comparisons, split
from prlhf.data.sources.lengths import length_groups
from prlhf.errors import ConfigError, DataError
from published import SUPERVISED, write_tldr
from published import tldr_row as row

WORKERS = [f"w{i}" for i in range(8)]
ROWS = [row(worker, title=f"{k}") for i, worker in enumerate(WORKERS) for k in range(10 - i)]  # w0 is the busiest
ROWS += [row("w5", "valid1"), row("w0", "valid2", choice=1), row("new", "valid2")]
ROWS += [
    row("w0", policies=(SUPERVISED, "sup4_ppo_rm3_kl10")),
    row("w0", policies=("cnndm_sup4", SUPERVISED), post=None, subreddit=None, site="cnn", article="News."),
    row("w0", policies=("ref", SUPERVISED)),
]


def write(folder, rows=ROWS, **named):
    return write_tldr(folder, rows, **named)


def test_prompts_votes_and_sides(tmp_path):
    log = load_comparisons("tldr", path=write(tmp_path), top=2)
    assert len(log) == 10 + 9 + 3 and log.notes.rows == len(ROWS)
    first = log.comparisons[0]
    assert first.prompt == "SUBREDDIT: r/pets\nTITLE: 0\nPOST: Post by w0.\nTL;DR:"
    assert (first.chosen, first.rejected, first.user, first.group) == (" short one", " a longer one", "w0", None)
    sides = split(log)
    assert {log.comparisons[i].user for i in sides.train} == {"w0", "w1"}
    test = [log.comparisons[i] for i in sides.test]
    assert [(c.user, c.chosen) for c in test] == [("w0", " a longer one")]
    assert [log.comparisons[i].user for i in sides.unseen] == ["w5", "new"]
    assert "52 in train, 3 in validation" in log.notes.text()
    assert "2 of 8 workers. Comparisons: train 19, test 1, unseen 2." in log.notes.text()


def test_simulated_lengths(tmp_path):
    rows = [*ROWS, row("w0", texts=(" same", " size"), choice=1), row("w3", texts=(" same", " size"), choice=1)]
    log = load_comparisons("tldr", path=write(tmp_path, rows), preference="length")
    group = {c.user: c.group for c in log.comparisons}
    assert [worker for worker in WORKERS if group[worker] == "minority"] == ["w3", "w4", "w5"]  # the published draw
    assert group["new"] == length_groups([*WORKERS, "new"])["new"]  # who is only in validation comes last
    for c in log.comparisons:
        if c.chosen == " same":
            continue
        assert (len(c.chosen) > len(c.rejected)) == (c.group == "majority")
    assert sum(c.chosen == " same" for c in log.comparisons) == 2  # equally long: the first
    text = log.notes.text()
    assert (
        "simulated: length" in text and "train 54 (majority 35, minority 19), test 2 (majority 1, minority 1)" in text
    )


def test_equal_summaries_are_on_no_side(tmp_path):
    rows = [*ROWS, row("w0", texts=(" x", " x")), row("w0", "valid1", texts=(" x", " x"))]
    log = load_comparisons("tldr", path=write(tmp_path, rows))
    sides = split(log)
    assert len(log) == len(ROWS) - 3 + 2 and log.notes.equal == 2
    assert len(sides.train) == 52 and len(sides.test) == 2 and len(sides.unseen) == 1


def test_limit_on_characters(tmp_path):
    rows = [*ROWS, row("w0", post="x" * 5000)]
    log = load_comparisons("tldr", path=write(tmp_path, rows), max_characters=4800)
    assert len(log) == 55 and "Too long and left out: 1 comparisons." in log.notes.text()


def test_folders_and_files(tmp_path):
    import datasets

    datasets.disable_progress_bars()
    expected = load_comparisons("tldr", path=write(tmp_path)).fingerprint
    assert load_comparisons("tldr", path=str(tmp_path / "comparisons.jsonl")).fingerprint == expected
    train, rest = [r for r in ROWS if r["split"] == "train"], [r for r in ROWS if r["split"] != "train"]
    parquet = tmp_path / "parquet"  # as the hub converts it, below the name of the configuration
    for name, rows in (("train", train), ("validation", rest)):
        (parquet / "comparisons" / name).mkdir(parents=True)
        datasets.Dataset.from_list(rows).to_parquet(parquet / "comparisons" / name / "0000.parquet")
    (parquet / "axis").mkdir()
    (parquet / "axis" / "0000.jsonl").write_text("{}\n")
    both = {"train": datasets.Dataset.from_list(train), "validation": datasets.Dataset.from_list(rest)}
    datasets.DatasetDict(both).save_to_disk(tmp_path / "saved")
    for folder, first in ((parquet, "train/0000/1"), (tmp_path / "saved", "train/1")):
        log = load_comparisons("tldr", path=str(folder))
        assert sorted(c.prompt + c.chosen for c in log.comparisons) == sorted(
            c.prompt + c.chosen for c in load_comparisons("tldr", path=str(tmp_path / "comparisons.jsonl")).comparisons
        )
        assert log.comparisons[0].id == first and len({c.id for c in log.comparisons}) == len(log)


def test_hub(monkeypatch):
    import datasets

    asked = []

    def load_dataset(name, **options):
        asked.append((name, options))
        rows = [r for r in ROWS if (r["split"] == "train") == (options["split"] == "train")]
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    log = load_comparisons("tldr", top=2)
    assert len(log) == 22 and log.comparisons[-1].id == "validation/3"
    assert [name for name, _ in asked] == ["openai/summarize_from_feedback"] * 2
    assert asked[0][1]["data_files"] == {"train": "comparisons/train/*.parquet"}


def without(field):
    broken = row("w1")
    *path, last = field.split(".")
    place = broken
    for part in path:
        place = place[int(part)] if part.isdigit() else place[part]
    del place[last]
    return broken


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (without("worker"), r"comparisons\.jsonl, row 3: field 'worker': found no such field; the row has info,"),
        (without("info.title"), r"row 3: field 'info\.title': found no such field; info has id, post, subreddit"),
        (without("summaries.1.policy"), r"row 3: field 'summaries\[1\]\.policy': found no such field"),
        (without("split"), "row 3: field 'split'"),
        ({**row("w1"), "choice": 2}, r"field 'choice': found 2 \(int\), expected 0 or 1"),
        ({**row("w1"), "choice": None}, "field 'choice': found nothing, expected a whole number"),
        ({**row("w1"), "split": "dev"}, r"field 'split': found 'dev' \(str\), expected one of train, valid1, valid2"),
        ({**row("w1"), "summaries": row("w1")["summaries"][:1]}, "field 'summaries': found 1 of them, expected two"),
        (row("w1", post=None), r"field 'info\.post': found nothing, expected text"),
        (row("w1", texts=(" a", "\ud83d")), r"field 'summaries\[1\]\.text': found half a surrogate pair"),
        ([], "row 3: found a JSON list, expected a JSON object"),
    ],
)
def test_other_rows_are_named(tmp_path, broken, message):
    with pytest.raises(DataError, match=message):
        load_comparisons("tldr", path=write(tmp_path, [row("w0"), row("w0"), broken]))


def test_nothing_to_compare(tmp_path):
    with pytest.raises(DataError, match="none of 3 rows compares two summaries of supervised policies"):
        load_comparisons("tldr", path=write(tmp_path, ROWS[-3:]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no data file .* found in it: \(none\)"):
        load_comparisons("tldr", path=str(tmp_path / "empty"))
    with pytest.raises(
        DataError, match=r"source 'tldr': nothing at /no/folder; option path is a folder, a file or a hub"
    ):
        load_comparisons("tldr", path="/no/folder")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "option top: found 0, expected a whole number, at least 1"),
        ({"top": 9}, "option top: found 9, expected at most 8, the number of workers"),
        ({"preference": "target_length"}, "option preference: found 'target_length', expected one of votes, length"),
        ({"max_characters": "x"}, "option max_characters: found 'x'"),
        ({"path": 3}, "option path: found 3, expected a folder, a file or a hub id"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        load_comparisons("tldr", **{"path": write(tmp_path), **options})
