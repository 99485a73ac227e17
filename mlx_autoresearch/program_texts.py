"""Hundreds of nearly equal programs in little memory: a night holds every text that was tried until the morning."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import wraps
from hashlib import blake2b
from threading import Lock
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class SharedText:
    """A text as lines, each of which is kept once for all texts: an edit takes 4 KiB instead of 28."""

    lines: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> SharedText:
        """`text`, held by its lines."""
        return cls(tuple(map(sys.intern, text.split("\n"))))

    def __str__(self) -> str:
        """The text."""
        return "\n".join(self.lines)


def digest(text: str | bytes) -> bytes:
    """What tells a text from all others, in 16 bytes."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return blake2b(content, digest_size=16).digest()


def remembered(maxsize: int) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """As `functools.lru_cache`, for positional arguments; texts among them are known by their digests and not held."""

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        results: OrderedDict[Hashable, Result] = OrderedDict()
        lock = Lock()

        @wraps(function)
        def remembering(*arguments: Hashable) -> Result:
            key = tuple(digest(each) if isinstance(each, str) else each for each in arguments)
            with lock:
                if key in results:
                    results.move_to_end(key)
                    return results[key]
            result = function(*arguments)
            with lock:
                results[key] = result
                while len(results) > maxsize:
                    results.popitem(last=False)
            return result

        return remembering

    return decorate
