import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from prlhf.config import SftConfig, load_config
from prlhf.config.sft import NewModel
from prlhf.data import load_comparisons
from prlhf.data.planted import sft_rows
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.lm.loading import BUNDLED
from prlhf.training.new_model import new_model
from prlhf.training.sft import IGNORED, Collator, encode, sft
from prlhf.training.sft_rows import SftRow, load_rows
from prlhf.types import Message

TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


def config(data=None, **options):
    values = {
        "data": data or {"source": "planted", "options": {"rows": 320}},
        "new": {"vocab_size": 600, "options": {**TINY, "tie_word_embeddings": True}},
        "batch_size": 16,
        "learning_rate": 1e-2,
        "device": "cpu",
    }
    return SftConfig.model_validate({**values, **options})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return sft(config(), tmp_path_factory.mktemp("sft") / "model", progress=False)


def loss(folder, rows):
    """Mean negative log-probability per completion token, by hand."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    total, count = 0.0, 0
    for example in encode(rows, tokenizer, 1024):
        ids = torch.tensor([example["input_ids"]])
        with torch.no_grad():
            logps = model(ids).logits[0, :-1].log_softmax(-1)
        for position, label in enumerate(example["labels"][1:]):
            if label != IGNORED:
                total, count = total - logps[position, label].item(), count + 1
    return total / count


def test_learns(trained):
    rows = [SftRow(**row) for row in sft_rows(20, seed=9)]
    fresh = torch.log(torch.tensor(float(len(AutoTokenizer.from_pretrained(trained))))).item()
    assert loss(trained, rows) < 0.7 * fresh


def test_folder_is_complete(trained):
    names = {file.name for file in trained.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md", "sft_config.json"} <= names
    assert not list(trained.parent.glob(".*"))
    assert SftConfig.model_validate(json.loads((trained / "sft_config.json").read_text())) == config()
    assert "320 rows, 20 steps" in (trained / "README.md").read_text()


def test_same_seed_same_weights(trained, tmp_path):
    again = sft(config(), tmp_path / "again", progress=False)
    assert (again / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_continues_a_model_on_completion_rows(trained, tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [SftRow("How do I season my soup?", "With salt and pepper.")]
    file.write_text(json.dumps({"prompt": rows[0].prompt, "completion": rows[0].completion}) + "\n")
    options = config({"source": str(file)}, base=str(trained), epochs=60)
    folder = sft(options, tmp_path / "model", progress=False)
    assert loss(folder, rows) < 0.5 < loss(trained, rows)
    tokenizers = [AutoTokenizer.from_pretrained(f) for f in (folder, trained)]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()


def test_nothing_is_overwritten(trained, tmp_path):
    folder = tmp_path / "model"
    quick = config(max_steps=1)
    weights = sft(quick, folder, progress=False) / "model.safetensors"
    before = weights.read_bytes()
    with pytest.raises(CheckpointError, match="nothing is overwritten"):
        sft(config(max_steps=2), folder, progress=False)
    assert weights.read_bytes() == before
    other = tmp_path / "precious"
    other.mkdir()
    (other / "README.md").write_text("mine")
    with pytest.raises(CheckpointError, match="precious"):
        sft(quick, other, progress=False)
    assert (other / "README.md").read_text() == "mine"


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    def broken(*args):
        raise OSError("disk full")

    monkeypatch.setattr("prlhf.training.sft.write_card", broken)
    with pytest.raises(OSError, match="disk full"):
        sft(config(max_steps=1), tmp_path / "model", progress=False)
    assert not list(tmp_path.iterdir())


def test_encoding_by_hand(base_folder):
    tokenizer = AutoTokenizer.from_pretrained(base_folder())  # one token a byte
    [example] = encode([SftRow("ab", "cd", "u")], tokenizer, 64)
    a, b, c, d, u = (tokenizer.convert_tokens_to_ids(x) for x in "abcdu")
    newline = tokenizer("\n", add_special_tokens=False)["input_ids"]
    assert example["input_ids"] == [1, u, *newline, *newline, a, b, c, d, 2]
    assert example["labels"] == [IGNORED] * 6 + [c, d, 2]


def test_long_prompts_lose_their_left_and_keep_the_completion(base_folder):
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    [example] = encode([SftRow("x" * 50 + "end", "answer")], tokenizer, 12)
    assert tokenizer.decode(example["input_ids"]) == "<s>xendanswer</s>"
    assert example["labels"].count(IGNORED) == 5
    [example] = encode([SftRow("question", "y" * 50)], tokenizer, 12)
    assert tokenizer.decode(example["input_ids"]) == "<s>" + "y" * 11


def test_conversations_use_the_chat_template(base_folder):
    tokenizer = AutoTokenizer.from_pretrained(base_folder(chat=True))
    row = SftRow((Message("user", "hi"),), "yes")
    [example] = encode([row], tokenizer, 64)
    learned = [label for label in example["labels"] if label != IGNORED]
    assert tokenizer.decode(learned).startswith("yes</s>")
    assert "<|im_start|>assistant" in tokenizer.decode(example["input_ids"])


def test_collator_pads_at_the_right():
    batch = Collator(pad=9)(
        [{"input_ids": [1, 5, 2], "labels": [-100, 5, 2]}, {"input_ids": [1, 2], "labels": [-100, 2]}]
    )
    assert batch["input_ids"].tolist() == [[1, 5, 2], [1, 2, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[-100, 5, 2], [-100, 2, -100]]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_completion_rows_from_every_format(tmp_path, suffix):
    rows = [{"prompt": "a\nb", "completion": "c, d"}, {"prompt": "e", "completion": "f"}]
    file = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), file)
    elif suffix == "csv":
        file.write_text('prompt,completion\n"a\nb","c, d"\ne,f\n')
    else:
        text = json.dumps(rows) if suffix == "json" else "\n".join(map(json.dumps, rows))
        file.write_text(text)
    assert load_rows(config({"source": str(file)}).data) == [SftRow("a\nb", "c, d"), SftRow("e", "f")]


def test_renamed_columns_and_messages(tmp_path):
    file = tmp_path / "rows.jsonl"
    row = {"question": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]}
    file.write_text(json.dumps(row))
    found = load_rows(config({"source": str(file), "columns": {"prompt": "question"}}).data)
    assert found == [SftRow((Message("user", "q"),), "a")]


def test_a_bad_row_is_named(tmp_path, caplog):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a", "completion": 3}\n')
    with pytest.raises(DataError, match=r"rows.jsonl, row 2: field 'completion'.*3.*--on-bad-row skip"):
        load_rows(config({"source": str(file)}).data)
    assert len(load_rows(config({"source": str(file), "on_bad_row": "skip"}).data)) == 1
    assert "1 bad rows were skipped" in caplog.text and "row 2: field 'completion'" in caplog.text


def test_bad_votes_that_are_skipped_are_told(tmp_path, caplog):
    file = tmp_path / "votes.jsonl"
    file.write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n{"prompt": "p", "chosen": 3, "rejected": "b"}\n')
    options = {"source": str(file), "on_bad_row": "skip", "split": {"test": 0.0}}
    assert load_rows(config(options).data) == [SftRow("p", "a")]
    assert "1 bad rows were skipped" in caplog.text and "found 3 (int)" in caplog.text


def test_a_limit_draws_a_seeded_sample(caplog):
    options = {"source": "planted", "options": {"rows": 40}}
    everything = load_rows(config(options).data)
    first, again, other = (load_rows(config({**options, "max_comparisons": 10}).data, seed=s) for s in (1, 1, 2))
    assert first == again != other and len(first) == len(other) == 10
    assert first != everything[:10] and first == [row for row in everything if row in first]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_split_options_that_change_nothing_are_told(caplog):
    load_rows(config({"source": "planted", "options": {"rows": 4}, "split": {"test": 0.5}}).data)
    assert "the options data.split.* change nothing" in caplog.text


def test_chosen_responses_of_the_training_side_only(tmp_path):
    file = tmp_path / "votes.jsonl"
    votes = [{"prompt": f"p{i}", "chosen": f"yes {i}", "rejected": "no", "user_id": "u"} for i in range(20)]
    file.write_text("\n".join(map(json.dumps, [*votes, votes[0]])))
    everything = {"source": str(file), "split": {"test": 0.0}}
    assert {row.completion for row in load_rows(config(everything).data)} == {f"yes {i}" for i in range(20)}
    assert len(load_rows(config(everything).data)) == 20  # the repeated vote counts once
    assert len(load_rows(config({"source": str(file), "split": {"test": 0.5}}).data)) < 13


def test_all_responses_tell_no_vote(tmp_path):
    votes = [{"prompt": f"p{i}", "chosen": f"yes {i}", "rejected": f"no {i}", "user_id": "u"} for i in range(9)]
    votes += [{"prompt": "p0", "chosen": "no 0", "rejected": "perhaps", "user_id": "v"}]
    turned = [v | {"chosen": v["rejected"], "rejected": v["chosen"]} for v in votes]
    found = []
    for name, rows in (("votes", votes), ("turned", turned)):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))
        found.append(load_rows(config({"source": str(file), "split": {"test": 0.5}}).data, "all"))
    assert found[0] == found[1]
    texts = [f"yes {i}" for i in range(9)] + [f"no {i}" for i in range(9)] + ["perhaps"]
    assert sorted(row.completion for row in found[0]) == sorted(texts)


def test_the_argument_model_learns_both_sides():
    recipe = Path(__file__).parents[2] / "recipes" / "convarg_sft.toml"
    options = load_config(SftConfig, recipe)
    rows = load_rows(options.data, options.responses)
    both = {(c.prompt, text) for c in load_comparisons(options.data).comparisons for text in (c.chosen, c.rejected)}
    assert len(rows) == len(set(rows))
    assert {(row.prompt, row.completion) for row in rows} == {pair for pair in both if pair[1].strip()}


def test_unknown_options_are_refused(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained)
    for new, match in (
        ({"architecture": "lama"}, "new.architecture"),
        ({"options": {"hiden_size": 32}}, "hiden_size"),
        ({"options": {"hidden_size": 30, "num_attention_heads": 4}}, "llama"),
    ):
        with pytest.raises(ConfigError, match=match):
            new_model(config(new=new).new, tokenizer)
    with pytest.raises(ConfigError, match="votes"):
        load_rows(config({"source": "planted", "options": {"votes": 3}}).data)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2"])
def test_new_models_fit_their_tokenizer(trained, architecture):
    tokenizer = AutoTokenizer.from_pretrained(trained)
    options = {"n_embd": 32, "n_layer": 1, "n_head": 2} if architecture == "gpt2" else TINY
    model = new_model(config(new={"architecture": architecture, "options": options}).new, tokenizer)
    assert model.get_input_embeddings().weight.shape == (len(tokenizer), 32)
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.dtype == torch.float32


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2", "gemma3_text"])
def test_a_model_of_which_nothing_is_said_is_small(trained, architecture, caplog):
    tokenizer = AutoTokenizer.from_pretrained(trained)
    with caplog.at_level("INFO", logger="prlhf"):
        model = new_model(NewModel(architecture=architecture), tokenizer)
    assert 1e6 < model.num_parameters() < 4e6
    assert f"a new {architecture} model of {model.num_parameters():,} parameters" in caplog.messages
    c = model.config
    assert (c.hidden_size, c.num_hidden_layers, c.max_position_embeddings) == (192, 4, 1024)
    assert c.tie_word_embeddings and getattr(c, "head_dim", 48) == 48 and getattr(c, "num_key_value_heads", 4) == 4
    assert model(torch.tensor([[1, 5, 2]])).logits.shape == (1, 3, len(tokenizer))


def test_one_size_leaves_the_others_small(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained)

    def sizes(architecture, **options):
        c = new_model(NewModel(architecture=architecture, options=options), tokenizer).config
        return c.hidden_size, c.num_hidden_layers, c.num_attention_heads, getattr(c, "head_dim", None)

    assert sizes("llama", hidden_size=64) == (64, 4, 4, 16)
    assert sizes("gpt2", n_embd=64) == sizes("gpt2", hidden_size=64) == (64, 4, 4, None)
    assert sizes("gemma3_text", num_attention_heads=2) == (192, 4, 2, 96)
    assert sizes("qwen3", head_dim=32, num_hidden_layers=2) == (192, 2, 4, 32)
    assert sizes("falcon", num_hidden_layers=1) == (192, 1, 4, 48)  # its head_dim is computed and cannot be set
    options = {"num_attention_heads": 6, "num_key_value_heads": 2}
    assert new_model(NewModel(options=options), tokenizer).config.num_key_value_heads == 2


@pytest.mark.parametrize("recipe", ["planted_sft", "convarg_sft"])
def test_recipes_say_every_size(trained, recipe):
    """The sizes of ours change nothing in them: config and weights are those of transformers alone."""
    new = load_config(SftConfig, Path(__file__).parents[2] / "recipes" / f"{recipe}.toml").new
    tokenizer = AutoTokenizer.from_pretrained(trained)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    plain = AutoConfig.for_model(new.architecture, **new.options, vocab_size=len(tokenizer), **ids)
    torch.manual_seed(3)
    expected = AutoModelForCausalLM.from_config(plain, dtype=torch.float32)
    torch.manual_seed(3)
    found = new_model(new, tokenizer)
    assert found.config.to_dict() == expected.config.to_dict()
    assert all(map(torch.equal, found.state_dict().values(), expected.state_dict().values()))


def test_a_large_model_is_warned_about(trained, caplog, monkeypatch):
    monkeypatch.setattr("prlhf.training.new_model.LARGE", 1000)
    new_model(config().new, AutoTokenizer.from_pretrained(trained))
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "large model" in said and "hidden_size" in said


def test_the_card_leaves_the_licence_to_the_owner(trained):
    assert "license" not in (trained / "README.md").read_text(encoding="utf8")


def test_the_bundled_model_is_small_and_whole():
    folder = BUNDLED["planted"]
    assert sum(file.stat().st_size for file in folder.rglob("*")) < 8 * 2**20
    rows = [SftRow(**row) for row in sft_rows(20, seed=9)]
    assert loss(folder, rows) < 0.6


def test_what_is_learned_and_left_out_is_counted(tmp_path, caplog):
    """By hand: 8 pairs, each twice; half of them held out; one tie and one empty response beside them."""
    votes = [{"prompt": f"p{i}", "chosen": f"yes {i}", "rejected": "no", "user_id": "u"} for i in range(8)] * 2
    votes += [
        {"prompt": "t", "chosen": "a", "rejected": "b", "tie": True},
        {"prompt": "e", "chosen": "a", "rejected": ""},
    ]
    file = tmp_path / "votes.jsonl"
    file.write_text("\n".join(map(json.dumps, votes)))
    with caplog.at_level("INFO", logger="prlhf"):
        rows = load_rows(config({"source": str(file), "split": {"test": 0.5}}).data)
        every = load_rows(config({"source": str(file), "split": {"test": 0.5}, "max_comparisons": 5}).data, "all")
    n = len(rows)
    said, all_said = (m for m in caplog.messages if "texts to learn from" in m)
    assert f"{n} texts to learn from; left out: " in said and f"{n} duplicates" in said
    held_out, others = (int(re.search(rf"(\d+) {what}", said)[1]) for what in ("held-out", "ties or with"))
    assert held_out + others + 2 * n == len(votes)
    # 16 + 4 texts: yes and no of 8 prompts, a, b, a; one is empty, and the second round repeats the first
    assert len(every) == 5
    assert "5 texts to learn from; left out: 1 empty, 16 duplicates, 14 more than data.max_comparisons" in all_said


def test_tokens_and_cuts_are_counted(base_folder, tmp_path, caplog):
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": "ab", "completion": "cd"}, {"prompt": "x" * 50, "completion": "answer"}]
    file.write_text("\n".join(map(json.dumps, rows)))
    options = config({"source": str(file)}, base=base_folder(), max_tokens=12, max_steps=1)
    with caplog.at_level("INFO", logger="prlhf"):
        sft(options, tmp_path / "model", progress=False)
    assert "1 of 2 texts were cut to 12 tokens" in caplog.text
    assert "18 tokens, 10 of them in completions" in caplog.text  # <s>abcd</s>, and 12; cd</s>, answer</s>


def test_options_of_reading_are_not_for_the_planted_texts():
    with pytest.raises(ConfigError, match=r"option data\.on_bad_row: it is for files"):
        load_rows(config({"source": "planted", "on_bad_row": "skip"}).data)


def test_the_loss_is_told_as_training_goes(base_folder, tmp_path, caplog, capsys):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": "ab", "completion": "c" * i}) for i in (1, 2, 3, 4)))
    options = config({"source": str(file)}, base=base_folder(), batch_size=2, epochs=2)
    with caplog.at_level("INFO", logger="prlhf"):
        sft(options, tmp_path / "model")
    told = [m for m in caplog.messages if m.startswith("step ")]
    assert len(told) == 4 and told[-1].startswith("step 4 of 4: loss ")
    assert "'loss'" not in capsys.readouterr().out  # the raw dictionaries of the Trainer
