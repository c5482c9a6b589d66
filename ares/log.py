"""Log events: silent until `configure()` is called, and free of secrets when it has been.

Every module that has something to tell takes one logger and names what happened, `noun.past_verb`, with the
facts as keys:

    log = get_logger("execution")
    log.info("order.accepted", order_id=order.order_id, symbol="ETHUSDT", price=Decimal("3050.12"))

The library never configures logging and does not print: only an application, such as the command line, does. The one
exception is `tell`: a line for a person who sits at a terminal or a notebook and would otherwise wait without a word.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping
from decimal import Decimal
from typing import Any, Literal, TextIO

from ares.errors import unknown_name
from ares.secret import HIDDEN, Secret, hide_secrets

__all__ = ["Logger", "configure", "get_logger", "hush", "silence", "tell"]

Level = Literal["debug", "info", "warning", "error"]
Sink = Callable[[str, str, Mapping[str, object]], None]

_RANK = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_SECRET_KEYS = frozenset(
    {"api_key", "api_secret", "apikey", "secret", "signature", "password", "token", "listen_key", "listenkey"}
)
_sink: Sink | None = None  # where events go; None: nowhere
_hushed = False  # True once an application has said that it talks to the person itself


class Logger:
    """Emits events under a name. Costs one comparison per call while logging is silent."""

    __slots__ = ("_bound",)

    def __init__(self, bound: Mapping[str, object]) -> None:
        self._bound = dict(bound)

    def bind(self, **facts: object) -> Logger:
        """A logger that adds these facts to each of its events, such as the `trade_id` of one trade's story."""
        return Logger({**self._bound, **facts})

    def debug(self, event: str, **facts: object) -> None:
        if _sink is not None:
            _sink("debug", event, {**self._bound, **facts})

    def info(self, event: str, **facts: object) -> None:
        if _sink is not None:
            _sink("info", event, {**self._bound, **facts})

    def warning(self, event: str, **facts: object) -> None:
        if _sink is not None:
            _sink("warning", event, {**self._bound, **facts})

    def error(self, event: str, **facts: object) -> None:
        if _sink is not None:
            _sink("error", event, {**self._bound, **facts})


def tell(text: str) -> None:
    """One line on standard error, if a person is there: at a terminal, or in IPython. Never on standard output."""
    if not _hushed and (sys.stderr.isatty() or _in_ipython()):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def hush() -> None:
    """The application tells the person itself what takes long; `tell` is silent from now on."""
    global _hushed
    _hushed = True


def _in_ipython() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and shell.get_ipython() is not None


def get_logger(name: str) -> Logger:
    """A logger whose events carry `logger=name`; name it after the room or the part that speaks."""
    return Logger({"logger": name})


def configure(
    level: Level = "info",
    *,
    json: bool = False,
    stream: TextIO | None = None,
    logger: Any = None,
) -> None:
    """Turns log events on, for the whole process; a later call replaces an earlier one.

    level: the least important events to show. json: one JSON object a line, else text for people.
    stream: where to write, standard error when None. logger: a structlog logger of your own to receive the
    events instead; then `json` and `stream` are not used. Secrets are removed before either sees an event.
    Raises: InvalidInput for an unknown level.
    """
    if level not in _RANK:
        raise unknown_name("log level", level, _RANK)
    target = logger if logger is not None else _structlog(json, stream if stream is not None else sys.stderr)
    floor = _RANK[level]

    def emit(severity: str, event: str, facts: Mapping[str, object]) -> None:
        if _RANK[severity] >= floor:
            getattr(target, severity)(event, **_clean(facts))

    global _sink
    _sink = emit


def silence() -> None:
    """Turns log events off again."""
    global _sink
    _sink = None


def _structlog(json: bool, stream: TextIO) -> Any:
    """A structlog logger of our own; the application's global structlog configuration stays as it is."""
    import structlog

    def name_level(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["level"] = method
        return event

    render: Any
    if json:
        render = structlog.processors.JSONRenderer(sort_keys=False)
    else:
        render = structlog.dev.ConsoleRenderer(colors=hasattr(stream, "isatty") and stream.isatty())
    return structlog.wrap_logger(
        structlog.PrintLogger(stream),
        wrapper_class=structlog.BoundLogger,
        processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), name_level, render],
        context_class=dict,
        cache_logger_on_first_use=True,
    )


def _clean(facts: Mapping[str, object]) -> dict[str, object]:
    """The facts fit to print: decimals as strings, secrets gone, control characters of venue texts escaped."""
    return {key: HIDDEN if key.lower() in _SECRET_KEYS else _plain(value) for key, value in facts.items()}


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, (Decimal, str)):
        return _printable(hide_secrets(str(value)))
    if isinstance(value, Mapping):
        return _clean({str(key): item for key, item in value.items()})
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return _printable(hide_secrets(str(value)))


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
