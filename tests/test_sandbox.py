"""The sandbox: what its parts say and do, that tests of it can fail, and every escape that we could think of."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from broken_sandbox import fake_bubblewrap

from mlx_autoresearch import memory, paths, trust
from mlx_autoresearch.doctor import OK, WARNING, check_sandbox
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.evidence import clear_up
from mlx_autoresearch.history import Night, RunIdentity
from mlx_autoresearch.machine import GIB, main_memory_bytes
from mlx_autoresearch.process import EXCESS, MEMORY
from mlx_autoresearch.process_tree import Usage
from mlx_autoresearch.records import Proposal, RunResult
from mlx_autoresearch.sandbox import (
    BUBBLEWRAP,
    LANDLOCK,
    NO_SANDBOX,
    SEATBELT,
    Confined,
    Sandbox,
    bubblewrap,
    confine,
    guard,
    jobs,
    require_working,
    run_confined,
    seatbelt,
    warden,
)
from mlx_autoresearch.sandbox.choice import Choice, candidates, choose, problem_with
from mlx_autoresearch.sandbox.guard import Guard, content_of
from mlx_autoresearch.sandbox.policy import Limits, Policy, links_to, memory_limit, python_and_project

IDENTITY = RunIdentity("simple", "f" * 64, 300.0, "a machine", "1", 256)

LIMITS = Limits(memory_bytes=1 << 30, processes=64, file_bytes=1 << 20, disk_bytes=1 << 20, open_files=64)


def working(kind: str) -> Sandbox:
    """The sandbox of this kind; the test is skipped, with the reason, where this machine has none."""
    reasons = [f"this system has no {kind}"]
    for candidate in candidates():
        if isinstance(candidate, str):
            reasons.append(candidate)
        elif candidate.kind == kind:
            problem = problem_with(candidate)
            if problem is None:
                return candidate
            reasons.append(problem)
    pytest.skip("; ".join(reasons))


@pytest.fixture(params=[BUBBLEWRAP, LANDLOCK, SEATBELT])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return working(request.param)


def run(sandbox: Sandbox, folder: Path, code: str, **changes: object) -> tuple[int, str | None, str]:
    """Status, why it was stopped, and output of Python code in a sandbox that may write `folder`/inside."""
    inside = folder / "inside"
    inside.mkdir(exist_ok=True)
    policy = Policy(inside, python_and_project(), (inside,), {"PATH": os.defpath, "GREETING": "hello"}, LIMITS)
    confined = confine([sys.executable, "-I", "-S", "-c", code], replace(policy, **changes), sandbox)
    outcome = run_confined(confined, folder / "log", 20.0)
    return outcome.exit_status, outcome.stopped and outcome.stopped.reason, (folder / "log").read_text()


def test_code_runs_with_its_folder_environment_and_status(sandbox: Sandbox, tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['GREETING'], len(os.environ) < 6); open('kept', 'w').close(); sys.exit(7)"
    status, stopped, output = run(sandbox, tmp_path, code)
    assert (status, stopped, output) == (7, None, "hello True\n"), output
    assert (tmp_path / "inside" / "kept").exists()
    assert run(sandbox, tmp_path, "import os; os.abort()")[0] == -6


def test_limits_hold_and_cannot_be_raised(sandbox: Sandbox, tmp_path: Path) -> None:
    code = "import resource as r; print(*(r.getrlimit(k) for k in (r.RLIMIT_FSIZE, r.RLIMIT_NOFILE, r.RLIMIT_CORE)))"
    assert run(sandbox, tmp_path, code)[2].split("\n")[0] == f"({1 << 20}, {1 << 20}) (64, 64) (0, 0)"
    assert run(sandbox, tmp_path, "open('f', 'wb').truncate(2 << 20)")[0] == 1
    assert "too large" in (tmp_path / "log").read_text().lower()


def test_deadline_takes_daemons_along(sandbox: Sandbox, tmp_path: Path) -> None:
    if sandbox.kind == SEATBELT:
        pytest.skip("Seatbelt lets nobody fork")
    code = "import os, time\nif os.fork() == 0:\n  os.setsid()\n  time.sleep(1)\n  open('late', 'w').close()\n"
    assert run(sandbox, tmp_path, code)[0] == 0
    assert run(sandbox, tmp_path, "import time; time.sleep(1.2)")[0] == 0
    assert not (tmp_path / "inside" / "late").exists()


def test_guard_stops_memory_and_disk(sandbox: Sandbox, tmp_path: Path) -> None:
    code = "import time\nfor k in range(8): open(str(k), 'wb').write(b'x' * (1 << 20))\ntime.sleep(20)"
    status, stopped, _ = run(sandbox, tmp_path, code)
    assert "wrote" in stopped and status < 0
    code = "import time; kept = b'x' * (100 << 20); time.sleep(20)"
    limits = replace(LIMITS, memory_bytes=50 << 20, disk_bytes=1 << 40)
    policy = Policy(tmp_path, python_and_project(), (tmp_path,), {}, LIMITS)
    confined = confine([sys.executable, "-I", "-S", "-c", code], policy, sandbox)
    outcome = run_confined(replace(confined, guard=Guard(limits, (tmp_path,))), tmp_path / "log", 20.0)
    assert outcome.stopped.kind == MEMORY and "0.0 are allowed" in outcome.stopped.reason
    assert outcome.memory_bytes > 50 << 20


def test_probe_notices_that_nothing_is_confined() -> None:
    problem = problem_with(NO_SANDBOX)
    for way in ("reading a file", "writing a file", "in /tmp", "TCP", "UDP", "unix socket", "signal", "environment"):
        assert way in problem, problem
    Path(f"/tmp/mlx-autoresearch-probe-{os.getpid()}").unlink(missing_ok=True)


@pytest.mark.skipif(sys.platform != "linux", reason="death signals are Linux's")
def test_a_job_whose_starter_is_dead_already_never_starts(tmp_path: Path) -> None:
    """A loop that is killed between starting a job and the job's wish to die with it would leave it running."""
    for parent, starts in ((os.getpid(), True), (os.getppid(), False)):
        code = f"from mlx_autoresearch.sandbox import warden; warden.die_with_parent({parent}); print('started')"
        done = subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, capture_output=True, text=True)
        assert (done.stdout == "started\n") is starts and (done.returncode == 0) is starts


