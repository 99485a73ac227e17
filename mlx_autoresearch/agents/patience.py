"""Asking a server again, inside one conversation: a few tries, short waits, and an end at any moment.

Notable: client libraries really sleep as long as a server tells them to (measured: 7,200 s), and don't try again when a
stream breaks. So they get no retries, and this is done instead. A long wait is the caller's business, who has other
work for the machine meanwhile.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from mlx_autoresearch.agents import AgentUnavailableError

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How often and how long one request is tried.

    Attributes:
        tries: in all.
        first_wait: seconds before the second try; every further wait is twice as long.
        longest_wait: seconds. A server that asks for more is not waited for.
    """

    tries: int = 4
    first_wait: float = 2.0
    longest_wait: float = 60.0


def ask_patiently(ask: Callable[[], T], patience: Patience, closing: threading.Event) -> T:
    """The result of `ask`, which is called again after an AgentUnavailableError; all else that it raises is passed on.

    Args:
        ask: one try.
        patience: tries and waits.
        closing: ends the waiting at once when it is set, and begins no further try.

    Raises:
        AgentUnavailableError: of the last try, or of one whose server asks for a longer wait than `patience` has.
    """
    for number in range(patience.tries):
        try:
            if closing.is_set():
                raise AgentUnavailableError("the agent was closed")
            return ask()
        except AgentUnavailableError as error:
            asked_for = error.retry_after or 0.0
            if number + 1 == patience.tries or asked_for > patience.longest_wait:
                raise
            wait = max(asked_for, min(patience.longest_wait, patience.first_wait * 2**number))
            if closing.wait(wait):
                raise
    raise ValueError("patience without a single try")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds after which a server wants to be asked again, from its `retry-after` header; None when it doesn't say.

    The header holds seconds or a date; `headers` is looked up in lower case.
    """
    value = headers.get("retry-after")
    if not value:
        return None
    with suppress(ValueError):
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None
