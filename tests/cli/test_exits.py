"""Each family of errors has its exit code, and an error is one line on standard error without secrets."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer

from ares import errors
from ares.cli.exits import EXIT_CODES, INTERRUPTED, UNWRITABLE, ends_with_exit_code, exit_code
from ares.errors import AresError, DataError, InvalidInput, TooShort
from ares.pipeline.journal import SqliteJournal
from ares.secret import Secret
from ares.storage import FileLock
from ares.training.trials import TrialLedger

FAMILIES = [cls for cls in vars(errors).values() if isinstance(cls, type) and AresError in cls.__bases__]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_code_of_its_own(family: type[AresError]) -> None:
    assert exit_code(family("x")) == EXIT_CODES[family]
    assert list(EXIT_CODES.values()).count(EXIT_CODES[family]) == 1
    assert EXIT_CODES[family] not in {0, 1, INTERRUPTED, UNWRITABLE}


def test_a_child_has_its_familys_code() -> None:
    assert exit_code(TooShort("x")) == exit_code(InvalidInput("x"))


def test_an_error_is_one_line_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    key = Secret("canary-5Hj2kP8d")

    @ends_with_exit_code
    def command() -> None:
        raise DataError(f"row 7 is odd, and {key.reveal()}")

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "ares: row 7 is odd, and **********\n"


def test_ctrl_c_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    @ends_with_exit_code
    def command() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == 130
    assert capsys.readouterr().out == ""


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    @ends_with_exit_code
    def command() -> None:
        warnings.simplefilter("always")
        warnings.warn("the cache is damaged", stacklevel=2)

    before = warnings.showwarning
    command()
    assert capsys.readouterr() == ("", "ares: the cache is damaged\n")
    assert warnings.showwarning is before


def test_a_defect_is_not_hidden() -> None:
    @ends_with_exit_code
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOTDIR])
def test_a_file_that_the_machine_refuses_is_one_line(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    @ends_with_exit_code
    def command() -> None:
        raise OSError(number, os.strerror(number), "data/models/x")

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == UNWRITABLE
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"ares: data/models/x: {os.strerror(number)}: ")


def test_a_ledger_a_journal_and_a_lock_that_the_machine_refuses_end_alike(tmp_path: Path) -> None:
    (tmp_path / "trials.sqlite").mkdir()
    (tmp_path / "bot.sqlite").mkdir()
    (tmp_path / "bot.lock").mkdir()
    for opened in (
        lambda: TrialLedger(tmp_path / "trials.sqlite"),
        lambda: SqliteJournal(tmp_path / "bot.sqlite"),
        lambda: FileLock(tmp_path / "bot.lock").__enter__(),
    ):
        with pytest.raises(AresError) as refused:
            opened()
        assert exit_code(refused.value) == UNWRITABLE, refused.value


def test_damaged_data_are_no_fault_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "trials.sqlite").write_bytes(b"no ledger" * 100)
    with pytest.raises(DataError) as damaged:
        TrialLedger(tmp_path / "trials.sqlite")
    assert exit_code(damaged.value) == EXIT_CODES[DataError]


def test_any_other_trouble_with_the_system_is_a_defect() -> None:
    @ends_with_exit_code
    def command() -> None:
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    with pytest.raises(ConnectionResetError):
        command()


def test_ctrl_c_while_the_program_is_imported_ends_with_130() -> None:
    early = """
import sys

class Impatient:
    def find_spec(self, name, *_):
        if name == "ares.cli.program":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
from ares.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", early], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "")
