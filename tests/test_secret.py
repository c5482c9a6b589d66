"""A secret shows nowhere, and a file that others can read is no place for one."""

from __future__ import annotations

import copy
import os
import pickle
import traceback
from pathlib import Path

import pytest
from attrs import frozen

from ares.errors import InvalidInput, NotAuthorized
from ares.secret import Secret, hide_secrets, read_private_file

CANARY = "canary-7Qx9vT2m"


@frozen
class Holder:
    key: Secret


def test_no_way_of_printing_shows_it() -> None:
    secret = Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", repr(Holder(secret)), repr([secret])]
    assert not any(CANARY in text for text in shown)
    assert secret.reveal() == CANARY


def test_a_traceback_does_not_show_it() -> None:
    def fails(secret: Secret) -> None:
        raise ValueError(f"cannot use {secret}")

    with pytest.raises(ValueError) as caught:
        fails(Secret(CANARY))
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("write", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_not_copied_into_anything(write: object) -> None:
    with pytest.raises(TypeError):
        write(Secret(CANARY))  # type: ignore[operator]


def test_equality_is_by_text() -> None:
    assert Secret("one text") == Secret("one text ")
    assert Secret("one text") != Secret("quite a different text")
    assert Secret("one text") != "one text"
    assert len({Secret("one text"), Secret("one text")}) == 1


def test_text_that_contains_it_is_cleansed() -> None:
    Secret(CANARY)
    assert hide_secrets(f"GET /x?key={CANARY}&n=1") == "GET /x?key=**********&n=1"


def test_a_secret_that_begins_like_another_is_hidden_whole() -> None:
    for end in range(9):
        Secret(CANARY + "x" * end)
    assert hide_secrets(f"{CANARY}xxxxxxxx {CANARY}xx") == "********** **********"


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Secret("  ")


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_secret_file_must_be_private(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(CANARY + "\n")
    file.chmod(0o644)
    with pytest.raises(NotAuthorized, match="chmod 600"):
        read_private_file(file)
    file.chmod(0o600)
    assert read_private_file(file).reveal() == CANARY
    with pytest.raises(InvalidInput, match="no secret file"):
        read_private_file(tmp_path / "none")
