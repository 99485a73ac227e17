"""The local agent: a real worker with a tiny random model, stand-ins for all that can go wrong, memory, downloads."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlx.core as mx
import pytest
from entries import entry_of
from huggingface_hub import constants
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from waiting import wait_until

from mlx_autoresearch.agents import (
    AgentOptions,
    AgentUnavailableError,
    AgentUnusableError,
    NoProposalError,
    SpendingLimitError,
    local,
    local_worker,
)
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.local import LocalAgent
from mlx_autoresearch.machine import GIB
from mlx_autoresearch.records import CRASH, KEEP
from mlx_autoresearch.spending import Ledger, PriceTable, SpendingLimits

SOURCE = """from prepare import hand_in, run

RATE = 0.15


def build_model():
    return RATE


def main():
    hand_in(build_model())


run(main)
"""

GOOD = "DESCRIPTION: lower rate\n<<<<<<< SEARCH\nRATE = 0.15\n=======\nRATE = 0.05\n>>>>>>> REPLACE\n"

PRELUDE = """import json, os, signal, sys, time
def say(**line): print(json.dumps(line), flush=True)
def answer(text): say(text=text, finish_reason="stop", prompt_tokens=100, completion_tokens=20)
open({pid!r}, "w").write(str(os.getpid()))
"""

READY_AND_GOOD = f"say(ready=True)\nfor line in sys.stdin: answer({GOOD!r})\n"


def brief(**changes: object) -> Briefing:
    history = [entry_of(0, None, SOURCE, "baseline", KEEP, 2.0)]
    values = {"source": SOURCE, "incumbent": 0, "incumbent_bpb": 2.0, "noise": 0.01, "history": history}
    return Briefing(**{"program": "Lower val_bpb.", "machine_class": 0, "budget_seconds": 300.0, **values, **changes})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "spending.jsonl", PriceTable("2026-11-25", {}))


@pytest.fixture
def no_model(tmp_path: Path) -> Path:
    """A folder that passes for a model's as long as nobody loads it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"max_position_embeddings": 32768}')
    (folder / "model.safetensors").write_bytes(b"x" * 1000)
    return folder


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama of two layers with random weights, a byte-level tokenizer and a chat template."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([SOURCE, local_worker.__doc__, local.__doc__], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = {
        "model_type": "llama",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "rms_norm_eps": 1e-5,
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": 16384,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens": (config["vocab_size"], 32), "model.norm": (32,)}
    for layer in ("model.layers.0", "model.layers.1"):
        shapes |= {f"{layer}.self_attn.{name}_proj": (32, 32) for name in "qkvo"}
        shapes |= {f"{layer}.mlp.{name}_proj": (64, 32) for name in ("gate", "up")}
        shapes |= {f"{layer}.mlp.down_proj": (32, 64)}
        shapes |= {f"{layer}.{name}_layernorm": (32,) for name in ("input", "post_attention")}
    weights = {f"{name}.weight": mx.random.normal(shape) * 0.3 for name, shape in shapes.items()}
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    return folder


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "pid"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, pid_file: Path) -> Callable[[str], None]:
    """Sets the code that runs in the place of the worker."""

    def use(code: str) -> None:
        command = [sys.executable, "-c", PRELUDE.format(pid=str(pid_file)) + code]
        monkeypatch.setattr(local, "worker_command", lambda folder: command)

    return use


