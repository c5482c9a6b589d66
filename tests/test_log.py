"""Log events: silent by default, one object a line when asked for, never with a secret in them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace

import pytest

import ares.log
from ares.errors import InvalidInput
from ares.log import configure, get_logger, silence
from ares.secret import Secret

CANARY = "canary-3Lk8sW1z"


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    silence()
    yield
    silence()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_nothing_is_printed_until_configured(capfd: pytest.CaptureFixture[str]) -> None:
    get_logger("desk").error("order.rejected", code=-2019)
    assert capfd.readouterr() == ("", "")


def test_an_event_carries_its_facts() -> None:
    stream = io.StringIO()
    configure(json=True, stream=stream)
    log = get_logger("execution").bind(trade_id="T1")
    log.info("order.accepted", price=Decimal("64000.10"), quantity=Decimal("0.5"), seq=7, side=None)
    (line,) = lines(stream)
    stamp = line.pop("timestamp")
    assert str(stamp).endswith("Z")
    assert line == {
        "logger": "execution",
        "trade_id": "T1",
        "event": "order.accepted",
        "level": "info",
        "price": "64000.10",
        "quantity": "0.5",
        "seq": 7,
        "side": None,
    }


def test_the_level_decides_what_is_shown() -> None:
    stream = io.StringIO()
    configure("warning", json=True, stream=stream)
    log = get_logger("x")
    log.debug("a.b")
    log.info("c.d")
    log.warning("e.f")
    log.error("g.h")
    assert [line["event"] for line in lines(stream)] == ["e.f", "g.h"]
    with pytest.raises(InvalidInput, match="did you mean 'warning'"):
        configure("warn")  # type: ignore[arg-type]


@pytest.mark.parametrize("json_lines", [True, False])
def test_secrets_are_removed_wherever_they_hide(json_lines: bool) -> None:
    stream = io.StringIO()
    configure(json=json_lines, stream=stream)
    key = Secret(CANARY)
    get_logger("wire").info(
        "request.sent",
        key=key,
        url=f"https://venue/x?signature={CANARY}",
        headers={"X-KEY": CANARY, "api_secret": "another-secret-text"},
        parts=[CANARY, (CANARY, {"deep": CANARY})],
        error=ValueError(f"bad {CANARY}"),
    )
    assert "request.sent" in stream.getvalue()
    assert CANARY not in stream.getvalue()
    assert "another-secret-text" not in stream.getvalue()


def test_control_characters_of_a_venue_are_escaped() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    get_logger("wire").warning("answer.odd", text="a\x1b[31mred\nnext")
    assert "\x1b[31m" not in stream.getvalue().replace("\x1b[0m", "")
    assert stream.getvalue().count("\n") == 1


def test_an_application_may_bring_its_own_logger() -> None:
    class Mine:
        def __init__(self) -> None:
            self.events: list[tuple[str, dict[str, object]]] = []

        def info(self, event: str, **facts: object) -> None:
            self.events.append((event, facts))

    mine = Mine()
    configure(logger=mine)
    get_logger("desk").info("trade.closed", profit=Decimal("1.5"))
    assert mine.events == [("trade.closed", {"logger": "desk", "profit": "1.5"})]


class Terminal(io.StringIO):
    """Standard error with or without a person before it."""

    def __init__(self, person: bool) -> None:
        super().__init__()
        self._person = person

    def isatty(self) -> bool:
        return self._person


def test_a_waiting_person_is_told_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ares.log, "_hushed", False)
    for person, said in ((True, "compiling\n"), (False, "")):
        stream = Terminal(person)
        monkeypatch.setattr(sys, "stderr", stream)
        ares.log.tell("compiling")
        assert stream.getvalue() == said
    notebook = Terminal(person=False)
    monkeypatch.setattr(sys, "stderr", notebook)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    ares.log.tell("compiling")
    ares.log.hush()
    ares.log.tell("again")
    assert notebook.getvalue() == "compiling\n" and capsys.readouterr().out == ""


def test_a_cold_start_of_features_says_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    from ares.features import orchestrator

    stream = Terminal(person=True)
    monkeypatch.setattr(ares.log, "_hushed", False)
    monkeypatch.setattr(sys, "stderr", stream)
    for compiled, lines in ((False, 1), (True, 1)):
        monkeypatch.setattr(orchestrator, "is_compiled", lambda kernel, known=compiled: known)
        orchestrator.FeatureOrchestrator().stream("ETHUSDT", "1h")
        assert stream.getvalue().count("compiles the feature kernels") == lines
