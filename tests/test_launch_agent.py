"""The launch agent: what is written and what launchd is asked, with made-up launchctl, plutil and security.

Not run on a Mac: the programs here answer as their manual pages and people's reports say.
"""

from __future__ import annotations

import os
import plistlib
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_autoresearch import launch_agent, loop
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.launch_agent import LABEL, command_line, install, plist_path, uninstall
from mlx_autoresearch.night_lock import NightLock

LAUNCHCTL = """#!/bin/sh
echo "$*" >> {calls}
case $1 in
  print) test -e {loaded} || exit 113;;
  bootstrap) test -e {loaded} && {{ echo "Bootstrap failed: 5: Input/output error" >&2; exit 5; }}
    test -e {refuses} && {{ echo "Bootstrap failed: 125: Domain does not support specified action" >&2; exit 125; }}
    touch {loaded};;
  bootout) rm {loaded};;
esac
"""

SECURITY = """#!/bin/sh
file={keys}/$5
test "$1 $2 $3 $4" = "find-generic-password -s mlx-autoresearch -a" && test -e $file || exit 44
if test "$6" = -w; then cat $file; else echo 'keychain: "login.keychain-db"'; fi
"""

PLUTIL = """#!/bin/sh
test "$1" = -lint && {python} -c 'import plistlib, sys; plistlib.load(open(sys.argv[1], "rb"))' "$2"
"""

OPTIONS = {
    "tag": "nov24",
    "dataset": "/data/stories",
    "experiments": 40,
    "hours": None,
    "budget": 300.0,
    "no_sandbox": False,
    "install_launch_agent": True,
    "uninstall_launch_agent": False,
    "agent": "anthropic",
    "max_usd": 10.0,
}


