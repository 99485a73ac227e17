"""What must not change while a night goes on: the harness's own code, and the prepared dataset.

A run is measured by this code on this data, so both are looked at before and after everything that is run, and a change
ends the night. `train_mlx.py`, `program.md` and `ideas.md` are the person's to edit at any time; what Python itself
writes (`__pycache__`) doesn't count.

Code and small files are read and hashed each time. A large file is hashed again when its size, inode, time of change or
time of status change differs from what they were at the last hash: no ordinary process can set the last of them, and
every write moves it (one through a memory map when the system writes it back, on macOS at the latest when it is
unmapped).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlx_autoresearch.dataset import MANIFEST, Dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import sha256_of
from mlx_autoresearch.paths import PROJECT

SMALL_BYTES = 1 << 20
"""Files up to this size are hashed each time: a millisecond or less."""

Facts = tuple[int, int, int, int]


@dataclass
class FixedFiles:
    """Files with the content that they must keep.

    Attributes:
        project: folder of `prepare.py` and `mlx_autoresearch/`.
        code: SHA-256 of every source file, by path.
        folder: of the dataset.
        data: SHA-256 of every file of the dataset, by path.
        command: what a person types to prepare the dataset again.
        facts: of large files: what the file system said about them when they were last hashed.
    """

    project: Path
    code: dict[Path, str]
    folder: Path
    data: dict[Path, str]
    command: str
    facts: dict[Path, Facts] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, project: Path = PROJECT) -> FixedFiles:
        """The code of `project` as it is now, and `dataset` as its manifest says; reads all of it.

        Raises:
            AutoresearchError: a file of the dataset is not what the manifest says.
        """
        paths = {name: dataset.folder / name for name in dataset.manifest["files"]}
        facts = {path: facts_of(path) for path in paths.values() if path.is_file()}  # before they are read
        dataset.verify()
        manifest = dataset.folder / MANIFEST
        data = {path: dataset.manifest["files"][name]["sha256"] for name, path in paths.items()}
        code = {path: sha256_of(path) for path in code_of(project)}
        command = dataset.manifest.get("command", "python prepare.py")
        return cls(project, code, dataset.folder, data | {manifest: sha256_of(manifest)}, command, facts)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Check before and after the block; a block that raises has its own reason to end the night.

        Raises:
            AutoresearchError: a file changed, vanished or appeared.
        """
        self.check()
        yield
        self.check()

    def check(self) -> None:
        """Compare everything with what it was.

        Raises:
            AutoresearchError: a file changed, vanished or appeared; says which, and what to do.
        """
        there = set(code_of(self.project))
        changed = {path for path, known in self.code.items() if not _has_content(path, known)} | there - set(self.code)
        if changed:
            raise AutoresearchError(
                f"{min(changed)} was changed while the night was running. The harness must stay as it was, or scores "
                "don't compare, so the night stops here and the run that was going on is dropped. Undo the change, or "
                "leave it if it can't affect a score, and start the same command again; else start another --tag"
            )
        for path, known in self.data.items():
            if not self._is_same(path, known):
                raise AutoresearchError(
                    f"{path} was changed while the night was running. Scores on other data don't compare, so the night "
                    f"stops here and the run that was going on is dropped. Delete {self.folder}, run "
                    f"`{self.command}` again, and start the same command again"
                )

    def _is_same(self, path: Path, known: str) -> bool:
        try:
            facts = facts_of(path)
        except OSError:
            return False
        if facts[0] > SMALL_BYTES and self.facts.get(path) == facts:
            return True
        self.facts[path] = facts
        return _has_content(path, known)


def _has_content(path: Path, known: str) -> bool:
    try:
        return sha256_of(path) == known
    except OSError:
        return False


def code_of(project: Path) -> list[Path]:
    """The harness's source files: the package and prepare.py."""
    files = [*sorted((project / "mlx_autoresearch").rglob("*.py")), *project.glob("prepare.py")]
    return [path for path in files if not path.name.startswith(".")]  # editors put locks there


def facts_of(path: Path) -> Facts:
    """Size, inode, time of change and time of status change, in nanoseconds.

    Raises:
        OSError: there is no such file.
    """
    facts = path.stat()
    return facts.st_size, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns
