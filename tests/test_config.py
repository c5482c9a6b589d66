"""Settings: the published section and key names parse as they stand; what is not known or not safe is refused."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import evolve

from ares.config import AresConfig, load_config, settings_from_store, settings_to_store
from ares.errors import InvalidInput, NotAuthorized
from ares.exchange.config import BinanceConfig, Environment

CANARY = "canary-9Rt4bN6q"

PUBLISHED = """
binance_exchange: {api_key: "...", api_secret: "...", use_testnet: true, timeout: 30, max_retries: 3}
feature_engineering_orchestrator:
  enable_advanced_features: true
  enable_autoencoder_features: true
  enable_legacy_features: true
  wavelet_cache: {cache_enabled: true, cache_dir: data/wavelet_cache}
analyst:
  enable_dual_model_system: true
  enable_market_health_analysis: true
  enable_liquidation_risk_analysis: true
  enable_feature_engineering: true
  enable_ml_predictions: true
  enable_regime_classification: true
tactician:
  tactics_interval: 30
  max_history: 100
  enable_position_sizing: true
  enable_leverage_optimization: true
  enable_risk_management: true
position_monitoring_interval: 10
max_assessment_history: 1000
high_risk_threshold: 0.8
medium_risk_threshold: 0.6
low_risk_threshold: 0.3
"""


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    def written(text: str, mode: int = 0o644) -> Path:
        path = tmp_path / "bot.yaml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return written


def test_the_published_file_parses_as_it_stands(write) -> None:  # type: ignore[no-untyped-def]
    config = load_config(write(PUBLISHED), env={})
    assert config.exchange.timeout == 30.0
    assert config.exchange.api_key is None  # "..." is a placeholder
    assert config.features.enable_legacy_features is True
    assert config.features.wavelet_cache.cache_enabled is True
    assert config.features.wavelet_cache.cache_dir == Path("data/wavelet_cache")
    assert config.analyst.enable_dual_model_system is True
    assert config.tactician.max_history == 100
    assert config.monitor.position_monitoring_interval == 10.0
    assert config.monitor.high_risk_threshold == 0.8


def test_every_published_switch_reaches_its_field(write) -> None:  # type: ignore[no-untyped-def]
    config = load_config(write(PUBLISHED.replace("true", "false")), env={})
    assert not config.exchange.use_testnet
    assert not config.features.enable_advanced_features
    assert not config.features.enable_autoencoder_features
    assert not config.features.enable_legacy_features
    assert not config.features.wavelet_cache.cache_enabled
    assert not config.analyst.enable_dual_model_system
    assert not config.analyst.enable_regime_classification
    assert not config.tactician.enable_risk_management


def test_without_a_file_all_is_default() -> None:
    assert load_config(env={}) == AresConfig()


def test_the_environment_may_name_the_file(write) -> None:  # type: ignore[no-untyped-def]
    path = write("tactician: {max_history: 7}")
    assert load_config(env={"ARES_CONFIG": str(path)}).tactician.max_history == 7


@pytest.mark.parametrize("text", ["position_monitor: {high_risk_threshold: 0.9}", "high_risk_threshold: 0.9"])
def test_monitor_keys_may_stand_in_their_section_or_at_the_top(write, text: str) -> None:  # type: ignore[no-untyped-def]
    assert load_config(write(text), env={}).monitor.high_risk_threshold == 0.9


def test_the_desk_looks_as_often_as_the_monitor_unless_told_otherwise(write) -> None:  # type: ignore[no-untyped-def]
    assert load_config(write("position_monitoring_interval: 5"), env={}).desk.look_every_ns == 5_000_000_000
    assert load_config(write("desk: {look_every_ns: 7}"), env={}).desk.look_every_ns == 7
    text = "position_monitoring_interval: 2.5\ndesk: {guard: {max_positions: 2}}"
    desk = load_config(write(text), env={}).desk
    assert (desk.look_every_ns, desk.guard.max_positions) == (2_500_000_000, 2)


def test_a_backtest_has_the_same_desk_and_its_own_venue(write) -> None:  # type: ignore[no-untyped-def]
    config = load_config(write("desk: {look_every_ns: 7}\nbacktest: {venue: {slippage: 0.0005}}"), env={})
    assert config.backtest.desk == config.desk
    assert config.backtest.venue.slippage == Decimal("0.0005")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tacticain: {}", ["tacticain", "line 1", "did you mean 'tactician'?"]),
        ("\ntactician:\n  max_histroy: 5\n", ["tactician.max_histroy", "line 3", "did you mean 'max_history'?"]),
        ("high_risk_treshold: 0.9", ["did you mean 'high_risk_threshold'?"]),
        ("feature_engineering_orchestrator: {wavelet_cache: {cache_enable: true}}", ["wavelet_cache.cache_enable"]),
        ("analyst: {enable_ml_predictions: maybe}", ["analyst.enable_ml_predictions", "true or false"]),
        ("binance_exchange: {timeout: -1}", ["binance_exchange", "timeout"]),
        ("position_monitor: {low_risk_threshold: 0.9}", ["position_monitor", "must rise"]),
        ("position_monitor: {high_risk_threshold: 0.9}\nhigh_risk_threshold: 0.8", ["second time"]),
        ("analyst: 3", ["analyst", "must hold settings"]),
        ("backtest: {desk: {look_every_ns: 5}}", ["backtest.desk", "section of its own"]),
        ("backtest: {venue: {slippage: 2}}", ["backtest.venue", "slippage"]),
    ],
)
def test_a_refusal_names_the_place_and_the_remedy(write, text: str, told: list[str]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput) as refusal:
        load_config(write(text), env={})
    assert all(part in str(refusal.value) for part in [*told, "bot.yaml"]), str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no settings file .*none\.yaml"):
        load_config(tmp_path / "none.yaml", env={})


def test_secrets_come_from_the_environment() -> None:
    config = load_config(env={"ARES_BINANCE_API_KEY": CANARY, "ARES_BINANCE_API_SECRET": CANARY + "2"})
    assert config.exchange.api_key is not None
    assert config.exchange.api_key.reveal() == CANARY
    assert CANARY not in repr(config)


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_literal_secret_needs_a_private_file(write) -> None:  # type: ignore[no-untyped-def]
    text = f"binance_exchange: {{api_key: {CANARY}, api_secret: its-secret}}"
    with pytest.raises(NotAuthorized, match="ARES_BINANCE_API_KEY") as refusal:
        load_config(write(text), env={})
    assert CANARY not in str(refusal.value)
    config = load_config(write(text, mode=0o600), env={})
    assert config.exchange.api_key is not None
    assert config.exchange.api_key.reveal() == CANARY
    assert CANARY not in repr(config)


def test_an_environment_is_named_in_any_case(write) -> None:  # type: ignore[no-untyped-def]
    for name in ("testnet", "TESTNET", "Testnet"):
        chosen = load_config(write(f"binance_exchange: {{environment: {name}}}"), env={}).exchange.environment
        assert chosen is Environment.TESTNET
    with pytest.raises(InvalidInput, match="did you mean 'testnet'"):
        load_config(write("binance_exchange: {environment: testnett}"), env={})


def test_the_environment_wins_over_the_file(write) -> None:  # type: ignore[no-untyped-def]
    path = write(f"binance_exchange: {{api_key: {CANARY}, api_secret: its-secret}}", mode=0o600)
    config = load_config(path, env={"ARES_BINANCE_API_KEY": "from-the-environment"})
    assert config.exchange.api_key is not None
    assert config.exchange.api_key.reveal() == "from-the-environment"


def test_a_secret_may_name_a_variable_or_a_file(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "secret"
    file.write_text(CANARY)
    file.chmod(0o600)
    path = write(f"binance_exchange:\n  api_key: ${{MY_KEY}}\n  api_secret_file: {file}\n")
    config = load_config(path, env={"MY_KEY": "key-from-my-variable"})
    assert config.exchange.api_key is not None
    assert config.exchange.api_secret is not None
    assert config.exchange.api_key.reveal() == "key-from-my-variable"
    assert config.exchange.api_secret.reveal() == CANARY
    with pytest.raises(InvalidInput, match="no MY_KEY"):
        load_config(path, env={})


def test_a_secret_of_the_wrong_type_is_not_shown(write) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput) as refusal:
        load_config(write("binance_exchange: {api_key: [1234567]}", mode=0o600), env={})
    assert "1234567" not in str(refusal.value)


def test_stored_settings_come_back_equal(write) -> None:  # type: ignore[no-untyped-def]
    text = PUBLISHED + "desk: {guard: {max_positions: 3}}\nbacktest: {venue: {slippage: 0.0005}}\n"
    text = text.replace("tactician:", "tactician:\n  ladder: [[0.5, 0.25], [1.0, 0.75]]\n  fixed_notional: 12.50")
    config = load_config(write(text), env={"ARES_BINANCE_API_KEY": CANARY, "ARES_BINANCE_API_SECRET": CANARY})
    stored = json.dumps(settings_to_store(config))
    assert CANARY not in stored
    assert settings_from_store(json.loads(stored), "journal") == evolve(config, exchange=BinanceConfig())
