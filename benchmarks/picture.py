"""The one thing that pictures need besides the numbers: matplotlib, which only the extra `bench` installs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlx_autoresearch.errors import AutoresearchError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_class() -> type[Figure]:
    """matplotlib's Figure, which draws to a file without a screen.

    Raises:
        AutoresearchError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise AutoresearchError(
            "The numbers are written, the picture needs matplotlib: pip install -e '.[bench]', then the same command."
        ) from None
    return Figure