def test_sandbox_that_cannot_be_made_runs_nothing(tmp_path: Path) -> None:
    order = '{"limits": {}, "filter": false, "cuda": false, "landlock": null}'
    command = [sys.executable, "-I", "-S", warden.__file__, order, sys.executable, "-c", "print('ran')"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == warden.CANNOT_CONFINE and "ran" not in answer.stdout and "sandbox:" in answer.stderr


def test_filter_refuses_what_it_names_and_foreign_numbers() -> None:
    refused = warden.REFUSED_CALLS | warden.CALLS_BY_NAME_OF_FILE
    for machine, index in (("x86_64", 0), ("aarch64", 1)):
        lines = list(struct.iter_unpack("=HBBI", warden.filter_program(machine, refused, cuda=False)))
        architecture = warden.AUDIT_ARCHITECTURE[machine]
        for pair in refused.values():
            if pair[index] is not None:
                assert judge(lines, architecture, pair[index]) == "refused"
        harmless = {0, 1, 2, 3, 56, 57, 63, 64} - {pair[index] for pair in refused.values()}
        assert {judge(lines, architecture, number) for number in harmless} == {"allowed"}
        assert judge(lines, architecture, 0x40000000) == "refused"  # x32
        assert judge(lines, 0x40000003, 1) == "refused"  # 32-bit code
    with pytest.raises(warden.CannotConfineError):
        warden.filter_program("riscv64", refused, cuda=False)


def test_filter_for_cuda_leaves_one_kind_of_socket_and_connects_none() -> None:
    close_on_exec = 0x80000
    for machine, index in (("x86_64", 0), ("aarch64", 1)):
        lines = list(struct.iter_unpack("=HBBI", warden.filter_program(machine, warden.REFUSED_CALLS, cuda=True)))
        architecture, call = warden.AUDIT_ARCHITECTURE[machine], warden.SOCKET_CALL[index]
        for family, kind in ((1, 1), (1, 2), (2, 1), (2, 5), (10, 2), (16, 3), (17, 5)):
            assert judge(lines, architecture, call, (family, kind)) == "refused"
        assert judge(lines, architecture, call, (1, 5)) == "allowed"
        assert judge(lines, architecture, call, (1, 5 | close_on_exec)) == "allowed"
        for pair in [warden.CONNECT_CALL, *warden.REFUSED_CALLS.values()]:
            assert judge(lines, architecture, pair[index], (0, 0)) == "refused"
        assert {judge(lines, architecture, number) for number in (0, 1, 2, 3, 57, 63)} == {"allowed"}


SOCKETS = """
import json, socket
made = []
for words in ("UNIX STREAM", "UNIX DGRAM", "UNIX SEQPACKET", "INET STREAM", "INET DGRAM"):
    family, kind = words.split()
    try:
        socket.socket(getattr(socket, "AF_" + family), getattr(socket, "SOCK_" + kind)).close()
        made.append(words)
    except PermissionError:
        pass
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as own:
    own.bind("\\0cuda-uvmfd-test")
    own.listen()
    try:
        own.connect("/tmp/none")
    except PermissionError:
        made.append("no connection")
print(json.dumps(made))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_what_is_left_of_sockets_for_cuda() -> None:
    """The filter as the kernel carries it out: CUDA's driver can listen, nothing can be reached."""
    order = {"limits": dict.fromkeys(("memory_bytes", "processes", "file_bytes", "open_files")), "landlock": None}
    command = [sys.executable, "-I", "-S", warden.__file__, json.dumps(order | {"filter": True, "cuda": True})]
    done = subprocess.run([*command, sys.executable, "-c", SOCKETS], capture_output=True, text=True)
    assert json.loads(done.stdout) == ["UNIX SEQPACKET", "no connection"], done.stderr


def judge(
    lines: list[tuple[int, int, int, int]], architecture: int, number: int, arguments: tuple[int, int] = (0, 0)
) -> str:
    """What a filter says to a system call: the few instructions of BPF that it uses, carried out here."""
    position, value = 0, 0
    while True:
        code, if_true, if_false, operand = lines[position]
        position += 1
        if code == 0x20:
            value = {0: number, 4: architecture, 16: arguments[0], 24: arguments[1]}[operand]
        elif code == 0x54:
            value &= operand
        elif code in (0x15, 0x35):
            holds = value == operand if code == 0x15 else value >= operand
            position += if_true if holds else if_false
        else:
            assert code == 0x06
            return "allowed" if operand == 0x7FFF0000 else "refused"


def test_bubblewrap_names_only_what_the_policy_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "_options", lambda program: "--disable-userns")
    inner = tmp_path / "folder" / "settings"
    inner.parent.mkdir()
    inner.touch()
    policy = Policy(tmp_path, (inner, tmp_path / "absent"), (tmp_path / "folder",), {}, LIMITS)
    line = bubblewrap.command_line("bwrap", ["/bin/true"], policy)
    for flag in ("--unshare-all", "--die-with-parent", "--new-session", "--disable-userns"):
        assert flag in line
    assert line.index("--bind") < line.index("--ro-bind") and str(tmp_path / "absent") not in line
    assert line[-4:] == ["--chdir", str(tmp_path), "--", "/bin/true"] and line.count("--remount-ro") == 2


