"""All settings as one frozen tree, read once from a YAML file and the environment.

    config = load_config("bot.yaml")
    FeatureOrchestrator(config.features), Tactician(config.tactician)

Each stage owns the class of its settings and their defaults; this module only finds, checks and assembles them.
Nothing else in ares reads a settings file or the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, evolve, field, frozen

from ares.analyst.config import AnalystConfig
from ares.backtesting.config import BacktestConfig
from ares.errors import InvalidInput, NotAuthorized, unknown_name
from ares.exchange.config import BinanceConfig
from ares.features.config import FeatureConfig
from ares.monitor.config import MonitorConfig
from ares.pipeline.config import DeskConfig
from ares.secret import read_private_file, readable_by_others
from ares.strict_yaml import Section, plain, read_yaml, section_of, structure
from ares.tactician.config import TacticianConfig
from ares.training.cuts import RetrainingConfig

__all__ = ["AresConfig", "load_config", "settings_from_store", "settings_to_store"]

KEY_VARIABLE = "ARES_BINANCE_API_KEY"
SECRET_VARIABLE = "ARES_BINANCE_API_SECRET"  # noqa: S105  the variable's name, not its value
FILE_VARIABLE = "ARES_CONFIG"


def _looking_as_often_as_the_monitor(config: AresConfig) -> DeskConfig:
    return DeskConfig(look_every_ns=_nanoseconds(config.monitor.position_monitoring_interval))


def _with_the_same_desk(config: AresConfig) -> BacktestConfig:
    return BacktestConfig(desk=config.desk)


@frozen(kw_only=True)
class AresConfig:
    """The whole tree. Each part is the settings class of one stage and has good defaults of its own.

    The desk looks at positions as often as the monitor's `position_monitoring_interval` says, unless told otherwise,
    and is the same in a backtest. `backtest.venue` is also the venue of paper trading.
    """

    exchange: BinanceConfig = field(factory=BinanceConfig)
    features: FeatureConfig = field(factory=FeatureConfig)
    analyst: AnalystConfig = field(factory=AnalystConfig)
    tactician: TacticianConfig = field(factory=TacticianConfig)
    monitor: MonitorConfig = field(factory=MonitorConfig)
    desk: DeskConfig = field(default=Factory(_looking_as_often_as_the_monitor, takes_self=True))
    backtest: BacktestConfig = field(default=Factory(_with_the_same_desk, takes_self=True))
    retraining: RetrainingConfig | None = None  # None: the model that the analyst has goes on


# Section of the file -> attribute of the tree and its class.
SECTIONS: dict[str, tuple[str, type]] = {
    "binance_exchange": ("exchange", BinanceConfig),
    "feature_engineering_orchestrator": ("features", FeatureConfig),
    "analyst": ("analyst", AnalystConfig),
    "tactician": ("tactician", TacticianConfig),
    "position_monitor": ("monitor", MonitorConfig),
    "desk": ("desk", DeskConfig),
    "backtest": ("backtest", BacktestConfig),
    "retraining": ("retraining", RetrainingConfig),
}

# Keys that may stand at the top of the file: they mean the same key of `position_monitor`.
MONITOR_KEYS = (
    "position_monitoring_interval",
    "max_assessment_history",
    "high_risk_threshold",
    "medium_risk_threshold",
    "low_risk_threshold",
)

_SECRET_KEYS = {"api_key": KEY_VARIABLE, "api_secret": SECRET_VARIABLE}
_PLACEHOLDERS = {"", "..."}  # as printed in examples: not given


def load_config(path: Path | str | None = None, env: Mapping[str, str] | None = None) -> AresConfig:
    """The settings of a YAML file over the defaults, with secrets from the environment over those of the file.

    path: the file; None: the one named by the variable ARES_CONFIG, and the defaults when there is none.
    env: the environment, `os.environ` when None.
    Raises: InvalidInput for a missing file, an unknown key (it names the nearest valid one) or a value that cannot
    work, each with its line; NotAuthorized for a secret written into a file that others can read.
    """
    environment = os.environ if env is None else env
    chosen = Path(path) if path is not None else Path(named) if (named := environment.get(FILE_VARIABLE)) else None
    top = read_yaml(_text(chosen), str(chosen)) if chosen is not None else Section("", "defaults", 1, {})
    top = _lower_monitor_keys(top)
    exchange = _with_secrets(_section(top, "binance_exchange"), chosen, environment)
    return _tree(top.with_value("binance_exchange", exchange, exchange.line))


def settings_to_store(config: AresConfig) -> dict[str, Any]:
    """The settings that decide what a bot does, as plain values for a journal; how to reach a venue is left out."""
    stored = {name: attribute for name, (attribute, _) in SECTIONS.items() if attribute != "exchange"}
    sections = {name: plain(getattr(config, attribute)) for name, attribute in stored.items()}
    del sections["backtest"]["desk"]  # it stands in a section of its own
    return sections


def settings_from_store(values: Mapping[str, Any], source: str) -> AresConfig:
    """The tree that `settings_to_store` wrote. Raises: InvalidInput when another version wrote what this one lacks."""
    return _tree(section_of(values, source))


def _tree(top: Section) -> AresConfig:
    """All sections structured into the tree."""
    for name in top.values:
        if name not in SECTIONS:
            problem = unknown_name("section", name, [*SECTIONS, *MONITOR_KEYS])
            raise InvalidInput(f"{top.place(name)}: {problem.message}", **problem.facts)
    if "desk" in _section(top, "backtest").values:
        raise InvalidInput(f"{_section(top, 'backtest').place('desk')}: the desk has a section of its own, `desk`")
    parts: dict[str, Any] = {
        attribute: structure(_section(top, name), cls) for name, (attribute, cls) in SECTIONS.items()
    }
    if top.values.get("retraining") is None:
        parts["retraining"] = None  # off until its section stands there
    if "look_every_ns" not in _section(top, "desk").values:
        every = _nanoseconds(parts["monitor"].position_monitoring_interval)
        parts["desk"] = evolve(parts["desk"], look_every_ns=every)
    parts["backtest"] = evolve(parts["backtest"], desk=parts["desk"])
    return AresConfig(**parts)


def _nanoseconds(seconds: float) -> int:
    return max(1, round(seconds * 1e9))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidInput(f"no settings file {path}", path=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"settings file {path} cannot be read: {error}", path=str(path)) from None


def _section(top: Section, name: str) -> Section:
    found = top.values.get(name)
    if isinstance(found, Section):
        return found
    if found is None:  # absent, or a heading with nothing under it
        return Section(name, top.source, top.lines.get(name, 1), {})
    raise InvalidInput(f"{top.place(name)} must hold settings, `name: value`, not {found!r}")


def _lower_monitor_keys(top: Section) -> Section:
    """The monitor's top-level keys, moved into its section."""
    monitor = _section(top, "position_monitor")
    for key in MONITOR_KEYS:
        if key in top.values:
            if key in monitor.values:
                raise InvalidInput(f"{top.place(key)} is set a second time: {monitor.place(key)}")
            monitor = monitor.with_value(key, top.values[key], top.lines[key])
    return top.without(*MONITOR_KEYS).with_value("position_monitor", monitor, monitor.line)


