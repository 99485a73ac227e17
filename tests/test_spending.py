"""The ledger: every answer is written down, limits hold over sessions, unknown prices stay unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.spending import (
    LOST_ANSWERS,
    Cost,
    Ledger,
    Price,
    PriceTable,
    SpendingLimits,
    Usage,
    cost_text,
    known_prices,
)

TABLE = PriceTable("2026-11-25", {"known": Price(4.0, 20.0, 0.2, 5.0, 8.0)})
ONE_OF_EACH = Usage(1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000)


def test_each_kind_of_token_has_its_price(tmp_path: Path) -> None:
    cost = Ledger(tmp_path / "s.jsonl", TABLE).record("anthropic", "known", ONE_OF_EACH)
    assert cost == Cost(5_000_000, pytest.approx(4 + 20 + 0.2 + 5 + 8))


def test_ledger_goes_on_where_it_stopped_and_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    Ledger(path, TABLE).record("anthropic", "known", Usage(input_tokens=500_000))
    with path.open("a") as file:
        file.write('{"time": 1, "tok')
    again = Ledger(path, TABLE, SpendingLimits(dollars=3.0))
    assert again.total == Cost(500_000, 2.0) and again.refusal() is None
    again.record("anthropic", "known", Usage(input_tokens=250_000))
    assert "$3.00 of the $3.00" in again.refusal()
    lines = path.read_text().splitlines()
    assert len(lines) == 3 and json.loads(lines[2])["dollars"] == 1.0
    assert Ledger(path, TABLE).total == Cost(750_000, 3.0)


def test_limit_of_tokens_counts_everything(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "s.jsonl", TABLE, SpendingLimits(tokens=100))
    ledger.record("chat", "other", Usage(input_tokens=60, output_tokens=20, cache_read_tokens=20))
    assert "100 of the 100 tokens" in ledger.refusal()


def test_answers_that_broke_off_end_the_spending_where_a_limit_is_set(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    ledger = Ledger(path, TABLE, SpendingLimits(dollars=5.0))
    for number in range(LOST_ANSWERS):
        assert ledger.refusal() is None
        ledger.record_lost("chat", "known", f"timeout {number}")
    assert "3 answers broke off" in ledger.refusal() and ledger.total == Cost(0, None)
    assert "3 answers broke off" in Ledger(path, TABLE, SpendingLimits(tokens=5)).refusal()
    assert Ledger(path, TABLE).refusal() is None


def test_unknown_prices_are_unknown_and_never_zero(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "s.jsonl", TABLE, SpendingLimits(dollars=1.0))
    assert ledger.record("chat", "other", Usage(5, 5)).dollars is None
    assert ledger.total == Cost(10, None) and cost_text(ledger.total) == "10 tokens, price unknown"
    with pytest.raises(AutoresearchError, match=r"price of other is not known.*prices\.json"):
        ledger.check_model("other")
    ledger.check_model("known")


def test_what_the_provider_says_goes_before_the_table(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "s.jsonl", TABLE)
    assert ledger.record("claude", "other", Usage(5, 5, dollars=0.25)) == Cost(10, 0.25)
    assert cost_text(ledger.total) == "10 tokens, $0.25"


def test_shipped_prices_and_a_persons_own(tmp_path: Path) -> None:
    shipped = known_prices(tmp_path)
    opus = shipped.of("claude-opus-5-5")
    assert (opus.input, opus.output, opus.cache_read) == (4, 20, 0.2)
    assert (opus.cache_write, opus.cache_write_hour) == (5, 8)
    assert shipped.of("claude-haiku-4-5-20251001") == shipped.of("claude-haiku-4-5") and shipped.of("gpt-9") is None
    (tmp_path / "prices.json").write_text('{"date": "2027-01-01", "models": {"mine": {"input": 1, "output": 2}}}')
    own = known_prices(tmp_path)
    assert own.of("mine") == Price(1, 2, 0.1, 1.25, 2) and own.of("claude-opus-5-5") == opus


@pytest.mark.parametrize(
    "text", ["", "[]", '{"models": {}}', '{"date": "x", "models": {"a": {"input": -1, "output": 2}}}']
)
def test_a_broken_price_table_gets_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "prices.json").write_text(text)
    with pytest.raises(AutoresearchError, match="holds no price table"):
        known_prices(tmp_path)