def test_seatbelt_profile(tmp_path: Path) -> None:
    """Not run on a Mac: the text says what the policy says, in the order in which the last rule counts."""
    policy = Policy(tmp_path, (tmp_path / "code",), (tmp_path / "run",), {}, LIMITS)
    strict, lenient = (seatbelt.profile(policy, level, Path("/var/folders/x.y/C")) for level in seatbelt.LEVELS)
    for text in (strict, lenient):
        rules = text.splitlines()
        assert rules[:2] == ["(version 1)", "(allow default)"]
        assert all(rule.startswith("(") and rule.endswith(")") for rule in rules)
        for rule in ("(deny network*)", "(deny process-fork)", "(deny file-write*)"):
            assert rule in rules
        writing = rules.index("(deny file-write*)")
        assert f'(allow file-write* (subpath "{tmp_path.resolve()}/run"))' in rules[writing:]
        assert not any(f"{tmp_path.resolve()}/code" in rule for rule in rules if rule.startswith("(allow file-write"))
        assert rules[-1].startswith("(deny mach-lookup") and "com.apple.SecurityServer" in rules[-1]
        assert r"x\.y/C/(.*/)?com\.apple\.(metal" in text
    assert "AGXDeviceUserClient" in strict and "AGXDeviceUserClient" not in lenient
    shut = next(rule for rule in lenient.splitlines() if rule.startswith("(deny file-read-data"))
    assert "(deny file-read-data)" in strict.splitlines() and "(deny file-read-data)" not in lenient.splitlines()
    for path in ("/Users", Path.home().resolve(), paths.PROJECT, paths.data_root().resolve()):
        assert f'(subpath "{path}")' in shut
    assert lenient.index(shut) < lenient.index("(allow file-read-data")
    line = seatbelt.command_line(["/usr/bin/true"], policy, "strict", Path("/var/folders/x"))
    assert line[0] == "/usr/bin/sandbox-exec" and line[1] == "-p" and line[3:] == ["/usr/bin/true"]
    with pytest.raises(AutoresearchError, match="rename that folder"):
        seatbelt.profile(replace(policy, folder=tmp_path / '"'), "strict", Path('/a"b'))


