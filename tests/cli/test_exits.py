"""Each family of errors has its exit code, and an error is one line on standard error without secrets."""

from __future__ import annotations

import pytest
import typer

from ares import errors
from ares.cli.exits import EXIT_CODES, INTERRUPTED, ends_with_exit_code, exit_code
from ares.errors import AresError, DataError, InvalidInput, TooShort
from ares.secret import Secret

FAMILIES = [cls for cls in vars(errors).values() if isinstance(cls, type) and AresError in cls.__bases__]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_code_of_its_own(family: type[AresError]) -> None:
    assert exit_code(family("x")) == EXIT_CODES[family]
    assert list(EXIT_CODES.values()).count(EXIT_CODES[family]) == 1
    assert EXIT_CODES[family] not in {0, 1, INTERRUPTED}


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


def test_a_defect_is_not_hidden() -> None:
    @ends_with_exit_code
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()