class Mac:
    """Programs of a Mac in a folder that comes first on PATH."""

    def __init__(self, root: Path) -> None:
        self.calls, self.loaded, self.refuses, self.keys = (root / n for n in ("calls", "loaded", "refuses", "keys"))
        self.keys.mkdir()
        names = {"calls": self.calls, "loaded": self.loaded, "refuses": self.refuses, "keys": self.keys}
        for name, text in (("launchctl", LAUNCHCTL), ("security", SECURITY), ("plutil", PLUTIL)):
            (root / name).write_text(text.format(python=sys.executable, **names))
            (root / name).chmod(0o755)

    def asked(self) -> list[str]:
        """What launchctl was told to do, its looks left out."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if not line.startswith("print")]


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    return Mac(tmp_path / "bin")


def written() -> dict:
    return plistlib.loads(plist_path().read_bytes())


def test_the_agent_says_when_the_night_starts_and_when_not(mac: Mac, tmp_path: Path) -> None:
    sentences = install(OPTIONS, tmp_path / "runs" / "nov24")
    agent = written()
    assert agent["ProgramArguments"] == [
        *(sys.executable, "-m", "mlx_autoresearch.loop", "--tag", "nov24", "--dataset", "/data/stories"),
        *("--experiments", "40", "--budget", "300.0", "--agent", "anthropic", "--max-usd", "10.0"),
    ]
    assert Path(agent["ProgramArguments"][0]).is_absolute()
    assert agent["RunAtLoad"] is True and agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["ThrottleInterval"] == 600 and agent["ProcessType"] == "Interactive"
    assert agent["LimitLoadToSessionType"] == "Aqua" and agent["WorkingDirectory"] == str(launch_agent.PROJECT)
    log = tmp_path / "runs" / "nov24" / "launch-agent.log"
    assert agent["StandardOutPath"] == agent["StandardErrorPath"] == str(log) and log.parent.is_dir()
    domain = f"gui/{os.getuid()}"
    assert mac.asked() == [f"enable {domain}/{LABEL}", f"bootstrap {domain} {plist_path()}"]
    assert plist_path() == tmp_path / "home" / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    assert "--uninstall-launch-agent" in sentences[-1] and any("when you log in" in words for words in sentences)


def test_the_options_of_the_loop_come_back_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--tag", "t", "--no-sandbox", "--agent", "command", "--command", "my-agent --quiet", "--budget", "60"]
    parse = loop.build_parser().parse_args
    again = command_line(vars(parse([*words, "--install-launch-agent"])))[3:]
    assert parse(again) == parse(words)


def test_installing_twice_replaces_the_first(mac: Mac, tmp_path: Path) -> None:
    install(OPTIONS, tmp_path / "night")
    install(OPTIONS | {"tag": "nov25"}, tmp_path / "night")
    domain = f"gui/{os.getuid()}"
    start = [f"enable {domain}/{LABEL}", f"bootstrap {domain} {plist_path()}"]
    assert mac.asked() == [*start, f"bootout {domain}/{LABEL}", *start] and "nov25" in written()["ProgramArguments"]
    assert [path.name for path in plist_path().parent.iterdir()] == [plist_path().name]


def test_removing_it_as_often_as_one_likes(mac: Mac, tmp_path: Path) -> None:
    install(OPTIONS, tmp_path / "night")
    assert "stopped and removed" in uninstall() and not mac.loaded.exists() and not plist_path().exists()
    assert uninstall() == f"There was no launch agent {LABEL}."
    mac.loaded.touch()  # its file was deleted by hand
    assert "stopped and removed" in uninstall() and not mac.loaded.exists()


def test_a_key_comes_from_the_keychain_and_is_written_nowhere(
    mac: Mac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-terminal")
    monkeypatch.setenv("MLX_AUTORESEARCH_RUNS", "/elsewhere/runs")
    with pytest.raises(AutoresearchError, match=r"security add-generic-password -s mlx-autoresearch -a ANTHROPIC_API_"):
        install(OPTIONS, tmp_path / "night")
    assert not plist_path().exists() and mac.asked() == []
    (mac.keys / "ANTHROPIC_API_KEY").write_text("sk-keychain\n")
    sentences = install(OPTIONS, tmp_path / "night")
    assert "Read from your keychain at every start: ANTHROPIC_API_KEY." in sentences
    agent = written()
    assert b"sk-" not in plist_path().read_bytes() and agent["EnvironmentVariables"]["PATH"] == os.environ["PATH"]
    assert agent["EnvironmentVariables"]["MLX_AUTORESEARCH_RUNS"] == "/elsewhere/runs"
    assert agent["ProgramArguments"][:2] == ["/bin/sh", "-c"] and "exec" in agent["ProgramArguments"][2]


def test_the_program_gets_the_keys_or_does_not_start(mac: Mac) -> None:
    program = [
        sys.executable,
        "-c",
        "import os; print(os.environ['ANTHROPIC_API_KEY'], os.environ['ANTHROPIC_AUTH_TOKEN'])",
    ]
    command = launch_agent.with_keys(program, ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
    (mac.keys / "ANTHROPIC_API_KEY").write_text("sk 'quoted' $HOME\n")
    refused = subprocess.run(command, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (1, "")
    (mac.keys / "ANTHROPIC_AUTH_TOKEN").write_text("token\n")
    assert subprocess.run(command, capture_output=True, text=True).stdout == "sk 'quoted' $HOME token\n"
    assert launch_agent.with_keys(program, []) == program


def test_agents_without_a_key_need_no_keychain(mac: Mac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-terminal")
    sentences = install(OPTIONS | {"agent": "search"}, tmp_path / "night")
    assert written()["ProgramArguments"][0] == sys.executable and "keychain" not in " ".join(sentences)
    sentences = install(OPTIONS | {"agent": "command", "command": "my-agent"}, tmp_path / "night")
    assert any(words.startswith("Of this terminal's environment") and "PATH" in words for words in sentences)


def test_a_night_by_the_hour_is_refused(mac: Mac, tmp_path: Path) -> None:
    with pytest.raises(AutoresearchError, match="--hours counts from every start"):
        install(OPTIONS | {"hours": 8.0}, tmp_path / "night")
    assert not plist_path().exists()


def test_a_loop_in_a_terminal_is_not_joined(mac: Mac, tmp_path: Path) -> None:
    with NightLock(tmp_path / "night"), pytest.raises(AutoresearchError, match="another loop"):
        install(OPTIONS, tmp_path / "night")
    assert not plist_path().exists() and mac.asked() == []


def test_what_macos_refuses_leaves_nothing(mac: Mac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mac.refuses.touch()
    with pytest.raises(AutoresearchError, match=r"Domain does not support.*log in at the Mac itself"):
        install(OPTIONS, tmp_path / "night")
    assert not plist_path().exists()
    mac.refuses.unlink()
    monkeypatch.setattr(plistlib, "dumps", lambda value: b"no property list")
    with pytest.raises(AutoresearchError, match="does not accept the launch agent"):
        install(OPTIONS, tmp_path / "night")
    assert list(plist_path().parent.iterdir()) == [] and not mac.loaded.exists()


def test_an_agent_that_does_not_end_is_told(mac: Mac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(OPTIONS, tmp_path / "night")
    (tmp_path / "bin" / "launchctl").write_text("#!/bin/sh\nexit 0\n")
    monkeypatch.setattr(launch_agent, "STOP_SECONDS", -10)
    with pytest.raises(AutoresearchError, match="launchd does not end"):
        uninstall()


def test_a_folder_that_macos_guards_is_mentioned(mac: Mac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_agent, "PROJECT", tmp_path / "home" / "Documents" / "research")
    assert any("Operation not permitted" in words for words in install(OPTIONS, tmp_path / "night"))


@pytest.mark.skipif(sys.platform != "linux", reason="what Linux is told")
def test_linux_is_told_what_to_do_instead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AutoresearchError, match=r"ExecStart=.* --tag nov24 .*enable-linger"):
        install(OPTIONS, tmp_path / "night")
    command = [sys.executable, "-m", "mlx_autoresearch.loop", "--uninstall-launch-agent"]
    answer = subprocess.run(command, cwd=launch_agent.PROJECT, capture_output=True, text=True)
    assert answer.returncode == 1 and answer.stderr.startswith("error: launch agents are macOS's")
