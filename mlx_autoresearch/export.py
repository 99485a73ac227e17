"""A kept model as an mlx-lm model folder, whatever its architecture: `mlx_lm.generate` and `mlx_lm.server` run it.

    python -m mlx_autoresearch.export --tag nov24 --to stories

The folder holds no Python of the night: the architecture is the exported graph, and model.py is this project's own
`exported_model.py`, which runs any graph. It appears whole or not at all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_autoresearch import blas, compiler
from mlx_autoresearch.errors import AutoresearchError, file_trouble, run_command_line
from mlx_autoresearch.files import TEMPORARY_SUFFIX, flush_to_disk, put_in_place, remove_tree, sha256_of, write_json
from mlx_autoresearch.paths import runs_root
from mlx_autoresearch.settings import GRAPH_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from mlx_autoresearch.chosen_model import ChosenModel
    from mlx_autoresearch.exported_model import GraphReader

PROVENANCE_FILE, CARD_FILE = "provenance.json", "README.md"

CHAT_TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""What a chat says is taken as one text, which the model continues: it has learned stories, not turns."""

DESCRIPTION = """\
Write a model as an mlx-lm model folder: graph, tokenizer, config, and a model card with its scores and
where it comes from. `mlx_lm.generate` and `mlx_lm.server` run it with --trust-remote-code, which lets
them run the folder's model.py. That file is this project's own; no Python of the night is in the folder."""

EXAMPLES = """\
examples:
  python -m mlx_autoresearch.export --tag nov24 --to stories
  python -m mlx_autoresearch.export --tag nov24 --model baseline --to first
  mlx_lm.generate --model stories --trust-remote-code --prompt "Once upon a time"
  mlx_lm.server --model stories --trust-remote-code --port 8080

An earlier export in the same place is replaced; any other folder that is not empty is left alone."""


def export_model(chosen: ChosenModel, to: Path) -> Path:
    """Write `chosen` as an mlx-lm folder; returns its absolute path.

    Raises:
        AutoresearchError: the model can't be used, or something else lies at `to`.
        OSError: the folder can't be written; nothing of it is left.
    """
    from mlx_autoresearch.continuation import open_reader
    from mlx_autoresearch.judge import RefusedError

    to = Path(os.path.abspath(to))  # not resolved: a link to an earlier export is refused below
    require_free(to)
    try:
        reader, vocab_size = open_reader(chosen.graph)
    except RefusedError as error:
        raise AutoresearchError(f"{chosen.graph} can't be used: {error}. Take another --model.") from None
    with _written_whole(to) as folder:
        _write_model(chosen, folder, reader, vocab_size)
        _write_tokenizer(chosen.tokenizer, folder)
        _write_story(chosen, folder, to.name)
    return to


def require_free(to: Path) -> None:
    """Make sure that nothing is lost by writing to `to`.

    Raises:
        AutoresearchError: something is there that is no export.
    """
    if to.is_symlink() or (to.exists() and not to.is_dir()):
        raise AutoresearchError(f"{to} is there and is no folder; name another one with --to.")
    if to.is_dir() and any(to.iterdir()) and not (to / PROVENANCE_FILE).is_file():
        raise AutoresearchError(f"{to} is not empty and no earlier export; name another folder with --to.")


@contextmanager
def _written_whole(to: Path) -> Iterator[Path]:
    """A folder beside `to` that takes its place when the block ends well, and is gone otherwise."""
    new, old = to.with_name(to.name + TEMPORARY_SUFFIX), to.with_name(to.name + ".old" + TEMPORARY_SUFFIX)
    to.parent.mkdir(parents=True, exist_ok=True)
    if not to.exists() and old.exists():  # killed between the two renames below
        os.rename(old, to)
    for leftover in (new, old):
        remove_tree(leftover)
    try:
        new.mkdir()
        yield new
        for path in new.iterdir():
            with path.open("rb") as file:
                flush_to_disk(file.fileno())
        put_in_place(new, to, old)
    except BaseException:
        remove_tree(new)
        raise


