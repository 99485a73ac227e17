"""The `local` agent: an mlx-lm model on this machine, so that a night needs no network and no key.

The model lives in a process of its own (`local_worker`), started for every proposal: the machine can't think and
train at once. Before `propose` returns that process is gone and its memory is back, or the training would start in a
squeezed machine. What fits is found out before anything is downloaded or loaded.
Notable: time to load the model is paid for every proposal (its files are in the system's file cache by then).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects
from rich.console import Console

from mlx_autoresearch.agents import AgentOptions, AgentUnavailableError, AgentUnusableError, NoProposalError
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.briefing_text import stable_text
from mlx_autoresearch.agents.conversation import ANSWERS, KEPT_CHARACTERS, Answer, Message, Partner, propose_edit
from mlx_autoresearch.agents.local_worker import MEMORY, MODEL
from mlx_autoresearch.launch import launch_command
from mlx_autoresearch.machine import GIB, main_memory_bytes
from mlx_autoresearch.memory import available_memory_bytes
from mlx_autoresearch.process import child_environment, kill_group, tail
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.spending import Usage
from mlx_autoresearch.temporary import temporary_folder


@dataclass(frozen=True)
class KnownModel:
    """A model that writes usable edits.

    Attributes:
        name: its repository on the Hub.
        weights_bytes: size of its weights, about.
        machine_bytes: main memory from which on it is the default; None for one that is only suggested.
    """

    name: str
    weights_bytes: float
    machine_bytes: int | None


KNOWN_MODELS = (
    KnownModel("mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit", 17.2e9, 32 * GIB),
    KnownModel("mlx-community/Qwen2.5-Coder-7B-Instruct-4bit", 4.3e9, 16 * GIB),
    KnownModel("mlx-community/Qwen2.5-Coder-3B-Instruct-4bit", 1.7e9, 0),
    KnownModel("mlx-community/Qwen2.5-Coder-1.5B-Instruct-4bit", 0.9e9, None),
)
"""The largest first."""

WEIGHTS_FACTOR, MARGIN_BYTES = 1.2, 1.25 * GIB
"""Memory that a model takes: its weights times the factor, and for keys, values and activations the margin."""

FILE_PATTERNS = ("*.json", "model*.safetensors", "tokenizer.model", "*.tiktoken", "*.txt", "*.jsonl", "*.jinja")
"""Files of a model's repository that mlx-lm reads; no Python, which would be a stranger's."""

CONTEXT_TOKENS = 28_672
"""Prompt and answer together at most: a longer context costs memory and minutes."""

ANSWER_TOKENS = 3_072
TEMPERATURE, TOP_P = 0.7, 0.8

CHARACTERS_PER_TOKEN = 3.0
"""Of code, at the least; the worker counts exactly and refuses what is too long."""

LEAST_BRIEFING_CHARACTERS = 2_000

LOAD_SECONDS, ANSWER_SECONDS, STOP_SECONDS = 600.0, 900.0, 10.0

MEMORY_SECONDS, MEMORY_POLL_SECONDS = 30.0, 0.2

MEMORY_TOLERANCE_SHARE, MEMORY_TOLERANCE_BYTES = 0.05, GIB // 2
"""So much less may be available afterwards than before, whichever is more: other programs take some, too."""

LINE_BYTES = 8 << 20

DISK_MARGIN_BYTES = 1e9

WAYS_OUT = (
    "Try again with a network (files that are complete are kept), set HF_ENDPOINT to a mirror of the Hub, give a "
    "folder with an mlx-lm model as --model, or take --agent search, which needs neither network nor key."
)


class LocalAgent:
    """Proposes edits by a language model on this machine."""

    name = "local"
    thinks_ahead = False

    def __init__(self, options: AgentOptions) -> None:
        """Find the model, or download it with a progress bar.

        Raises:
            AgentUnusableError: there is no such model, it can't be downloaded, or it doesn't fit in memory.
        """
        self._ledger, self._seed, self._say = options.ledger, options.seed, options.say
        self._model = options.model or default_model(main_memory_bytes())
        self._folder = find_model(self._model) or download_model(self._model)
        self._weights_bytes = weights_bytes(self._folder)
        if reason := shortage(self._model, self._weights_bytes):
            raise AgentUnusableError(reason)
        self._context = context_tokens(self._folder)
        self._asked = 0
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def propose(self, briefing: Briefing) -> Proposal:
        """The next edit; see `agents.Agent`. The model's process is gone and its memory is back before it returns."""
        if reason := shortage(self._model, self._weights_bytes):
            raise AgentUnavailableError(reason)
        budget = self._budget_characters(briefing)
        before = available_memory_bytes()
        try:
            with self._running() as worker:
                self._expect(worker.request(None, LOAD_SECONDS))
                complete = partial(self._complete, worker)
                return propose_edit(Partner(self.name, self._model, complete, self._ledger, budget), briefing)
        finally:
            self._wait_for_memory(before)

    def close(self) -> None:
        """Kill the model's process; a `propose` in another thread ends with AgentUnavailableError."""
        self._closed.set()
        with self._lock:
            if self._worker is not None:
                self._worker.kill("it was told to end")

    @contextmanager
    def _running(self) -> Iterator[Worker]:
        """The model's process while the block runs."""
        with temporary_folder(Path(tempfile.gettempdir()), "mlx-autoresearch-local") as scratch:
            with self._lock:
                if self._closed.is_set():
                    raise AgentUnavailableError("The local model was told to end.")
                try:
                    worker = self._worker = Worker(worker_command(self._folder), scratch)
                except OSError as error:
                    raise AgentUnavailableError(f"The local model's process can't be started ({error}).") from None
            try:
                yield worker
            except KeyboardInterrupt:
                worker.kill("it was interrupted")
                raise
            finally:
                worker.stop()
                with self._lock:
                    self._worker = None

    def _complete(self, worker: Worker, messages: list[Message]) -> Answer:
        self._asked += 1
        request = {
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": ANSWER_TOKENS,
            "context": self._context,
            "temperature": TEMPERATURE,
            "top_p": TOP_P,
            "seed": self._seed * 1_000_003 + self._asked,
        }
        line = self._expect(worker.request(request, ANSWER_SECONDS))
        usage = Usage(input_tokens=line["prompt_tokens"], output_tokens=line["completion_tokens"], dollars=0.0)
        return Answer(line["text"], usage, finished=line["finish_reason"] == "stop")

    def _expect(self, line: dict[str, Any]) -> dict[str, Any]:
        """The line, unless it tells of an error."""
        if "error" not in line:
            return line
        if line["kind"] == MODEL:
            raise AgentUnusableError(
                f"{self._model} can't be loaded ({line['error']}); choose another --model, one that mlx-lm knows."
            )
        if line["kind"] == MEMORY:
            raise AgentUnavailableError(f"Memory ran short while {self._model} was at work ({line['error']}).")
        raise NoProposalError(f"{self._model} could not answer: {line['error']}")

    def _budget_characters(self, briefing: Briefing) -> int:
        """Characters for the changing part of the briefing, so that all answers of a conversation fit in the context.

        Raises:
            AgentUnusableError: the context is too small for any briefing.
            NoProposalError: it is too small for a repair, whose briefing holds a second file.
        """
        kept = (ANSWERS - 1) * KEPT_CHARACTERS
        room = int((self._context - ANSWER_TOKENS) * CHARACTERS_PER_TOKEN) - len(stable_text(briefing)) - kept
        if room < LEAST_BRIEFING_CHARACTERS:
            raise AgentUnusableError(
                f"The context of {self._model} ({self._context:,} tokens) is too small for the briefing and an answer; "
                "choose another --model, or make train_mlx.py, program.md and ideas.md shorter."
            )
        if briefing.repair is not None and room < LEAST_BRIEFING_CHARACTERS + len(briefing.base):
            raise NoProposalError(f"the context of {self._model} has no room for the file that should be mended")
        return room

    def _wait_for_memory(self, before: int | None) -> None:
        """Wait until about as much memory is available as `before` the model was loaded, and say so if it isn't.

        The proposal is paid for by then, and what holds the memory is another program.
        """
        tolerance = max(MEMORY_TOLERANCE_BYTES, MEMORY_TOLERANCE_SHARE * (main_memory_bytes() or 0))
        deadline = time.monotonic() + MEMORY_SECONDS
        while before is not None and (now := available_memory_bytes()) is not None and now < before - tolerance:
            if self._closed.is_set():
                return
            if time.monotonic() >= deadline:
                self._say(
                    f"The process of {self._model} is gone, but {gigabytes(now)} of memory are available where there "
                    f"were {gigabytes(before)} before it: another program took it, and training may be slower."
                )
                return
            time.sleep(MEMORY_POLL_SECONDS)


class Worker:
    """A language model in a process of its own, and the lines that go to and fro."""

    def __init__(self, command: list[str], scratch: Path) -> None:
        """Start `command` in the folder `scratch`, where its log goes as well."""
        self._log = scratch / "worker.log"
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=scratch,
                env=child_environment({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}),
                start_new_session=True,
            )
        self._killed_because = ""

    def request(self, line: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
        """Send a line, unless it is None, and return the one that comes back within so many seconds.

        A process that takes longer is killed, which ends reading and writing here alike.

        Raises:
            AgentUnavailableError: the process ended, or was killed.
        """
        timer = threading.Timer(seconds, self.kill, [f"it did not answer within {seconds:g} s"])
        timer.start()
        try:
            if line is not None:
                self._child.stdin.write(json.dumps(line).encode() + b"\n")
                self._child.stdin.flush()
            while raw := self._child.stdout.readline(LINE_BYTES):
                if (found := worker_line(raw)) is not None:
                    return found
        except OSError:
            pass  # a broken pipe: what became of the process is said below
        finally:
            timer.cancel()
        with suppress(subprocess.TimeoutExpired):  # its output ended; its status is worth a moment
            self._child.wait(1.0)
        raise AgentUnavailableError(self._obituary())

    def kill(self, reason: str) -> None:
        """End the process at once, from any thread."""
        self._killed_because = self._killed_because or reason
        kill_group(self._child)

    def stop(self) -> None:
        """Let the process end by itself, and kill what is left of it; it is gone afterwards."""
        with suppress(OSError):
            self._child.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(STOP_SECONDS)
        kill_group(self._child)
        self._child.stdout.close()

    def _obituary(self) -> str:
        words = " ".join(tail(self._log, 500).split())
        last = f" The last it said: {words}" if words else ""
        if self._killed_because:
            return f"The local model's process was killed: {self._killed_because}.{last}"
        status = self._child.returncode
        ended = "closed its output" if status is None else f"ended with status {status}"
        return f"The local model's process {ended}.{last}"


def worker_command(folder: Path) -> list[str]:
    """The command that starts the process of the model in `folder`."""
    return launch_command(["-m", "mlx_autoresearch.agents.local_worker", "--model", str(folder)])


def worker_line(raw: bytes) -> dict[str, Any] | None:
    """An answer of the worker; None for anything else that got into its output."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and {"ready", "text", "error"} & line.keys() else None


def default_model(machine_bytes: int | None) -> str:
    """The model for a machine with so much main memory, the smallest where that is unknown."""
    memory = machine_bytes or 0
    return next(m.name for m in KNOWN_MODELS if m.machine_bytes is not None and memory >= m.machine_bytes)


def needed_bytes(weights: float) -> float:
    """Memory that a model with so many bytes of weights takes while it answers."""
    return WEIGHTS_FACTOR * weights + MARGIN_BYTES


def shortage(model: str, weights: float) -> str | None:
    """Why a model with so many bytes of weights does not fit in memory now, and what to do; None when it fits."""
    available = available_memory_bytes()
    if available is None or needed_bytes(weights) <= available:
        return None
    fitting = [known.name for known in KNOWN_MODELS if needed_bytes(known.weights_bytes) <= available]
    smaller = f"take --model {fitting[0]}" if fitting else "take --agent search, which needs no model"
    return (
        f"{model} needs about {gigabytes(needed_bytes(weights))} of memory and {gigabytes(available)} are available: "
        f"close other programs, or {smaller}."
    )


def find_model(model: str) -> Path | None:
    """The folder of a model: `model` itself, or that of a repository of the Hub that was downloaded before.

    Raises:
        AgentUnusableError: a folder was given that holds no mlx-lm model.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not is_whole(folder):
            raise AgentUnusableError(
                f"{folder} holds no whole mlx-lm model: config.json and all its model*.safetensors belong there."
            )
        return folder.absolute()
    try:
        cached = Path(snapshot_download(model, local_files_only=True, allow_patterns=list(FILE_PATTERNS)))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError:
        raise AgentUnusableError(f"{model} is neither a folder nor the name of a model on the Hub.") from None
    return cached if is_whole(cached) else None


def is_whole(folder: Path) -> bool:
    """Whether a folder has a configuration and all the weights that its index lists, or any where there is no index."""
    index = folder / "model.safetensors.index.json"
    names = {file.name for file in folder.glob("model*.safetensors")}
    try:
        listed = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()) if index.exists() else names
    except (ValueError, KeyError, AttributeError, TypeError):
        return False
    return (folder / "config.json").exists() and bool(names) and listed <= names