def _with_secrets(section: Section, path: Path | None, env: Mapping[str, str]) -> Section:
    """The exchange's section with its keys from the environment, from `${VARIABLE}`, from `*_file` or as written."""
    for key, variable in _SECRET_KEYS.items():
        line = section.lines.get(key, section.line)
        written = section.values.get(key)
        named = section.values.get(f"{key}_file")
        section = section.without(key, f"{key}_file")
        if env.get(variable):
            section = section.with_value(key, env[variable], line)
        elif named is not None:
            section = section.with_value(key, read_private_file(Path(str(named)).expanduser()).reveal(), line)
        elif written is not None and not isinstance(written, str):
            raise InvalidInput(f"{section.place(key)} must be text: put it in quotation marks")
        elif written is not None and written.strip() not in _PLACEHOLDERS:
            section = section.with_value(key, _literal(section, key, written, path, env), line)
    return section


def _literal(section: Section, key: str, written: str, path: Path | None, env: Mapping[str, str]) -> str:
    reference = re.fullmatch(r"\$\{(\w+)\}", written.strip())
    if reference is not None:
        if not env.get(reference[1]):
            raise InvalidInput(f"{section.place(key)}: the environment has no {reference[1]}", variable=reference[1])
        return env[reference[1]]
    if path is not None and readable_by_others(path):
        raise NotAuthorized(
            f"{section.place(key)} holds a secret in a file that others can read: set {_SECRET_KEYS[key]} instead, "
            f"or chmod 600 {path}",
            path=str(path),
        )
    return written
