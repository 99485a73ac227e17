"""The two jobs of an experiment and what each may do: training runs the agent's Python, scoring only its graph.

Both get folders of their own for compiled kernels. MLX loads whatever library lies there under the right name, so a
shared folder would let one training file plant code that runs in another's process, or the scorer's. What a smoke run
compiled is kept as long as its file is tried, since compiling takes half a minute; a run that counts gets a copy that
is thrown away, or it could hide its weights there for the next one. Scoring compiles little and starts from nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlx_autoresearch import blas, compiler, paths
from mlx_autoresearch.dataset import MANIFEST
from mlx_autoresearch.files import TEMPORARY_SUFFIX, remove_tree
from mlx_autoresearch.process import child_environment
from mlx_autoresearch.sandbox.policy import Limits, Policy, limits_of_this_machine, python_and_project
from mlx_autoresearch.temporary import temporary_folder

KEPT_FOLDERS = 64
"""Folders of compiled kernels that are kept, the last used ones: some megabytes each."""

MOST_SHARED_BYTES = 64 << 20


def training_policy(
    training_file: Path,
    folder: Path,
    settings_file: Path,
    dataset: Path,
    kernels: Path,
    extra: dict[str, str],
    limits: Limits | None,
) -> Policy:
    """Training sees the train split and its own file, and writes its run's folder and its kernels.

    Args:
        training_file: what is run.
        folder: the run's folder.
        settings_file: what the harness tells the run; read-only.
        dataset: folder of the prepared dataset.
        kernels: where compiled kernels lie.
        extra: variables for its environment.
        limits: what it may use up; None for those of this machine.
    """
    shards = [dataset / MANIFEST, dataset / "tokenizers", dataset / "train"]
    return Policy(
        folder=folder,
        readable=(*python_and_project(), *tools(), *shards, training_file, settings_file),
        writable=(folder, kernels),
        environment=child_environment(extra | {"TMPDIR": str(kernels), "HOME": str(kernels)}),
        limits=limits or limits_of_this_machine(folder),
    )


def unconfined_policy(folder: Path, extra: dict[str, str], limits: Limits | None) -> Policy:
    """Training without a sandbox: nothing is hidden, so nothing is named; kernels are shared with the person's own."""
    return Policy(folder, (), (folder,), child_environment(extra), limits or limits_of_this_machine(folder))


def scoring_policy(graph: Path, work: Path, extra: dict[str, str], limits: Limits | None) -> Policy:
    """Scoring sees the graph that was handed in, and what it is asked in `work`, which it may write.

    No dataset, and nothing else of the run's folder: what another process is asked lies there at the same time.

    Args:
        graph: the graph's file.
        work: its working folder.
        extra: variables for its environment.
        limits: what it may use up; None for those of this machine.
    """
    return Policy(
        folder=work,
        readable=(*python_and_project(), *tools(), graph),
        writable=(work,),
        environment=child_environment(extra | {"TMPDIR": str(work), "HOME": str(work)}),
        limits=limits or limits_of_this_machine(work),
    )


def tools() -> tuple[Path, ...]:
    """The compiler's wrapper and the BLAS copy: made here, because inside they can't be written."""
    found = (compiler.make_wrapper(), blas.make_copy())
    return tuple(path for path in found if path is not None)


def has_kernels(training_file: Path) -> bool:
    """Whether this very file has trained here before, so that its kernels are compiled."""
    return _folder(training_file).is_dir()


def kernels_of(training_file: Path) -> Path:
    """The folder for compiled kernels of this very text of a training file, made when missing.

    It starts as a copy of what the person's own file compiled: an edit shares most kernels with it.
    """
    folder = _folder(training_file)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _forget_old_ones(folder.parent)
        with temporary_folder(folder.parent, "making") as temporary:
            new = temporary / folder.name
            new.mkdir()
            _copy_plain_files(_shared(), new)
            os.rename(new, folder)
    os.utime(folder)
    return folder


def copy_kernels(training_file: Path, folder: Path) -> Path:
    """Make `folder`, inside a run's own, a copy of a training file's kernels; `evidence.clear_up` removes it."""
    folder.mkdir()
    _copy_plain_files(kernels_of(training_file), folder)
    return folder


@contextmanager
def passing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards, whatever somebody put into it; what a kill left there goes first."""
    remove_tree(folder)
    folder.mkdir()
    try:
        yield folder
    finally:
        remove_tree(folder)


def file_to_share() -> Path | None:
    """The person's own train_mlx.py while nothing that it compiled is there for others to start from; else None."""
    own = paths.PROJECT / "train_mlx.py"
    return own if own.is_file() and not _shared().is_dir() else None


def share_kernels(training_file: Path) -> None:
    """Let others start from what `training_file` compiled, if it is the person's own train_mlx.py and no agent's."""
    own = paths.PROJECT / "train_mlx.py"
    if not own.is_file() or own.read_bytes() != training_file.read_bytes():
        return
    with suppress(OSError):
        _shared().mkdir(parents=True, exist_ok=True)
        _copy_plain_files(_folder(training_file), _shared())


def _folder(training_file: Path) -> Path:
    digest = hashlib.sha256(training_file.read_bytes()).hexdigest()[:16]
    return paths.cache_root() / "sandbox" / f"training-{compiler.processor()}-{digest}"


def _shared() -> Path:
    return compiler.kernels_folder("own")


def _copy_plain_files(source: Path, target: Path) -> None:
    """Copy regular files that are new, up to MOST_SHARED_BYTES; what else a job left there is passed over."""
    copied = 0
    for parent, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not Path(parent, name).is_symlink()]
        there = target / Path(parent).relative_to(source)
        for name in names:
            facts = Path(parent, name).lstat()
            plain = stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1
            copied += facts.st_size if plain else 0
            if copied > MOST_SHARED_BYTES:
                return
            if plain and not (there / name).exists():
                there.mkdir(parents=True, exist_ok=True)
                partial = there / f"copying{TEMPORARY_SUFFIX}"  # kernels' names leave no room for a suffix
                shutil.copyfile(Path(parent, name), partial)
                os.rename(partial, there / name)


def _forget_old_ones(root: Path) -> None:
    folders = sorted(root.glob("training-*"), key=lambda path: path.stat().st_mtime)
    for folder in folders[: max(0, len(folders) - KEPT_FOLDERS)]:
        with suppress(OSError):
            remove_tree(folder)