def download_model(model: str) -> Path:
    """Download a model from the Hub into its usual cache, after saying how large it is.

    Raises:
        AgentUnusableError: no network, an unknown name, a full disk, or a model that would not fit in memory.
    """
    if constants.is_offline_mode():
        raise AgentUnusableError(f"{model} is not on this machine and HF_HUB_OFFLINE is set. {WAYS_OUT}")
    try:
        size = repository_bytes(model)
        if reason := shortage(model, size):
            raise AgentUnusableError(reason)
        check_disk(model, size)
        Console(stderr=True).print(f"Downloading {model}, {gigabytes(size)}, once.", highlight=False)
        folder = Path(snapshot_download(model, allow_patterns=list(FILE_PATTERNS)))
    except RepositoryNotFoundError:
        raise AgentUnusableError(
            f"{model} is neither a folder nor a model that the Hub at {constants.ENDPOINT} shows: check the name, and "
            "HF_TOKEN where it is not public."
        ) from None
    except (httpx2.HTTPError, OSError, ValueError) as error:  # the Hub's own errors are among the first two
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise AgentUnusableError(f"{model} could not be downloaded ({reason}). {WAYS_OUT}") from None
    if not is_whole(folder):
        raise AgentUnusableError(
            f"{model} has no weights that mlx-lm reads (model*.safetensors); choose another --model."
        )
    return folder


