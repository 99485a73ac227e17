"""The process in which a language model of the `local` agent lives: `python -m mlx_autoresearch.agents.local_worker`.

It loads an mlx-lm model from a folder, says so, then answers until its input ends; with it goes the model's memory.

    standard output, a JSON object a line    {"ready": true}
    standard input                           {"messages": [...], "max_tokens": 3072, "context": 28672, ...}
    standard output                          {"text": "...", "finish_reason": "stop", "prompt_tokens": 9120, ...}
    or where it can't load or can't answer   {"error": "what happened", "kind": "model"}

Notable: whatever libraries print goes to standard error, so that it can't be taken for an answer. The network is not
used. `--model` is a folder, never an address.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from mlx_autoresearch.launch import failure_class
from mlx_autoresearch.records import OUT_OF_MEMORY

MODEL, MEMORY, PROMPT, GENERATION = "model", "memory", "prompt", "generation"
"""Kinds of errors: the folder holds no model that can be loaded, memory is short, the prompt is too long for the
context, anything else that went wrong while answering."""


class PromptError(Exception):
    """The prompt leaves no room for an answer."""


def private_output() -> TextIO:
    """Standard output for answers alone: from now on all that anybody prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def error_line(error: Exception, otherwise: str) -> dict[str, str]:
    """What is said about an exception; `otherwise` is its kind unless memory or the prompt's length explain it."""
    kind = MEMORY if failure_class(error) == OUT_OF_MEMORY else otherwise
    kind = PROMPT if isinstance(error, PromptError) else kind
    return {"error": f"{type(error).__name__}: {error}"[:2000], "kind": kind}


def prompt_tokens(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    """A conversation as tokens, in the form that the model was trained on as far as its tokenizer tells.

    Some chat templates know no system message: it goes in front of the first user message then. Without any template
    the texts stand one after the other.
    """
    if tokenizer.has_chat_template:
        system, user, *rest = messages
        merged = {"role": "user", "content": f"{system['content']}\n\n{user['content']}"}
        for variant in (messages, [merged, *rest]):
            try:
                return list(tokenizer.apply_chat_template(variant, add_generation_prompt=True))
            except Exception as error:  # a template raises whatever it likes
                print(f"chat template: {type(error).__name__}: {error}", file=sys.stderr)
    return list(tokenizer.encode("\n\n".join(message["content"] for message in messages) + "\n\n"))


def answer(model: Any, tokenizer: Any, request: dict[str, Any]) -> dict[str, Any]:
    """One answer.

    Raises:
        PromptError: prompt and answer together are longer than the context.
    """
    prompt = prompt_tokens(tokenizer, request["messages"])
    room = request["context"] - len(prompt)
    if room < request["max_tokens"]:
        raise PromptError(
            f"the prompt has {len(prompt):,} tokens, so an answer of {request['max_tokens']:,} goes beyond the "
            f"context of {request['context']:,}"
        )
    import mlx.core as mx
    from mlx_lm import stream_generate
    from mlx_lm.sample_utils import make_sampler

    mx.random.seed(request["seed"])
    sampler = make_sampler(temp=request["temperature"], top_p=request["top_p"])
    text, last = "", None
    for last in stream_generate(model, tokenizer, prompt, max_tokens=request["max_tokens"], sampler=sampler):
        text += last.text
    return {
        "text": text,
        "finish_reason": last.finish_reason,
        "prompt_tokens": last.prompt_tokens,
        "completion_tokens": last.generation_tokens,
    }


def main() -> None:
    """Command line: see the top of this file."""
    answers = private_output()

    def say(line: dict[str, Any]) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True, help="folder of an mlx-lm model")
    folder = parser.parse_args().model
    try:
        from mlx_lm import load

        model, tokenizer = load(str(folder))
    except Exception as error:  # whatever a foreign model's files make libraries raise
        say(error_line(error, MODEL))
        sys.exit(1)
    say({"ready": True})
    for line in sys.stdin:
        try:
            say(answer(model, tokenizer, json.loads(line)))
        except Exception as error:
            say(error_line(error, GENERATION))


if __name__ == "__main__":
    main()
