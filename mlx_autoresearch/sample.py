"""Text from a trained model, by its exported graph alone, so that any architecture of the night can be read.

    python -m mlx_autoresearch.sample "Once upon a time"

The graph takes rows of CONTEXT tokens, so a text is continued by filling the row up on the right: a causal model can't
see the filling. That costs a whole row for every token, which is a second or two a sentence on a small machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.files import read_json
from mlx_autoresearch.paths import runs_root

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def continue_text(
    graph, tokenizer, prompt: str, length: int, temperature: float, top_p: float, seed: int
) -> Iterator[str]:
    """Yield the continuation of `prompt` piece by piece, until the model ends the text or `length` tokens are there.

    Args:
        graph: function of int32 tokens (SCORE_ROWS, CONTEXT) to logits (SCORE_ROWS, CONTEXT, V).
        tokenizer: the model's tokenizer.
        prompt: text to continue; empty for a text from its beginning.
        length: most tokens to add.
        temperature: 0 takes the likeliest token, 1 samples from the model as it is.
        top_p: sample among the likeliest tokens whose probabilities reach this sum.
        seed: seed of the sampling.
    """
    import mlx.core as mx
    import numpy as np

    from mlx_autoresearch.handin import SCORE_ROWS
    from mlx_autoresearch.settings import CONTEXT
    from mlx_autoresearch.tokens.tokenizer import SEPARATOR_ID

    rng = np.random.default_rng(seed)
    tokens = [SEPARATOR_ID, *tokenizer.encode(prompt, add_special_tokens=False).ids]
    shown = tokenizer.decode(tokens[1:])
    for _ in range(length):
        recent = tokens[-CONTEXT:]
        rows = np.full((SCORE_ROWS, CONTEXT), SEPARATOR_ID, dtype=np.int32)
        rows[0, : len(recent)] = recent
        logits = np.array(graph(mx.array(rows))[0, len(recent) - 1].astype(mx.float32), dtype=np.float64)
        token = choose_token(logits, temperature, top_p, rng)
        if token == SEPARATOR_ID:
            return
        tokens.append(token)
        text = tokenizer.decode(tokens[1:])
        if not text.endswith("\ufffd"):  # a character whose bytes are not complete yet waits for the next token
            yield text[len(shown) :]
            shown = text


def choose_token(logits, temperature: float, top_p: float, rng) -> int:
    """One token id from float64 logits (V,) by temperature and nucleus sampling (Holtzman et al., 2020)."""
    import numpy as np

    if temperature <= 0:
        return int(logits.argmax())
    scaled = (logits - logits.max()) / temperature
    probabilities = np.exp(scaled)
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities)
    before = np.cumsum(probabilities[order]) - probabilities[order]
    nucleus = order[before < top_p]
    return int(rng.choice(nucleus, p=probabilities[nucleus] / probabilities[nucleus].sum()))


def find_graph(tag: str | None, graph: str | None) -> Path:
    """The graph to sample from: the one named, the best of a tag, or the newest of all that are under runs/.

    Raises:
        AutoresearchError: there is none.
    """
    if graph is not None:
        path = Path(graph)
        path = path / "model.mlxfn" if path.is_dir() else path
        if not path.is_file():
            raise AutoresearchError(f"There is no model at {path}; name a model.mlxfn or a folder that holds one.")
        return path
    pattern = f"{tag}/best/model.mlxfn" if tag else "*/best/model.mlxfn"
    found = [*runs_root().glob(pattern), *([] if tag else runs_root().glob("by-hand/*/model.mlxfn"))]
    if not found:
        where = f"the tag {tag!r}" if tag else "any run"
        raise AutoresearchError(
            f"There is no trained model of {where} under {runs_root()}; "
            "train one with `python train_mlx.py` or `python -m mlx_autoresearch.loop`."
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def tokenizer_beside(graph: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer that a model was trained with: its copy in best/, or that of the dataset its run names.

    Raises:
        AutoresearchError: neither is there.
    """
    from mlx_autoresearch.dataset import open_dataset
    from mlx_autoresearch.tokens.tokenizer import open_tokenizer

    copy, settings = graph.with_name("tokenizer.json"), graph.with_name("run.json")
    if copy.is_file():
        return open_tokenizer(copy)
    if settings.is_file():
        return open_dataset(read_json(settings)["dataset"]).tokenizer(vocab_size)
    raise AutoresearchError(f"Beside {graph} there is neither tokenizer.json nor run.json, so its tokens mean nothing.")


def main() -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m mlx_autoresearch.sample", description="Let a trained model continue a text."
    )
    parser.add_argument("prompt", nargs="?", default="Once upon a time", help="text to continue (default: %(default)r)")
    parser.add_argument("--tag", help="take the best model of this night (default: the newest model there is)")
    parser.add_argument("--graph", help="take this model.mlxfn, or the one in this folder")
    parser.add_argument("--length", type=int, default=100, help="most tokens to add (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.7, help="0 is greedy (default: %(default)s)")
    parser.add_argument("--top-p", type=float, default=0.95, help="nucleus of the sampling (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling (default: %(default)s)")
    arguments = parser.parse_args()

    from mlx_autoresearch import blas

    blas.load()  # before anything imports mlx.core
    from mlx_autoresearch.judge import RefusedError
    from mlx_autoresearch.scorer import import_graph

    path = find_graph(arguments.tag, arguments.graph)
    try:
        graph, vocab_size = import_graph(path)
    except RefusedError as error:
        raise AutoresearchError(f"{path} can't be used: {error}.") from None
    tokenizer = tokenizer_beside(path, vocab_size)
    print(arguments.prompt, end="", flush=True)
    sampling = (arguments.length, arguments.temperature, arguments.top_p, arguments.seed)
    for piece in continue_text(graph, tokenizer, arguments.prompt, *sampling):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    run_command_line(main)