def test_policy_never_shows_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for path in (tmp_path / "home", tmp_path, Path("/")):
        with pytest.raises(AutoresearchError, match="home folder"):
            confine([], Policy(tmp_path, (path,), (), {}), Sandbox(LANDLOCK))
    confine([], Policy(tmp_path, (tmp_path / "home" / "project",), (), {}), Sandbox(LANDLOCK))


def test_a_gpu_opens_its_devices_and_its_socket_in_bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "gpu_devices", lambda: ["/dev/nvidia0"])
    monkeypatch.setattr(bubblewrap, "_options", lambda program: "")
    for kind, program in ((BUBBLEWRAP, "bwrap"), (LANDLOCK, "")):
        command = confine(["/bin/true"], Policy(tmp_path, (tmp_path,), (), {}), Sandbox(kind, program)).command
        order = json.loads(command[command.index("/bin/true") - 1])
        assert order["limits"]["memory_bytes"] is None and order["cuda"] is (kind == BUBBLEWRAP)
        assert ("/dev/nvidia0" in command) is (kind == BUBBLEWRAP)


def test_every_link_to_python_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "second").symlink_to("real")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    assert [path.name for path in links_to(tmp_path / "first")] == ["first", "second", "real"]


def test_training_does_not_see_held_out_text_and_scoring_writes_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLX_AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    monkeypatch.setattr(jobs, "tools", tuple)
    data, folder, file = tmp_path / "data", tmp_path / "run", tmp_path / "train_mlx.py"
    folder.mkdir()
    file.write_text("pass")
    kernels = tmp_path / "kernels"
    training = jobs.training_policy(file, folder, folder / "run.json", data, kernels, {"A": "1"}, None)
    (folder / "scoring-1").mkdir()
    scoring = jobs.scoring_policy(folder / "model.mlxfn", folder / "scoring-1", {}, None)
    assert data / "train" in training.readable and not {data, data / "val", data / "test"} & {*training.readable}
    assert folder / "model.mlxfn" in scoring.readable and scoring.writable == (folder / "scoring-1",)
    assert folder not in scoring.readable  # what the other scoring process is asked lies there
    assert not any(path == data or data in path.parents for path in scoring.readable)
    assert training.writable == (folder, kernels) and training.environment["TMPDIR"] == str(kernels)
    assert "secret" not in str(training) and "secret" not in str(scoring)
    package = paths.PROJECT / "mlx_autoresearch"
    for policy in (training, scoring):  # the generator of the built-in stories is not shown
        assert package / "metric.py" in policy.readable
        assert not {package, package / "corpus"} & {*policy.readable}
    assert not {paths.PROJECT, paths.PROJECT / ".git", paths.cache_root()} & {*training.readable, *scoring.readable}