def repository_bytes(model: str) -> int:
    """Size of the files of a model on the Hub that mlx-lm reads."""
    files = {
        f.rfilename: f.size or 0 for f in HfApi().model_info(model, files_metadata=True, timeout=20).siblings or []
    }
    return sum(files[name] for name in filter_repo_objects(files, allow_patterns=list(FILE_PATTERNS)))


def check_disk(model: str, size: int) -> None:
    """Refuse a download that would fill the disk.

    Raises:
        AgentUnusableError: too little is free where the Hub's cache lives.
    """
    cache = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < size + DISK_MARGIN_BYTES:
        raise AgentUnusableError(
            f"{model} takes {gigabytes(size)} in {cache}, where {gigabytes(free)} are free. Free space, or set HF_HOME "
            "to a folder on another disk."
        )


def weights_bytes(folder: Path) -> int:
    """Size of a model's weights on disk, which is about what they take in memory."""
    return sum(file.stat().st_size for file in folder.glob("model*.safetensors"))


def context_tokens(folder: Path) -> int:
    """Tokens of prompt and answer together: what the model was made for, at most `CONTEXT_TOKENS`."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        limits = [part.get("max_position_embeddings") for part in (config, config.get("text_config") or {})]
    except (OSError, ValueError, AttributeError):
        return CONTEXT_TOKENS
    return min([CONTEXT_TOKENS, *(limit for limit in limits if isinstance(limit, int))])


def gigabytes(size: float) -> str:
    """A number of bytes for a person."""
    return f"{size / 1e9:.1f} GB"
