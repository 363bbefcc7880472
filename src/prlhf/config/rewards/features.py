"""What a reward model sees of a response: a union on `type`."""

from typing import Annotated, Literal

from pydantic import Field

from prlhf.config.base import Config

__all__ = ["FeaturesConfig", "Hidden", "Sentence", "Stored", "TfIdf"]


class _Features(Config):
    surface: bool = True
    """Beside the vectors a handful of surface features: lengths, words, sentences, formatting."""


class _Texts(_Features):
    prompt_product: bool = True
    """One more feature, the inner product with the prompt's vector, where there are several prompts and they have
    vectors; whether that is so is decided on the training comparisons."""


class Hidden(_Features):
    """Hidden states of a Hugging Face causal language model that reads the prompt and then the response, as a
    conversation where the tokenizer has a chat template."""

    type: Literal["hidden"] = "hidden"
    model: str
    """A folder or a hub id."""
    layer: int = -1
    """0 = the input embeddings, 1 = after the first layer; negative counts from the end: -1 = the last, as the output
    projection sees it."""
    pool: Literal["last", "mean"] = "last"
    """The state at the response's last token, or the mean over the response's tokens."""
    max_tokens: int = Field(1024, ge=8)
    """Of prompt and response together: a longer prompt loses tokens at its left, and what the response alone has more
    is cut at its right. How many were cut is logged."""
    batch_size: int = Field(32, ge=1)
    """Texts at a time; fewer where they are long."""
    chat_template: Literal["auto", "never"] = "auto"
    """`auto`: the tokenizer's chat template where it has one; `never`: plain text."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the weights; `auto`: as they are stored. Features are float32 whatever this says."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: the GPU where there is one."""


class Sentence(_Texts):
    """A model of sentence-transformers (the extra `sentence`)."""

    type: Literal["sentence"] = "sentence"
    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    """A folder or a hub id."""
    batch_size: int = Field(64, ge=1)
    """Texts at a time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: the GPU where there is one."""


class Stored(_Texts):
    """A Parquet file of embeddings: columns `text`, `embedding`, and optionally `kind` (`response`, `prompt`, `user`).

    A conversation is looked up by its text (`prlhf.types.prompt_text`)."""

    type: Literal["stored"] = "stored"
    path: str
    """The file."""


class TfIdf(_Texts):
    """Words, where there is nothing else: TF-IDF of words and pairs of words in the training comparisons."""

    type: Literal["tfidf"] = "tfidf"
    width: int = Field(256, ge=1)
    """At most so many features are kept (truncated SVD)."""


FeaturesConfig = Annotated[TfIdf | Stored | Sentence | Hidden, Field(discriminator="type")]
"""What a reward model sees of a response."""
