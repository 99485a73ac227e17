"""What language models cost: usage, prices, a ledger on disk, and limits that end the spending, not the night.

    runs/<tag>/spending.jsonl    one line per answered request: time, agent, model, tokens, dollars (null: unknown)

Notable: every answer is written down before anything is done with it. One that never came to its end is written down as
lost, with unknown cost, and a limit that can't be kept any more for that reason ends the spending too. A price that is
not known is unknown, never zero. Prices are data (`prices.json`, with the day they were looked up);
a person's own `prices.json` in the project folder goes first.
"""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import append_line, read_json
from mlx_autoresearch.paths import PROJECT

SPENDING_FILE = "spending.jsonl"
PRICES_FILE = "prices.json"


@dataclass(frozen=True)
class Usage:
    """Tokens of one answered request; the four kinds of input are disjoint.

    Attributes:
        input_tokens: read at the full price.
        output_tokens: written, thinking included.
        cache_read_tokens: read from the prompt cache.
        cache_write_tokens: written to the cache for five minutes.
        cache_write_hour_tokens: written to the cache for an hour.
        dollars: what the provider itself says that it cost; None when it doesn't say.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_hour_tokens: int = 0
    dollars: float | None = None

    @property
    def tokens(self) -> int:
        """All tokens, whatever they cost."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.cache_write_hour_tokens
        )


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens of one model."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    cache_write_hour: float

    def of(self, usage: Usage) -> float:
        """Dollars for `usage`."""
        parts = (
            (self.input, usage.input_tokens),
            (self.output, usage.output_tokens),
            (self.cache_read, usage.cache_read_tokens),
            (self.cache_write, usage.cache_write_tokens),
            (self.cache_write_hour, usage.cache_write_hour_tokens),
        )
        return math.fsum(price * tokens for price, tokens in parts) / 1e6


@dataclass(frozen=True)
class PriceTable:
    """Prices by model name.

    Attributes:
        date: the day they were looked up, ISO 8601.
        models: price by model; a name with a date at its end (`-20251001`) is looked up without it too.
    """

    date: str
    models: dict[str, Price]

    def of(self, model: str) -> Price | None:
        """The price of a model, None when it is not known."""
        plain = model.rstrip("0123456789").rstrip("-") if model[-8:].isdigit() else model
        return self.models.get(model) or self.models.get(plain)


def read_prices(path: Path) -> PriceTable:
    """A price table: {"date": "2026-11-25", "models": {"name": {"input": 4, "output": 20, ...}}}.

    Only `input` and `output` are needed: what the cache costs follows, unless given, from Anthropic's usual factors
    (reading 0.1, writing for five minutes 1.25, for an hour 2).

    Raises:
        AutoresearchError: the file can't be read or holds no such table.
    """
    try:
        table = read_json(path)
        models = {str(name): _read_price(price) for name, price in table["models"].items()}
        return PriceTable(str(table["date"]), models)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AutoresearchError(
            f"{path} holds no price table ({type(error).__name__}: {error}); it should look like "
            '{"date": "2026-11-25", "models": {"my-model": {"input": 1.5, "output": 6}}}, dollars per million tokens'
        ) from None


def _read_price(price: dict) -> Price:
    known = {name: float(value) for name, value in price.items()}
    if not all(math.isfinite(value) and value >= 0 for value in known.values()):
        raise ValueError("a price is a number of dollars, not below zero")
    base = known["input"]
    return Price(**{"cache_read": 0.1 * base, "cache_write": 1.25 * base, "cache_write_hour": 2 * base, **known})


def known_prices(project: Path = PROJECT) -> PriceTable:
    """The table that comes with the project, with a person's own `prices.json` laid over it.

    Raises:
        AutoresearchError: the person's file holds no price table.
    """
    own = project / PRICES_FILE
    shipped = read_prices(Path(__file__).with_name(PRICES_FILE))
    if not own.exists():
        return shipped
    table = read_prices(own)
    return PriceTable(table.date, {**shipped.models, **table.models})