def test_kernels_are_shared_by_the_persons_own_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    own, edit, other = (tmp_path / name for name in ("train_mlx.py", "edit.py", "other.py"))
    for file in (own, edit, other):
        file.write_text(file.name)
    (jobs.kernels_of(edit) / "planted.so").touch()
    jobs.share_kernels(edit)
    mine = jobs.kernels_of(own)
    assert list(mine.iterdir()) == [] and mine != jobs.kernels_of(edit)
    (mine / "mlx").mkdir()
    (mine / "mlx" / "a.so").write_text("a")
    (mine / "link.so").symlink_to("/etc/passwd")
    long_name = "k" * 252 + ".so"
    (mine / long_name).touch()
    assert jobs.file_to_share() == own
    jobs.share_kernels(own)
    assert jobs.file_to_share() is None
    assert not jobs.has_kernels(other)
    copied = [path.name for path in jobs.kernels_of(other).rglob("*") if path.is_file()]
    assert sorted(copied) == ["a.so", long_name]
    assert not (jobs.kernels_of(edit) / "mlx").exists() and jobs.has_kernels(other)


def test_what_a_run_hides_among_its_kernels_is_gone_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "train_mlx.py"
    file.write_text("pass")
    (jobs.kernels_of(file) / "a.so").write_text("compiled")
    for name in ("1", "2"):
        run = tmp_path / name
        run.mkdir()
        copy = jobs.copy_kernels(file, run / "kernels")
        assert [path.name for path in copy.iterdir()] == ["a.so"]
        (copy / "a.so").write_text("changed")
        (copy / "weights.npy").touch()
        assert clear_up(run, whole=True) is None and list(run.iterdir()) == []
    assert (jobs.kernels_of(file) / "a.so").read_text() == "compiled"


def test_guard_counts_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("/usr")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    size, files = content_of(tmp_path, 100)
    assert files == 4 and 100_000 <= size < 200_000
    watch = Guard(replace(LIMITS, memory_bytes=1 << 40, processes=10**6), (tmp_path,))
    assert watch.look(os.getpid()) is None and watch.most_memory > 10 << 20
    crowd = Guard(replace(watch.limits, processes=0)).look(os.getpid())
    assert crowd.kind == EXCESS and "processes" in crowd.reason
    assert Guard(replace(watch.limits, memory_bytes=1)).look(os.getpid()).kind == MEMORY


@pytest.mark.parametrize(("held", "kind", "words"), [(0.3, MEMORY, "while it held"), (0.01, EXCESS, "other programs")])
def test_guard_stops_a_job_when_the_machine_runs_out_and_says_whose_fault_it_is(
    monkeypatch: pytest.MonkeyPatch, held: float, kind: str, words: str
) -> None:
    monkeypatch.setattr(guard, "shortage", lambda: "only 0.1 GiB were left")
    monkeypatch.setattr(guard, "usage", lambda pid: Usage(1, int(held * main_memory_bytes())))
    stop = Guard(Limits(memory_bytes=1 << 60)).look(1)
    assert stop.kind == kind and stop.reason.startswith("only 0.1 GiB were left") and words in stop.reason


def test_kills_by_the_system_are_told_from_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "VMSTAT", tmp_path / "vmstat")
    (tmp_path / "vmstat").write_text("oom_kill 5\n")
    watch = Guard(LIMITS)
    assert watch.killed_by_system() is None
    (tmp_path / "vmstat").write_text("oom_kill 6\n")
    assert "the kernel killed it" in watch.killed_by_system().reason
    (tmp_path / "vmstat").unlink()  # as on macOS
    monkeypatch.setattr(guard, "memory_pressure", lambda: 2)
    assert Guard(LIMITS).killed_by_system().kind == MEMORY
    monkeypatch.setattr(guard, "memory_pressure", lambda: 1)
    assert Guard(LIMITS).killed_by_system() is None


@pytest.mark.parametrize(("gib", "limit"), [(2, 1.0), (8, 6.5), (16, 14.4), (64, 57.6)])
def test_memory_limit_leaves_room_for_the_rest_of_the_machine(gib: float, limit: float) -> None:
    assert memory_limit(gib * GIB) / GIB == pytest.approx(limit)


