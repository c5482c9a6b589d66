"""A plan of named faults: what goes wrong at the local venue, where, when and how often.

A fault is found by its meaning, such as "the second POST of an order whose client id ends in -7", never by the number
of a request, so that removing one fault does not move the others. Plans come from code, from YAML or from one line:

    unknown_503 at POST /fapi/v1/order nth 2
    late at btcusdt@kline_1m for 3
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from attrs.validators import ge

from ares.errors import InvalidInput, unknown_name
from ares.strict_yaml import read_yaml

__all__ = ["Fault", "FaultKind", "FaultPlan"]


class FaultKind(str, Enum):
    """What can go wrong."""

    TIMEOUT_AFTER_ACCEPTANCE = "timeout_after_acceptance"  # executed, never answered
    UNKNOWN_503 = "unknown_503"  # executed, answered "Unknown error"
    UNAVAILABLE_503 = "unavailable_503"  # not executed
    BACKEND_TIMEOUT = "backend_timeout"  # -1007, executed
    THROTTLED = "throttled"  # -1008, not executed
    TOO_MANY = "too_many"  # 429 with Retry-After, not executed
    BANNED = "banned"  # 418 with Retry-After, not executed
    DROPPED = "dropped"  # the connection breaks: after execution for a request, at once for a stream
    TRUNCATED = "truncated"  # the body or frame is cut
    STALLED = "stalled"  # a stream falls silent for `seconds`
    DUPLICATED = "duplicated"  # a frame comes twice
    REORDERED = "reordered"  # a frame comes after its successor
    LATE = "late"  # a frame comes `seconds` late
    CLOCK_DRIFT = "clock_drift"  # from here on the venue's clock is `seconds` ahead
    LISTEN_KEY_EXPIRED = "listen_key_expired"  # the private stream ends
    MAINTENANCE = "maintenance"  # every request is refused for `seconds`


_STREAM = {
    FaultKind.STALLED,
    FaultKind.DUPLICATED,
    FaultKind.REORDERED,
    FaultKind.LATE,
    FaultKind.LISTEN_KEY_EXPIRED,
}


def _kind(value: FaultKind | str) -> FaultKind:
    try:
        return FaultKind(value)
    except ValueError:
        raise unknown_name("fault", str(value), [k.value for k in FaultKind]) from None


@frozen(kw_only=True)
class Fault:
    """One fault. `at`: a pattern over "POST /fapi/v1/order", over a stream's name, or "private"; `*` matches all."""

    kind: FaultKind = field(converter=_kind)
    at: str = "*"
    client_id: str = "*"  # pattern over the client order id of the request; "*" also matches none
    nth: int = field(default=1, validator=ge(1))  # the first match that is hit, from 1
    count: int = field(default=1, validator=ge(1))  # how many matches in a row
    seconds: float = field(default=5.0, validator=ge(0.0))

    @property
    def on_stream(self) -> bool:
        """True for faults that only a stream can have."""
        return self.kind in _STREAM

    @classmethod
    def parse(cls, text: str) -> Fault:
        """A fault from a line: KIND [at PATTERN] [id PATTERN] [nth N] [count N] [for SECONDS]. Raises InvalidInput."""
        words = text.split()
        if not words:
            raise InvalidInput("a fault needs a kind")
        given: dict[str, Any] = {"kind": words[0]}
        names = {"at": "at", "id": "client_id", "nth": "nth", "count": "count", "for": "seconds"}
        position = 1
        while position < len(words):
            word = words[position]
            if word not in names or position + 1 >= len(words):
                raise InvalidInput(f"fault {text!r}: {word!r} is not understood; words are {', '.join(names)}")
            end = position + 2
            while word == "at" and end < len(words) and words[end] not in names:
                end += 1
            value = " ".join(words[position + 1 : end])
            try:
                given[names[word]] = (
                    value if word in ("at", "id") else float(value) if word == "for" else int(value)
                )
            except ValueError:
                raise InvalidInput(f"fault {text!r}: {value!r} is no number") from None
            position = end
        return cls(**given)


@define
class FaultPlan:
    """Faults in order; the first one that matches and is due happens. `happened` counts each kind."""

    faults: Sequence[Fault] = ()
    happened: Counter[str] = field(factory=Counter, init=False)
    _seen: Counter[int] = field(factory=Counter, init=False)

    @classmethod
    def from_file(cls, path: Path | str) -> FaultPlan:
        """A plan from YAML: a list under `faults`, each a line as `Fault.parse` takes it. Raises InvalidInput."""
        source = Path(path)
        if not source.is_file():
            raise InvalidInput(f"no fault plan {source}", path=str(source))
        top = read_yaml(source.read_text(encoding="utf-8"), str(source))
        lines = top.values.get("faults")
        if set(top.values) != {"faults"} or not isinstance(lines, list | tuple):
            raise InvalidInput(f"{source}: a fault plan has one key, `faults`, with a list of lines")
        return cls([Fault.parse(str(line)) for line in lines])

    def for_request(self, what: str, client_id: str = "") -> Fault | None:
        """The fault of a request such as "POST /fapi/v1/order"; counts the match."""
        return self._due(what, client_id, stream=False)

    def for_frame(self, stream: str) -> Fault | None:
        """The fault of the next frame of a stream; counts the match."""
        return self._due(stream, "", stream=True)

    def _due(self, what: str, client_id: str, *, stream: bool) -> Fault | None:
        found: Fault | None = None
        for number, fault in enumerate(self.faults):
            if fault.on_stream is not stream and fault.kind not in (FaultKind.DROPPED, FaultKind.TRUNCATED):
                continue
            if not (fnmatchcase(what, fault.at) and fnmatchcase(client_id, fault.client_id)):
                continue
            self._seen[number] += 1
            if found is None and fault.nth <= self._seen[number] < fault.nth + fault.count:
                found = fault
                self.happened[fault.kind.value] += 1
        return found
