"""`ares simulate`, `ares verify` and `ares paper --exchange BINANCE` together, as their users start them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

KEY, SECRET = "cli-account-key", "cli-canary-secret"
SECOND, SECOND_SECRET = "second-key", "second-secret"


@pytest.fixture(scope="module")
def local() -> Iterator[dict[str, str]]:
    command = [
        sys.executable, "-m", "ares", "simulate", "--port", "0", "--api-key", KEY, "--api-secret", SECRET,
        "--balance", "10000", "--bars", "900", "--pace", "60", "--history", "400",
        "--account", f"{SECOND}:{SECOND_SECRET}:750", "--account", "third-key:third-secret",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=240)


def verify(local: dict[str, str], key: str, secret: str, *more: str) -> tuple[int, dict[str, object], str]:
    environment = {**os.environ, "ARES_BINANCE_API_KEY": key, "ARES_BINANCE_API_SECRET": secret}
    command = [
        sys.executable, "-m", "ares", "verify", "--json", "--rest-url", local["rest"], "--stream-url", local["streams"],
        *more,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


def test_verify_finds_everything_well(local: dict[str, str]) -> None:
    code, answer, shown = verify(local, KEY, SECRET)
    checks = {c["name"]: c["state"] for c in answer["checks"]}  # type: ignore[attr-defined]
    assert code == 0 and answer["ok"] is True and set(checks.values()) == {"ok"}
    assert checks.keys() == {
        "config sanity", "connection", "clock", "filters", "key rights", "modes and leverage", "balance",
        "market stream", "account stream",
    }  # fmt: skip
    assert SECRET not in shown


def test_verify_says_what_is_wrong(local: dict[str, str]) -> None:
    code, answer, shown = verify(local, KEY, "not-the-right-secret")
    failed = {c["name"] for c in answer["checks"] if c["state"] == "failed"}  # type: ignore[attr-defined]
    assert code == 5 and "not-the-right-secret" not in shown
    assert failed == {"key rights", "modes and leverage", "balance", "account stream"}  # all that needs the key


def test_verify_does_not_call_well_what_it_could_not_see() -> None:
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        code, answer, _ = verify({"rest": f"http://{where}", "streams": f"ws://{where}"}, KEY, SECRET)
    well = {c["name"] for c in answer["checks"] if c["state"] == "ok"}  # type: ignore[attr-defined]
    assert code == 5 and answer["ok"] is False and well == {"config sanity"}


def test_verify_finds_settings_that_live_trading_refuses(local: dict[str, str], tmp_path: Path) -> None:
    settings = tmp_path / "ares.yaml"
    settings.write_text("tactician: {enable_risk_management: false}\n")
    code, answer, _ = verify(local, KEY, SECRET, "--config", str(settings))
    found = {c["name"]: c for c in answer["checks"]}  # type: ignore[attr-defined]
    assert code == 5 and found["config sanity"]["state"] == "failed" and found["clock"]["state"] == "ok"
    assert "enable_risk_management" in found["config sanity"]["found"]


def ask(local: dict[str, str], method: str, path: str, key: str, secret: str, **params: str) -> Any:
    """One signed request by somebody who knows nothing of ares."""
    import hashlib
    import hmac
    import time
    import urllib.error
    import urllib.parse
    import urllib.request

    stamp = {"recvWindow": 60_000, "timestamp": time.time_ns() // 1_000_000}
    text = urllib.parse.urlencode({**params, **stamp})
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    url = f"{local['rest']}{path}?{text}&signature={signature}"
    request = urllib.request.Request(url, method=method, headers={"X-MBX-APIKEY": key})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def test_accounts_are_kept_apart_on_the_wire(local: dict[str, str]) -> None:
    order = {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.2"}
    assert ask(local, "POST", "/fapi/v1/order", SECOND, SECOND_SECRET, **order)["executedQty"] == "0.2"
    held = {
        key: [float(p["positionAmt"]) for p in ask(local, "GET", "/fapi/v3/positionRisk", key, secret)]
        for key, secret in ((KEY, SECRET), (SECOND, SECOND_SECRET), ("third-key", "third-secret"))
    }
    assert held == {KEY: [], SECOND: [0.2], "third-key": []}
    wallets = [
        float(ask(local, "GET", "/fapi/v3/account", key, secret)["totalWalletBalance"])
        for key, secret in ((KEY, SECRET), (SECOND, SECOND_SECRET), ("third-key", "third-secret"))
    ]
    assert wallets[0] == wallets[2] == 10_000 and 740 < wallets[1] < 750
    assert ask(local, "GET", "/fapi/v3/account", SECOND, SECRET)["code"] == -1022  # another account's secret


@pytest.mark.parametrize(
    ("accounts", "told"),
    [
        (["k:s:much"], "amount of money"),
        (["k:s:-1"], "amount of money"),
        (["k"], "KEY:SECRET"),
        (["k:s", "k:t"], "two accounts have the key 'k'"),
    ],
)
def test_accounts_that_make_no_sense_are_refused(ares: Callable[..., Any], accounts: list[str], told: str) -> None:
    done = ares("simulate", "--port", "0", *(part for account in accounts for part in ("--account", account)))
    assert done.returncode == 2 and told in done.stderr


def test_addresses_are_told_once_ready(local: dict[str, str]) -> None:
    assert local["rest"].startswith("http://127.0.0.1:") and local["streams"].startswith("ws://127.0.0.1:")


def test_the_help_says_how_an_account_is_written(ares: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = ares("simulate", "--help").stdout
    assert "KEY:SECRET, and :BALANCE" in shown and "the tape's own, or 1m" in shown
    assert all(ord(letter) < 0x2190 or 0x2500 <= ord(letter) < 0x2600 for letter in shown), "an emoji in the help"


def test_wrong_options_end_with_2(ares: Callable[..., Any], tmp_path: Path) -> None:
    none = str(tmp_path / "no")
    for wrong in (["--api-key", "only"], ["--pace", "fast"], ["--fault", "nonsense"], ["--faults", none]):
        assert ares("simulate", "--port", "0", *wrong).returncode == 2
