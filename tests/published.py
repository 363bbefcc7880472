"""Rows and files that follow the published schemas of TL;DR, P-SOUPS and PRISM exactly, with made-up content."""

import json

from prlhf.data.sources.psoups import PROFILES

SUPERVISED = "sup4_t.7"


def tldr_row(
    worker, side="train", texts=(" short one", " a longer one"), choice=0, policies=(SUPERVISED, SUPERVISED), **info
):
    """One row as published; a post of Reddit."""
    post = {"id": "t3_a", "post": f"Post by {worker}.", "title": "A title", "subreddit": "pets"}
    return {
        "info": {**post, "site": None, "article": None, **info},
        "summaries": [{"text": t, "policy": p, "note": None} for t, p in zip(texts, policies, strict=True)],
        "choice": choice,
        "worker": worker,
        "batch": "batch3",
        "split": side,
        "extra": {"confidence": None},
    }


def write_tldr(folder, rows, name="comparisons.jsonl"):
    (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf8")
    return str(folder)


WISHES = {  # as the release has them: a sentence at the end of every request
    "P1A": "Answer so that a child of ten understands it.",
    "P1B": "Answer so that only a PhD student of the field understands it.",
    "P2A": "Answer briefly.",
    "P2B": "Answer at length. Leave nothing out.",
    "P3A": "Answer like a friend, and be funny!",
    "P3B": "Answer in an unfriendly manner.",
}
QUESTIONS = [
    f"{verb} {noun}?" for verb in ("What is", "How old is", "Who made") for noun in ("rice", "Rome", "the sun")
]


def psoups_rows(profile, questions=QUESTIONS):
    return [
        {"user_input": f"{q} {WISHES[profile]}", "completion_a": f"{profile} {q}", "completion_b": "No."}
        for q in questions
    ]


def write_psoups(folder, **others):
    """The six files in `rm_training`; `others` replace the rows of single ones."""
    (folder / "rm_training").mkdir()
    for profile in PROFILES:
        content = others.get(profile, psoups_rows(profile))
        (folder / "rm_training" / f"{profile}.json").write_text(json.dumps(content), encoding="utf8")
    return str(folder)


def person(name, completed=1, **answers):
    """A row of survey.jsonl."""
    return {
        "user_id": name,
        "survey_only": completed == 0,
        "num_completed_conversations": completed,
        "self_description": "I value\nhonesty.",
        "system_string": "Be honest.",
        "stated_prefs": {"values": 50, "creativity": 90, "fluency": 20, "factuality": 100, "safety": 90,
                         "helpfulness": None, "other": 100, "other_text": "x"},
        "order_stated_prefs": {"values": 2, "creativity": 3, "fluency": 1, "factuality": 4, "safety": 5,
                               "helpfulness": 6, "other": None},
        "age": "25-34 years old",
        "gender": "Female",
        "education": "University Bachelors Degree",
        "employment_status": "Working full-time",
        "marital_status": "Never been married",
        "english_proficiency": "Native speaker",
        "religion": {"self_described": "none", "categorised": "Non-religious", "simplified": "No Affiliation"},
        "ethnicity": {"self_described": "white", "categorised": "White", "simplified": "White"},
        "location": {"birth_country": "Ireland", "birth_countryISO": "IRL", "birth_region": "Europe",
                     "birth_subregion": "Northern Europe", "reside_country": "United Kingdom",
                     "reside_region": "Europe", "reside_subregion": "Northern Europe", "reside_countryISO": "GBR",
                     "same_birth_reside_country": "No", "special_region": "UK"},
        "included_in_balanced_subset": True,
        **answers,
    }  # fmt: skip


def said(turn, content):
    return {"turn": turn, "role": "user", "content": content}


def reply(turn, content, chosen=False, place=0):
    model = {"model_name": "m", "model_provider": "p", "score": 50, "if_chosen": chosen, "within_turn_id": place}
    return {"turn": turn, "role": "model", "content": content, **model}


HISTORY = [
    said(0, "Hello?"),
    reply(0, "Hi."),
    reply(0, "Good day.", True),
    reply(0, "What?"),
    reply(0, "Ho."),
    said(1, "How are you?"),
    reply(1, "Well.", True),
    reply(1, "So so."),
]


def talk(name, user, history=HISTORY):
    """A row of conversations.jsonl."""
    return {
        "conversation_id": name,
        "user_id": user,
        "opening_prompt": "Hello?",
        "open_feedback": "",
        "conversation_type": "unguided",
        "conversation_turns": 2,
        "conversation_history": history,
        "performance_attributes": {"fluency": 50},
        "choice_attributes": {"fluency": None},
        "generated_datetime": "2023-11-25 10:00:00",
        "timing_duration_s": 60.0,
        "included_in_balanced_subset": True,
    }


def write_prism(folder, survey, talks):
    for name, rows in (("survey", survey), ("conversations", talks)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf8")
    return str(folder)
