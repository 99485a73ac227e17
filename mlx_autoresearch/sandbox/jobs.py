"""The two jobs of an experiment and what each may do: training runs the agent's Python, scoring only its graph.

Both get folders of their own for compiled kernels. MLX loads whatever library lies there under the right name, so a
shared folder would let one training file plant code that runs in another's process, or the scorer's. Training's lasts
as long as its file is tried, since compiling takes half a minute; scoring compiles little and starts from nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
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
    training_file: Path, folder: Path, settings_file: Path, dataset: Path, extra: dict[str, str], limits: Limits | None
) -> Policy:
    """Training sees the train split and its own file, and writes its run's folder and its kernels.

    Args:
        training_file: what is run.
        folder: the run's folder.
        settings_file: what the harness tells the run; read-only.
        dataset: folder of the prepared dataset.
        extra: variables for its environment.
        limits: what it may use up; None for those of this machine.
    """
    kernels = kernels_of(training_file)
    shards = [dataset / MANIFEST, dataset / "tokenizers", dataset / "train"]
    return Policy(
        folder=folder,
        readable=(*python_and_project(), *tools(), *shards, training_file, settings_file),
        writable=(folder, kernels),
        environment=child_environment(extra | {"TMPDIR": str(kernels), "HOME": str(kernels)}),
        limits=limits or limits_of_this_machine(folder),
    )


def scoring_policy(folder: Path, dataset: Path, splits: Sequence[str], kernels: Path, limits: Limits | None) -> Policy:
    """Scoring sees the hand-in in `folder` and the held-out splits, and writes nothing but its `kernels`."""
    shards = [dataset / MANIFEST, dataset / "tokenizers", *(dataset / split for split in splits)]
    return Policy(
        folder=folder,
        readable=(*python_and_project(), *tools(), *shards, folder),
        writable=(kernels,),
        environment=child_environment({"TMPDIR": str(kernels), "HOME": str(kernels)}),
        limits=limits or limits_of_this_machine(folder),
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


@contextmanager
def throw_away_kernels() -> Iterator[Path]:
    """An empty folder for compiled kernels that is gone afterwards."""
    root = paths.cache_root() / "sandbox"
    root.mkdir(parents=True, exist_ok=True)
    with temporary_folder(root, "scoring") as folder:
        yield folder


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