def is_gone(pid_file: Path) -> bool:
    """Whether the worker is not even a zombie."""
    try:
        os.kill(int(pid_file.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


def agent_for(folder: Path, ledger: Ledger) -> LocalAgent:
    return LocalAgent(AgentOptions(ledger, model=str(folder)))


# ---------------------------------------------------------------------------------------------------------------------
# The real worker


def test_a_random_model_goes_the_whole_way(
    tiny_model: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ANSWER_TOKENS", 24)
    workers = []

    class Watched(local.Worker):
        def __init__(self, command: list[str], scratch: Path) -> None:
            super().__init__(command, scratch)
            workers.append(self._child)

    monkeypatch.setattr(local, "Worker", Watched)
    with pytest.raises(NoProposalError, match="3 answers and no edit"):
        agent_for(tiny_model, ledger).propose(brief())
    (child,) = workers
    assert child.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
    lines = [json.loads(line) for line in (tmp_path / "spending.jsonl").read_text().splitlines()]
    assert len(lines) == 3 and all(line["output_tokens"] in range(1, 25) for line in lines)
    assert all(line["dollars"] == 0.0 and line["agent"] == "local" for line in lines)
    assert 100 < lines[0]["input_tokens"] < lines[1]["input_tokens"] < lines[2]["input_tokens"]


def test_a_folder_that_mlx_lm_can_not_load(no_model: Path, ledger: Ledger) -> None:
    with pytest.raises(AgentUnusableError, match=r"can't be loaded .* choose another --model"):
        agent_for(no_model, ledger).propose(brief())


def test_what_libraries_print_is_no_answer(no_model: Path, ledger: Ledger, stand_in: Callable[[str], None]) -> None:
    stand_in(
        "from mlx_autoresearch.agents.local_worker import private_output\n"
        "print('before', flush=True)\n"
        "answers = private_output()\n"
        "def say(**line): answers.write(json.dumps(line) + chr(10)); answers.flush()\n"
        "say(ready=True)\n"
        "for line in sys.stdin:\n"
        "    os.system('echo from a library; echo 12; echo null; echo {}')\n"
        "    print(json.dumps({'text': 'spoof'}), flush=True)\n"
        f"    answer({GOOD!r})\n"
    )
    assert "RATE = 0.05" in agent_for(no_model, ledger).propose(brief()).source


class Words:
    """A tokenizer whose tokens are characters and whose template is `render`."""

    def __init__(self, render: Callable[[list[dict]], str] | None) -> None:
        self.has_chat_template, self._render = render is not None, render

    def apply_chat_template(self, messages: list[dict], add_generation_prompt: bool) -> list[int]:
        assert add_generation_prompt
        return self.encode(self._render(messages))

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]


def test_prompts_with_a_template_without_system_messages_and_without_any() -> None:
    def render(messages: list[dict]) -> str:
        return "|".join(f"{message['role']}={message['content']}" for message in messages)

    def without_system(messages: list[dict]) -> str:
        if any(message["role"] == "system" for message in messages):
            raise ValueError("system role not supported")
        return render(messages)

    def refusing(messages: list[dict]) -> str:
        raise TypeError("no")

    messages = [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user")]

    def prompt(template: Callable[[list[dict]], str] | None) -> str:
        return "".join(map(chr, local_worker.prompt_tokens(Words(template), messages)))

    assert prompt(render) == "system=s|user=u|assistant=a|user=u"
    assert prompt(without_system) == "user=s\n\nu|assistant=a|user=u"
    assert prompt(refusing) == prompt(None) == "s\n\nu\n\na\n\nu\n\n"


def test_a_prompt_beyond_the_context_is_refused_before_the_model_sees_it() -> None:
    request = {"messages": [{"role": "user", "content": "x" * 90}], "max_tokens": 10, "context": 100}
    with pytest.raises(local_worker.PromptError, match="beyond the context of 100"):
        local_worker.answer(None, Words(None), request)


# ---------------------------------------------------------------------------------------------------------------------
# Stand-ins


def test_a_good_answer(no_model: Path, ledger: Ledger, stand_in: Callable[[str], None], pid_file: Path) -> None:
    stand_in(READY_AND_GOOD)
    agent = agent_for(no_model, ledger)
    proposal = agent.propose(brief())
    assert proposal.source == SOURCE.replace("0.15", "0.05") and proposal.description == "lower rate"
    assert (proposal.agent, proposal.tokens, proposal.dollars, agent.thinks_ahead) == ("local", 120, 0.0, False)
    assert is_gone(pid_file)


def test_every_request_has_another_seed(no_model: Path, ledger: Ledger, stand_in: Callable[[str], None]) -> None:
    stand_in("say(ready=True)\nfor line in sys.stdin: answer('seed ' + str(json.loads(line)['seed']))\n")
    agent, seeds = agent_for(no_model, ledger), []
    record = ledger.record
    ledger.record = lambda *arguments: seeds.append(agent._asked) or record(*arguments)
    for _ in range(2):
        with pytest.raises(NoProposalError):
            agent.propose(brief())
    assert seeds == [1, 2, 3, 4, 5, 6]


FAULTS = {
    "ends at its start": ("sys.exit('no space left')", AgentUnavailableError, "ended with status 1.*no space left"),
    "can't load": ("say(error='ValueError: what', kind='model')", AgentUnusableError, "ValueError: what.*--model"),
    "short of memory": ("say(error='malloc', kind='memory')", AgentUnavailableError, "Memory ran short"),
    "prompt too long": (
        "say(ready=True)\nfor line in sys.stdin: say(error='too long', kind='prompt')",
        NoProposalError,
        "too long",
    ),
    "aborts": ("say(ready=True)\nsys.stdin.readline()\nos.abort()", AgentUnavailableError, "ended with status -6"),
    "is killed": (
        "say(ready=True)\nsys.stdin.readline()\nos.kill(os.getpid(), signal.SIGKILL)",
        AgentUnavailableError,
        "ended with status -9",
    ),
    "closes its output": ("os.close(1)\ntime.sleep(60)", AgentUnavailableError, "closed its output"),
    "hangs while loading": ("time.sleep(60)", AgentUnavailableError, "did not answer within 0.5 s"),
    "reads nothing": ("say(ready=True)\ntime.sleep(60)", AgentUnavailableError, "did not answer within 0.5 s"),
    "floods": (
        "say(ready=True)\nwhile True: sys.stdout.write('x' * 65536)",
        AgentUnavailableError,
        "did not answer within 0.5 s",
    ),
    "half an answer": (
        'say(ready=True)\nsys.stdin.readline()\nprint(\'{"text": "half\', flush=True)',
        AgentUnavailableError,
        "ended with status 0",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_the_worker(
    no_model: Path,
    ledger: Ledger,
    stand_in: Callable[[str], None],
    pid_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    code, error, words = FAULTS[fault]
    stand_in(code)
    monkeypatch.setattr(local, "CONTEXT_TOKENS", 200_000)
    for name in ("LOAD_SECONDS", "ANSWER_SECONDS", "STOP_SECONDS"):
        monkeypatch.setattr(local, name, 0.5)
    (no_model / "config.json").write_text("{}")
    long_source = SOURCE + "# " + "x" * 200_000  # more than a pipe holds
    started = time.monotonic()
    with pytest.raises(error, match=words):
        agent_for(no_model, ledger).propose(brief(source=long_source))
    assert is_gone(pid_file) and time.monotonic() - started < 10


def test_a_worker_that_does_not_end_is_killed(
    no_model: Path, ledger: Ledger, stand_in: Callable[[str], None], pid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "STOP_SECONDS", 0.1)
    stand_in(READY_AND_GOOD + "time.sleep(60)\n")
    assert "RATE = 0.05" in agent_for(no_model, ledger).propose(brief()).source
    assert is_gone(pid_file)


def test_close_kills_the_worker_of_another_thread(
    no_model: Path, ledger: Ledger, stand_in: Callable[[str], None], pid_file: Path
) -> None:
    stand_in("say(ready=True)\ntime.sleep(60)\n")
    agent, ends = agent_for(no_model, ledger), []

    def propose() -> None:
        try:
            agent.propose(brief())
        except AgentUnavailableError as error:
            ends.append(str(error))

    thread = threading.Thread(target=propose)
    thread.start()
    assert wait_until(lambda: pid_file.exists() and pid_file.read_text() != "", 10)
    agent.close()
    agent.close()
    thread.join(10)
    assert is_gone(pid_file) and len(ends) == 1 and "told to end" in ends[0]
    with pytest.raises(AgentUnavailableError, match="told to end"):
        agent.propose(brief())


def test_an_interrupt_does_not_wait_for_an_answer(
    no_model: Path, ledger: Ledger, stand_in: Callable[[str], None], pid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    stand_in("say(ready=True)\ntime.sleep(60)\n")
    monkeypatch.setattr(local, "propose_edit", interrupted)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        agent_for(no_model, ledger).propose(brief())
    assert is_gone(pid_file) and time.monotonic() - started < local.STOP_SECONDS


def test_a_process_that_can_not_be_started(no_model: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "worker_command", lambda folder: ["/nowhere/python"])
    with pytest.raises(AgentUnavailableError, match="can't be started"):
        agent_for(no_model, ledger).propose(brief())


def test_the_limit_in_tokens_is_kept(no_model: Path, stand_in: Callable[[str], None], tmp_path: Path) -> None:
    stand_in("say(ready=True)\nfor line in sys.stdin: answer('no block')\n")
    ledger = Ledger(tmp_path / "spending.jsonl", PriceTable("", {}), SpendingLimits(dollars=1.0, tokens=150))
    with pytest.raises(SpendingLimitError, match="--max-tokens"):
        agent_for(no_model, ledger).propose(brief())
    assert ledger.total.tokens == 240


# ---------------------------------------------------------------------------------------------------------------------
# Memory and context


def test_defaults_by_main_memory() -> None:
    names = [local.default_model(gib * GIB if gib else None) for gib in (None, 8, 16, 24, 32, 128)]
    assert [name.partition("Coder-")[2].partition("-")[0] for name in names] == ["3B", "3B", "7B", "7B", "30B", "30B"]


def test_a_model_too_large_for_memory(no_model: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    os.truncate(no_model / "model.safetensors", 8 * 10**9)
    monkeypatch.setattr(local, "available_memory_bytes", lambda: 4 * 10**9)
    with pytest.raises(AgentUnusableError, match=r"10\.9 GB of memory and 4\.0 GB are available.*Coder-3B"):
        agent_for(no_model, ledger)
    monkeypatch.setattr(local, "available_memory_bytes", lambda: 10**9)
    with pytest.raises(AgentUnusableError, match="take --agent search"):
        agent_for(no_model, ledger)
    monkeypatch.setattr(local, "available_memory_bytes", lambda: None)
    agent_for(no_model, ledger)


def readings(monkeypatch: pytest.MonkeyPatch, *gigabytes: float) -> list[float]:
    """Let available memory be read as these values in turn, the last one for ever; returns those not read yet."""
    waiting = [value * 1e9 for value in gigabytes]
    monkeypatch.setattr(local, "available_memory_bytes", lambda: waiting.pop(0) if len(waiting) > 1 else waiting[0])
    monkeypatch.setattr(local, "main_memory_bytes", lambda: 16 * GIB)
    monkeypatch.setattr(local, "MEMORY_SECONDS", 0.3)
    monkeypatch.setattr(local, "MEMORY_POLL_SECONDS", 0.01)
    return waiting


def test_memory_gone_since_the_start_is_waited_for(
    no_model: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = agent_for(no_model, ledger)
    readings(monkeypatch, 0.5)
    with pytest.raises(AgentUnavailableError, match=r"1\.3 GB of memory and 0\.5 GB"):
        agent.propose(brief())


def test_a_proposal_waits_for_its_memory(
    no_model: Path, ledger: Ledger, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(READY_AND_GOOD)
    agent = agent_for(no_model, ledger)
    waiting = readings(monkeypatch, 20, 20, 12, 13, 14, 19.5, 1)
    assert "RATE = 0.05" in agent.propose(brief()).source
    assert waiting == [1e9]


def test_memory_that_does_not_come_back_is_told_and_the_proposal_kept(
    no_model: Path, ledger: Ledger, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(READY_AND_GOOD)
    said: list[str] = []
    agent = LocalAgent(AgentOptions(ledger, model=str(no_model), say=said.append))
    readings(monkeypatch, 20, 20, 10)
    assert "RATE = 0.05" in agent.propose(brief()).source
    assert len(said) == 1 and "10.0 GB of memory are available where there were 20.0 GB" in said[0]


def test_the_briefing_is_cut_to_the_context(
    no_model: Path, ledger: Ledger, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (no_model / "config.json").write_text('{"text_config": {"max_position_embeddings": 9000}}')
    stand_in(
        "say(ready=True)\n"
        "for line in sys.stdin: answer(str(sum(len(m['content']) for m in json.loads(line)['messages'])))\n"
    )
    lengths = []
    propose_edit = local.propose_edit

    def spying(partner: local.Partner, briefing: Briefing) -> object:
        complete = partner.complete

        def noting(messages: list[local.Message]) -> local.Answer:
            answer = complete(messages)
            lengths.append(int(answer.text))
            return answer

        return propose_edit(
            local.Partner(partner.agent, partner.model, noting, partner.ledger, partner.budget_characters), briefing
        )

    monkeypatch.setattr(local, "propose_edit", spying)
    long_history = [entry_of(n, 0, SOURCE, f"attempt {n} " * 9, KEEP, 2.0, patch="-a\n+b\n" * 99) for n in range(99)]
    agent = agent_for(no_model, ledger)
    with pytest.raises(NoProposalError):
        agent.propose(brief(history=long_history))
    assert 3000 < lengths[0] < (9000 - local.ANSWER_TOKENS) * local.CHARACTERS_PER_TOKEN
    with pytest.raises(AgentUnusableError, match=r"context of .* \(9,000 tokens\) is too small"):
        agent.propose(brief(source=SOURCE + "# x\n" * 5000))
    crashed = entry_of(1, 0, SOURCE + "# x\n" * 1000, "crash", CRASH, None)
    with pytest.raises(NoProposalError, match="no room for the file"):
        agent.propose(brief(history=[*brief().history, crashed], repair=1))


# ---------------------------------------------------------------------------------------------------------------------
# Finding and downloading


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, and no way to the real Hub."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return folder


def cached(cache: Path, names: dict[str, str]) -> Path:
    """A snapshot as the Hub's client leaves it."""
    repository = cache / "models--org--tiny"
    snapshot = repository / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c" * 40)
    for name, content in names.items():
        (snapshot / name).write_text(content)
    return snapshot


def test_a_model_that_was_downloaded_before(cache: Path) -> None:
    snapshot = cached(cache, {"config.json": "{}", "model.safetensors": "x"})
    assert local.find_model("org/tiny") == snapshot


def test_half_a_download_is_none(cache: Path) -> None:
    index = json.dumps({"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}})
    cached(cache, {"config.json": "{}", "model-1-of-2.safetensors": "x", "model.safetensors.index.json": index})
    assert local.find_model("org/tiny") is None


def test_no_network(cache: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AgentUnusableError, match=r"could not be downloaded .* --agent search"):
        LocalAgent(AgentOptions(ledger, model="org/tiny"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(AgentUnusableError, match="HF_HUB_OFFLINE is set"):
        LocalAgent(AgentOptions(ledger, model="org/tiny"))


@pytest.mark.parametrize("name", ["no/such/folder", "a name with spaces", ""])
def test_neither_a_folder_nor_a_name(cache: Path, name: str) -> None:
    with pytest.raises(AgentUnusableError, match="neither a folder nor the name"):
        local.find_model(name or "../up")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(AgentUnusableError, match=r"config\.json"):
        local.find_model(str(tmp_path))


FILES = {"config.json": b"{}", "model.safetensors": b"w" * 5000, "evil.py": b"raise SystemExit", "README.md": b"#"}


@contextmanager
def hub_with(files: dict[str, bytes]) -> Iterator[str]:
    """Address of a Hub that has one model, org/tiny."""
    commit = "d" * 40

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Keep the test output clean."""

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path, headers = self.path.partition("?")[0], {}
            if path.startswith("/api/models/org/tiny/tree/"):
                found = [{"type": "file", "path": n, "size": len(b), "oid": f"{n:0>40}"} for n, b in files.items()]
                body = json.dumps(found).encode()
            elif path.startswith("/api/models/org/tiny"):
                listed = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
                body = json.dumps({"id": "org/tiny", "sha": commit, "siblings": listed}).encode()
            elif path.startswith(f"/org/tiny/resolve/{commit}/"):
                name = path.rpartition("/")[2]
                body, headers = files[name], {"ETag": f'"{name:0>40}"', "X-Repo-Commit": commit}
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_download(
    cache: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with hub_with(FILES) as url:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        assert local.repository_bytes("org/tiny") == 5002
        LocalAgent(AgentOptions(ledger, model="org/tiny"))
        assert "Downloading org/tiny, 0.0 GB, once." in capsys.readouterr().err
        with pytest.raises(AgentUnusableError, match="neither a folder nor a model that the Hub"):
            local.download_model("org/other")
    found = local.find_model("org/tiny")
    assert sorted(file.name for file in found.iterdir()) == ["config.json", "model.safetensors"]


def test_a_download_that_would_not_fit_is_not_begun(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "repository_bytes", lambda model: 17 * 10**9)
    monkeypatch.setattr(local, "available_memory_bytes", lambda: 8 * 10**9)
    with pytest.raises(AgentUnusableError, match=r"21\.7 GB of memory and 8\.0 GB.*Coder-7B"):
        local.download_model("org/tiny")
    monkeypatch.setattr(local, "available_memory_bytes", lambda: None)
    monkeypatch.setattr(local, "repository_bytes", lambda model: 10**16)
    with pytest.raises(AgentUnusableError, match="Free space"):
        local.download_model("org/tiny")


def test_a_repository_without_weights(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_with({"config.json": b"{}", "model.gguf": b"x"}) as url:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        with pytest.raises(AgentUnusableError, match="no weights that mlx-lm reads"):
            local.download_model("org/tiny")
