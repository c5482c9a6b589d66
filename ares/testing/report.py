"""What a conformance kit found: named checks, each passed or failed with its reason."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen

from ares.errors import AresError

__all__ = ["Check", "NotConforming", "Report"]


class NotConforming(AresError, AssertionError):
    """A part failed its conformance kit; `facts["failed"]` holds the names of the checks to mend."""


@frozen(kw_only=True)
class Check:
    """One thing that was looked at. `detail`: what was seen; for a failed check, why it failed."""

    name: str
    passed: bool
    detail: str = ""

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}{': ' if self.detail else ''}{self.detail}"


def _all(checks: Iterable[Check]) -> tuple[Check, ...]:
    return tuple(checks)


@frozen(kw_only=True)
class Report:
    """All checks of one part. A check that does not apply to the part is absent, not passed."""

    subject: str  # what was checked, such as the class's name
    checks: tuple[Check, ...] = field(converter=_all)

    @property
    def passed(self) -> bool:
        """True when there were checks and none failed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The failed checks, in the order they ran."""
        return tuple(check for check in self.checks if not check.passed)

    def raise_for_failures(self) -> None:
        """Raise NotConforming (also an AssertionError) that lists every failed check; nothing when all passed."""
        if not self.passed:
            listing = "\n".join(str(check) for check in self.failures) or "no check ran"
            raise NotConforming(f"{self.subject}:\n{listing}", failed=tuple(check.name for check in self.failures))

    def __str__(self) -> str:
        good = sum(check.passed for check in self.checks)
        head = f"{self.subject}: {good} of {len(self.checks)} checks passed"
        return "\n".join([head, *(f"  {check}" for check in self.checks)])