@dataclass(frozen=True)
class SpendingLimits:
    """When language models are asked no more; None for no limit. The whole tag counts, earlier sessions too."""

    dollars: float | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Cost:
    """What one thing cost.

    Attributes:
        tokens: all tokens.
        dollars: None when any part of it is unknown.
    """

    tokens: int = 0
    dollars: float | None = 0.0

    def __add__(self, other: Cost) -> Cost:
        known = self.dollars is not None and other.dollars is not None
        return Cost(self.tokens + other.tokens, self.dollars + other.dollars if known else None)


LOST_ANSWERS = 3
"""A limit stands so many answers of unknown cost; then nobody can say any more whether it is kept."""


class Ledger:
    """All that a tag has spent. Safe to use from several threads."""

    def __init__(self, path: Path, prices: PriceTable, limits: SpendingLimits | None = None) -> None:
        """`path` is runs/<tag>/spending.jsonl; what is already in it counts. A torn last line is passed over."""
        self._path, self._prices, self._limits = path, prices, limits or SpendingLimits()
        self._lock = threading.Lock()
        self._tokens, self._dollars, self._unknown, self._lost = 0, 0.0, 0, 0
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
            try:
                entry = json.loads(line)
                self._count(Cost(int(entry["tokens"]), entry["dollars"]))
                self._lost += "lost" in entry
            except (ValueError, KeyError, TypeError):
                continue

    def record(self, agent: str, model: str, usage: Usage) -> Cost:
        """Write one answered request down and return what it cost."""
        price = self._prices.of(model)
        dollars = usage.dollars if usage.dollars is not None or price is None else price.of(usage)
        cost = Cost(usage.tokens, dollars)
        parts = {name: value for name, value in asdict(usage).items() if name != "dollars"}
        entry = {"time": round(time.time(), 3), "agent": agent, "model": model, **parts, **asdict(cost)}
        with self._lock:
            append_line(self._path, json.dumps(entry))
            self._count(cost)
        return cost

    def record_lost(self, agent: str, model: str, reason: str) -> None:
        """Write down a request that may have cost something and whose answer never came to its end."""
        entry = {"time": round(time.time(), 3), "agent": agent, "model": model, "lost": reason, "tokens": 0}
        with self._lock:
            append_line(self._path, json.dumps({**entry, "dollars": None}))
            self._count(Cost(0, None))
            self._lost += 1

    @property
    def total(self) -> Cost:
        """Everything so far; dollars is None when the price of any request is unknown."""
        with self._lock:
            return Cost(self._tokens, None if self._unknown else self._dollars)

    def refusal(self) -> str | None:
        """Why nothing more may be spent, in a sentence; None while there is something left."""
        with self._lock:
            if self._limits.dollars is not None and self._dollars >= self._limits.dollars:
                return f"${self._dollars:.2f} of the ${self._limits.dollars:.2f} allowed by --max-usd are spent"
            if self._limits.tokens is not None and self._tokens >= self._limits.tokens:
                return f"{self._tokens:,} of the {self._limits.tokens:,} tokens allowed by --max-tokens are spent"
            if self._limits != SpendingLimits() and self._lost >= LOST_ANSWERS:
                return f"{self._lost} answers broke off and nobody knows what they cost, so the limit can't be kept"
        return None

    def check_model(self, model: str) -> None:
        """Refuse a limit in dollars for a model whose price is not known.

        Raises:
            AutoresearchError: with what to do instead.
        """
        if self._limits.dollars is not None and self._prices.of(model) is None:
            raise AutoresearchError(
                f"the price of {model} is not known, so --max-usd can't be kept; add it to {PRICES_FILE} in the "
                f'project folder ({{"date": "...", "models": {{"{model}": {{"input": 1.5, "output": 6}}}}}}, dollars '
                "per million tokens), or limit --max-tokens"
            )

    def _count(self, cost: Cost) -> None:
        self._tokens += cost.tokens
        if cost.dollars is None:
            self._unknown += 1
        else:
            self._dollars += cost.dollars


def cost_text(cost: Cost) -> str:
    """A cost for a person: "12,345 tokens, $0.42", with "price unknown" where it is."""
    return f"{cost.tokens:,} tokens, {'price unknown' if cost.dollars is None else f'${cost.dollars:.2f}'}"