@pytest.mark.parametrize("status", [1, warden.CANNOT_CONFINE])
def test_a_sandbox_that_can_not_be_made_any_more_is_noticed(tmp_path: Path, status: int) -> None:
    with pytest.raises(AutoresearchError, match=r"can't be made any more: bwrap: No permissions .*make doctor"):
        require_working(fake_bubblewrap(tmp_path, status))


def test_a_sandbox_that_works_passes(sandbox: Sandbox) -> None:
    require_working(sandbox)


def test_status_of_a_signal() -> None:
    confined = Confined([], {}, Path(), Guard(LIMITS), encodes_signals=True)
    assert [confined.exit_status(status) for status in (0, 3, 134, 255, -9)] == [0, 3, -6, 255, -9]
    assert replace(confined, encodes_signals=False).exit_status(134) == 134


NONE = Choice(NO_SANDBOX, ("bubblewrap is not installed",), "install it")


def night_of(root: Path, *agents: str) -> Night:
    night = Night.open(root, IDENTITY)
    for number, agent in enumerate(agents):
        night.add(Proposal(f"x = {number}", "an edit", agent=agent))
    return night


def test_without_a_sandbox_only_this_projects_own_edits_run(tmp_path: Path) -> None:
    said: list[str] = []
    own = night_of(tmp_path / "own", "person", "search")
    assert trust.choose_sandbox(NONE, "search", own, said.append) == NO_SANDBOX and "own catalogue" in said[0]
    with pytest.raises(AutoresearchError, match=r"install it.*--no-sandbox"):
        trust.choose_sandbox(NONE, "claude", own, said.append)
    mixed = night_of(tmp_path / "mixed", "person", "claude", "search")
    with pytest.raises(AutoresearchError, match="code from claude"):
        trust.choose_sandbox(NONE, "search", mixed, said.append)
    good = Choice(Sandbox(BUBBLEWRAP, "bwrap"))
    assert trust.choose_sandbox(good, "claude", mixed, said.append) is good.sandbox


def test_report_says_what_ran_without_a_sandbox(tmp_path: Path) -> None:
    night = night_of(tmp_path / "night", "person")
    assert trust.sandbox_line(night) == ""
    for number, name in enumerate(("bubblewrap", None, "none")):
        experiment = night.experiments[0]
        experiment.record_result(experiment.new_run_folder(), RunResult(number, val_bpb=1.0, sandbox=name))
    line = trust.sandbox_line(Night.read(tmp_path / "night"))
    assert line == "Sandbox: bubblewrap (1 run). WITHOUT a sandbox, with your own rights: 1 of 2 runs."


def test_doctor_says_which_and_how_to_get_a_better_one() -> None:
    assert check_sandbox(Choice(Sandbox(BUBBLEWRAP, "bwrap"))).state == OK
    weaker = check_sandbox(Choice(Sandbox(LANDLOCK), ("bubblewrap is not installed",), "install it"))
    assert weaker.state == OK and weaker.fix == "install it" and "not installed" in weaker.found
    assert check_sandbox(NONE).state == WARNING and check_sandbox(NONE).fix == "install it"


def test_no_escape_gets_through() -> None:
    """Takes under a minute: `python -m tests.escapes --quick`, a process of its own, with bait in its environment."""
    choice = choose()
    if not choice.works:
        pytest.skip("; ".join(choice.problems))
    command = [sys.executable, "-m", "tests.escapes", "--quick"]
    answer = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.count("\nrefused") >= 50 and "GOT THROUGH" not in answer.stdout


def test_limits_of_the_warden_only_go_down(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: asked.update({kind: pair}))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (5, 5) if kind == resource.RLIMIT_NOFILE else (-1, -1))
    monkeypatch.setattr(sys, "platform", "darwin")  # leave this process's own entry in /proc alone
    monkeypatch.setattr("builtins.open", refuse_to_open)
    warden.set_limits({"file_bytes": 10, "open_files": 64, "processes": 3, "memory_bytes": None})
    assert asked[resource.RLIMIT_FSIZE] == (10, 10) and resource.RLIMIT_NOFILE not in asked
    assert resource.RLIMIT_DATA not in asked


def refuse_to_open(*_: object) -> None:
    raise OSError("not now")