def _write_model(chosen: ChosenModel, folder: Path, reader: GraphReader, vocab_size: int) -> None:
    from mlx_autoresearch import exported_model
    from mlx_autoresearch.handin import SCORE_ROWS
    from mlx_autoresearch.settings import CONTEXT
    from mlx_autoresearch.tokens.tokenizer import SEPARATOR_ID

    shutil.copyfile(chosen.graph, folder / exported_model.GRAPH_NAME)
    shutil.copyfile(chosen.folder / WEIGHTS_FILE, folder / WEIGHTS_FILE)
    shutil.copyfile(exported_model.__file__, folder / "model.py")
    config = {  # no model_type: transformers reads this too, and would warn of one that it doesn't know
        "model_file": "model.py",
        "vocab_size": vocab_size,
        "rows": SCORE_ROWS,
        "context": CONTEXT,
        "lengths": list(reader.lengths),
        "cached_lengths": [] if reader.cached is None else list(reader.cached.lengths),
        "bos_token_id": SEPARATOR_ID,
        "eos_token_id": SEPARATOR_ID,
    }
    write_json(folder / "config.json", config)


def _write_tokenizer(path: Path, folder: Path) -> None:
    """The tokenizer as transformers reads it: every text begins with the separator, as it does in training."""
    from tokenizers import decoders, processors

    from mlx_autoresearch.tokens.tokenizer import SEPARATOR, SEPARATOR_ID, open_tokenizer

    tokenizer = open_tokenizer(path)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SEPARATOR} $A", special_tokens=[(SEPARATOR, SEPARATOR_ID)]
    )
    # A sequence of one, because mlx-lm replaces a bare byte-level decoder by its own, which drops the first space of a
    # text: "Tom" and " ran" would not go together any more.
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel()])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SEPARATOR,
        "eos_token": SEPARATOR,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    write_json(folder / "tokenizer_config.json", settings)


def _write_story(chosen: ChosenModel, folder: Path, name: str) -> None:
    """provenance.json, and the model card made of it."""
    from mlx_autoresearch.model_card import model_card

    provenance = provenance_of(chosen, folder)
    write_json(folder / PROVENANCE_FILE, provenance)
    sources = [each.source for each in chosen.source_night.experiments if each.number == 0]
    baselines = (each for each in chosen.night.experiments if each.source in sources and each.scores)
    card = model_card(name, provenance, next(baselines, None), chosen.experiment)
    (folder / CARD_FILE).write_text(card, encoding="utf-8")


def provenance_of(chosen: ChosenModel, folder: Path) -> dict[str, Any]:
    """Where a model comes from, as JSON, with the SHA-256 of what lies in `folder` so far."""
    night, experiment = chosen.source_night, chosen.experiment
    original = next((each for each in night.experiments if each.source == experiment.source), experiment)
    return {
        "made_by": "mlx_autoresearch.export",
        "tag": night.root.name,
        "experiment": original.number,
        "description": original.proposal.description,
        "agent": original.proposal.agent,
        "commit": original.commit,
        "training_file_sha256": hashlib.sha256(experiment.source.encode()).hexdigest(),
        "identity": asdict(chosen.night.identity),
        "night_budget_seconds": night.identity.budget_seconds,
        "run": asdict(chosen.run),
        "scored_graph_sha256": sha256_of(chosen.folder / GRAPH_FILE),
        "files": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
    }


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mlx_autoresearch.export",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tag", required=True, help="name of the night")
    parser.add_argument(
        "--model",
        default="best",
        metavar="WHICH",
        help="best (default), baseline, longer (trained by mlx_autoresearch.longer), or the number of an experiment",
    )
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="the folder to make")
    return parser


def main() -> None:
    """Command line: see `build_parser`."""
    arguments = build_parser().parse_args()
    compiler.set_up()
    blas.load()  # both before anything imports mlx.core
    from mlx_autoresearch.chosen_model import choose_model

    chosen = choose_model(runs_root() / arguments.tag, arguments.model)
    print(f"Model: {chosen.sentence()}.")
    try:
        folder = export_model(chosen, arguments.to)
    except OSError as error:
        raise file_trouble(error, f"The folder {arguments.to} can't be written, and nothing of it is left") from None
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not config["cached_lengths"]:
        takes = "whole rows" if config["lengths"] else "whole batches of rows"
        print(
            f"Note: this graph takes {takes} only, so it writes slowly: its architecture has no key-value cache, or "
            "one that says something else than the model that was scored."
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"Written: {folder} ({size / 1e6:.1f} MB). Its card is README.md.")
    print(f'mlx_lm.generate --model {folder} --trust-remote-code --prompt "Once upon a time"')


if __name__ == "__main__":
    run_command_line(main)
