"""When something that did not work may be tried again: data of the desk, so that a replay tries at the same moments."""

from __future__ import annotations

from attrs import define

__all__ = ["Backoff"]

_LONGEST_NS = 60_000_000_000
_DOUBLINGS = 6


@define
class Backoff:
    """Waits twice as long after each try, at most a minute; a minute without a try makes it begin anew."""

    first_ns: int  # the first wait
    tries: int = 0  # that did not work
    again_ns: int = 0  # not before this moment

    def tried(self, now_ns: int, *, at_once: bool = False) -> None:
        """Note a try that did not work, or is not known to have. at_once: the first one needs no wait."""
        if now_ns > self.again_ns + _LONGEST_NS:
            self.tries = 0
        wait = min(_LONGEST_NS, self.first_ns << min(self.tries, _DOUBLINGS))
        self.again_ns = now_ns + (0 if at_once and self.tries == 0 else wait)
        self.tries += 1

    def hurry(self, now_ns: int) -> None:
        """Something else is to be tried: it need not wait."""
        self.again_ns = min(self.again_ns, now_ns)

    def due(self, now_ns: int) -> bool:
        """True when the next try may be made."""
        return now_ns >= self.again_ns
