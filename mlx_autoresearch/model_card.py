"""The model card of an exported model: what it is, how it scored, where it comes from, how to run it."""

from __future__ import annotations

import shlex

from mlx_autoresearch.history import Experiment
from mlx_autoresearch.text import one_line


def model_card(name: str, provenance: dict, baseline: Experiment | None, experiment: Experiment) -> str:
    """README.md of the folder `name`, in Markdown.

    Args:
        name: name of the folder.
        provenance: what provenance.json says.
        baseline: the night's unchanged file, trained as long; None where there is none.
        experiment: the experiment whose run trained this model.
    """
    run, identity = provenance["run"], provenance["identity"]
    rows = [_score_row("the file that trained this model", experiment)]
    origin = "Its training file is the unchanged one of mlx-autoresearch."
    if baseline is None or experiment.source != baseline.source:
        origin = "Its training file is what a night of automatic experiments (mlx-autoresearch) came to."
    if baseline is not None and experiment.source != baseline.source:
        rows.insert(0, _score_row("the unchanged file", baseline))
    this_run = f"| this model, one run | {_bpb(run['val_bpb'])} | {_bpb(run['test_bpb'])} | 1 |"
    longer = provenance["night_budget_seconds"] != identity["budget_seconds"]
    trained = f"{identity['budget_seconds']:g} seconds" + (", longer than the night's runs" if longer else "")
    lines = [
        "---",
        "library_name: mlx",
        "pipeline_tag: text-generation",
        "tags:",
        "- mlx",
        "- mlx-autoresearch",
        "---",
        "",
        f"# {_cell(name)}",
        "",
        f"A small language model, {_count(run['parameters'])} parameters, trained from scratch for {trained} on one "
        f"machine. {origin} It continues "
        "text like its training text. It is no assistant, knows no facts, and nobody checked what it may say.",
        "",
        "## Run it",
        "",
        "```",
        f'mlx_lm.generate --model {shlex.quote(name)} --trust-remote-code --prompt "Once upon a time"',
        f"mlx_lm.server --model {shlex.quote(name)} --trust-remote-code",
        "```",
        "",
        "`--trust-remote-code` lets mlx-lm run `model.py`. That is mlx-autoresearch's own file, the same for every "
        f"export (SHA-256 `{provenance['files']['model.py']}`), and the only Python here. The architecture is "
        "`graph.mlxfn`, an exported MLX graph: data, not code. MLX does not check indices in it, so load "
        "it only from somebody you would take a program from. It reads windows of "
        f"{identity['context']} tokens; earlier text is out of its sight.",
        "",
        "`model.safetensors` holds the weights by name, as the training run saved them. `model.py` does not use it: "
        "the graph has its own.",
        "",
        "## Scores",
        "",
        "Bits per byte on held-out text; lower is better. Mean over the runs, ± the half-width of the 95 % interval.",
        "",
        f"| after {identity['budget_seconds']:g} s of training | validation | test | runs |",
        "|---|---|---|---|",
        *rows,
        this_run,
        "",
        "## Where it comes from",
        "",
        *(f"- {label}: {_cell(str(value))}" for label, value in _origin(provenance).items() if value is not None),
        "",
        "SHA-256 of every file, and all of this for programs, is in `provenance.json`.",
    ]
    return "\n".join(lines) + "\n"


def _origin(provenance: dict) -> dict[str, object]:
    identity = provenance["identity"]
    return {
        "night": provenance["tag"],
        "experiment": f"{provenance['experiment']} ({provenance['description']})",
        "proposed by": provenance["agent"] or None,
        "commit": provenance["commit"],
        "training file, SHA-256": provenance["training_file_sha256"],
        "dataset": f"{identity['dataset']} (fingerprint {identity['dataset_fingerprint']})",
        "budget": f"{identity['budget_seconds']:g} s a run",
        "machine": identity["machine"],
        "seed": provenance["run"]["seed"],
        "training steps": provenance["run"]["steps"],
        "training tokens": provenance["run"]["tokens"],
        "contract of the score": f"version {identity['harness']}",
    }


def _score_row(label: str, experiment: Experiment) -> str:
    interval = experiment.verdict.interval if experiment.verdict is not None else None
    width = "" if interval is None else f" ± {interval:.4f}"
    runs = len(experiment.scores)
    return f"| {label} | {_bpb(experiment.mean_bpb)}{width} | {_bpb(experiment.test_bpb)} | {runs} |"


def _bpb(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _count(value: int | None) -> str:
    return "an unknown number of" if value is None else f"{value:,}"


def _cell(text: str) -> str:
    """Text of others on one line, without what Markdown and HTML would take for markup."""
    line = one_line(text)
    return "".join("\\" + character if character in "\\`*_[]<>|#!&" else character for character in line)
