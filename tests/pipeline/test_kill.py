"""`kill -9` in the middle of a session: the next start continues from the journal, and no order is sent twice."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ares.assembly import build
from ares.errors import DataError
from ares.events import Cancel, Submit, decode_command, decode_event, encode
from ares.pipeline.journal import MemoryJournal, SqliteJournal
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from tests.at_record import DEAD

BARS, SEED = 4000, 3
SESSION = """
import asyncio, sys
from ares.pipeline.journal import SqliteJournal
from tests.at_record import at_record, die_soon
from tests.pipeline.test_kill import play
at_record(lambda journal, event: len(journal) == int(sys.argv[2]), die_soon)
asyncio.run(play(SqliteJournal(sys.argv[1])))
"""


async def play(journal: SqliteJournal | MemoryJournal, until: int | None = None) -> None:
    """A paper session on the embedded market, from the journal's end to the tape's."""
    tape = Tape.synthetic("ETHUSDT", "1h", bars=BARS, seed=SEED, predictability=0.2)
    exchange = SimulatedExchange(tape, start=tape.start_ns)
    async with build(exchange=exchange, symbols=["ETHUSDT"], interval="1h", journal=journal) as pipeline:
        await pipeline.run(until)


def session(path: Path, dies_at: int) -> int:
    """Play in a process of its own, which is killed soon after so many records; its exit code."""
    command = [sys.executable, "-c", SESSION, str(path), str(dies_at)]
    return subprocess.run(command, check=False, cwd=Path(__file__).parents[2]).returncode


def records(journal: SqliteJournal | MemoryJournal) -> list[tuple[bytes, list[bytes]]]:
    """Everything told and said; the incarnation in client order ids is levelled, for each start has its own."""
    told = ((encode(event), [encode(c) for c in commands]) for event, commands in journal.records())
    return [(re.sub(rb"ares\d-", b"ares1-", event), commands) for event, commands in told]


@pytest.fixture(scope="module")
def undisturbed() -> list[tuple[bytes, list[bytes]]]:
    journal = MemoryJournal()
    asyncio.run(play(journal))
    return records(journal)


def test_p1_a_killed_session_continues_and_sends_nothing_twice(
    tmp_path: Path, undisturbed: list[tuple[bytes, list[bytes]]]
) -> None:
    path = tmp_path / "paper.sqlite"
    shares = (0.3, 0.5, 0.8)
    for share in shares:
        assert session(path, round(share * len(undisturbed))) == DEAD
    assert session(path, 0) == 0
    journal = SqliteJournal(path, read_only=True)
    assert records(journal) == undisturbed
    assert len(journal.incarnations()) == len(shares) + 1
    sent = [c.intent.intent_id for _, commands in journal.records() for c in commands if isinstance(c, Submit)]
    assert len(sent) > 10 and len(sent) == len(set(sent))
    journal.close()


def test_a_session_stopped_anywhere_continues_alike(undisturbed: list[tuple[bytes, list[bytes]]]) -> None:
    """The same in one process, with the cut at many places: also between a decision and its fill."""
    times = [decode_event(event).ts_seen for event, commands in undisturbed if commands][::40]
    for moment in times[:6]:
        journal = MemoryJournal()
        asyncio.run(play(journal, until=moment))
        asyncio.run(play(journal))
        assert records(journal) == undisturbed


def test_a_session_cut_before_its_cancel_was_answered_continues_alike(
    undisturbed: list[tuple[bytes, list[bytes]]],
) -> None:
    """The fill that ends a position has ended its stop too: the cancel comes too late, and its answer was not heard."""
    told = [(decode_event(event), [decode_command(c) for c in commands]) for event, commands in undisturbed]
    cuts = [n for n, (_, commands) in enumerate(told) if any(isinstance(c, Cancel) for c in commands)]
    for cut in (cuts[0], cuts[-1]):
        journal = MemoryJournal()
        journal.start()
        for event, commands in told[: cut + 1]:
            journal.append(event, commands)
        asyncio.run(play(journal))
        assert records(journal) == undisturbed


def test_a_journal_of_another_tape_is_refused() -> None:
    journal = MemoryJournal()
    tape = Tape.synthetic("ETHUSDT", "1h", bars=400, seed=1)

    async def begin() -> None:
        exchange = SimulatedExchange(tape, start=tape.start_ns)
        async with build(exchange=exchange, symbols=["ETHUSDT"], interval="1h", journal=journal) as pipeline:
            await pipeline.run(until=int(tape.track("ETHUSDT").close_ns[300]))

    asyncio.run(begin())
    with pytest.raises(DataError):
        asyncio.run(play(journal))
