"""The model card: what a model was trained on, how its kind did out of sample, and what should worry its owner."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from attrs import field, frozen

from ares.storage import atomic_write
from ares.training.placebo import Importance, Placebos
from ares.training.reliability import Interval
from ares.training.trainer import TrainedModel

__all__ = ["Card", "Section", "model_card"]


@frozen(kw_only=True)
class Section:
    """A heading, a few sentences, and a table whose first row is its head."""

    title: str
    text: tuple[str, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    picture: str = ""  # SVG; the Markdown goes without


@frozen(kw_only=True)
class Card:
    """A model card, to be written as Markdown or as one self-contained HTML page."""

    title: str
    sections: tuple[Section, ...] = field()

    def markdown(self) -> str:
        """The card as Markdown."""
        lines = [f"# {self.title}", ""]
        for section in self.sections:
            lines += [f"## {section.title}", ""]
            for paragraph in section.text:
                lines += [paragraph, ""]
            for number, row in enumerate(section.table):
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
                if number == 0:
                    lines.append("|" + "---|" * len(row))
            if section.table:
                lines.append("")
        return "\n".join(lines)

    def html(self) -> str:
        """The card as one page that loads nothing."""
        parts = [f"<h1>{html.escape(self.title)}</h1>"]
        for section in self.sections:
            parts.append(f"<h2>{html.escape(section.title)}</h2>")
            parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in section.text]
            parts.append(section.picture)
            for number, row in enumerate(section.table):
                tag = "th" if number == 0 else "td"
                cells = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
                parts.append(("<table>" if number == 0 else "") + f"<tr>{cells}</tr>")
            if section.table:
                parts.append("</table>")
        return _PAGE.format(title=html.escape(self.title), body="\n".join(parts))

    def write(self, folder: Path | str, name: str = "card") -> tuple[Path, Path]:
        """Write `name.md` and `name.html` into `folder`; returns both paths."""
        paths = Path(folder) / f"{name}.md", Path(folder) / f"{name}.html"
        for path, text in zip(paths, (self.markdown(), self.html()), strict=True):
            atomic_write(path, text.encode())
        return paths


def model_card(
    model: TrainedModel,
    *,
    symbol: str,
    tests: Placebos | None = None,
    groups: Importance | None = None,
    deflated: float | None = None,
    trials: int | None = None,
) -> Card:
    """The card of a trained model.

    tests, groups: of its dataset; None: not made, and the card says so. deflated: probability that the bets' true
    Sharpe ratio beats the best that luck gives in `trials` tries; None: not known.
    Scores are of the walk-forward's models; the model itself, fitted on all rows afterwards, has none, and the card
    says so.
    """
    return Card(
        title=f"Model {model.model_id[:12]} of {symbol} {model.data.interval.name}",
        sections=(
            _data(model, symbol),
            _folds(model),
            _scores(model),
            _calibration(model.scores.confidence.curve),
            _trading(model, deflated, trials),
            _placebos(tests),
            _importance(groups),
            _drift(model),
        ),
    )


def _data(model: TrainedModel, symbol: str) -> Section:
    data, record, bet = model.data, model.loaded.manifest.record, model.config.barriers
    dropped = ", ".join(f"{name} {count:,}" for name, count in data.dropped.items() if count) or "none"
    return Section(
        title="Data and bet",
        table=(
            ("what", "value"),
            ("market", f"{symbol} {data.interval.name}, {data.bars:,} bars"),
            ("decisions", f"{len(data):,}, from {_day(int(data.t0[0]))} to {_day(int(data.t0[-1]))}"),
            ("last outcome known", _day(record.trained_to_ns or 0)),
            ("left out", dropped),
            ("bet", f"target {bet.target:g}, stop {bet.stop:g} deviations over {bet.horizon} bars, entry at next open"),
            ("costs of a round trip", f"{bet.costs.round_trip:.4%} and funding"),
            ("mean share of its life that a label has to itself", f"{data.uniqueness:.3f}"),
            ("features", f"{len(data.columns)}, fingerprint {data.fingerprint}"),
            ("sides", _sides(model)),
            ("timing", _timing(model)),
            ("autoencoder", _autoencoder(model)),
            ("regime columns", _regimes(model)),
            ("parts", ", ".join(sorted(model.bundle.parts))),
            ("model id", model.model_id),
        ),
    )


def _sides(model: TrainedModel) -> str:
    data, higher = model.data, model.config.side_timeframe
    when = "at each bar" if higher is None else f"at {int(data.decided.sum()):,} closes of {higher}"
    return f"decided {when}, from {len(data.side_columns)} columns"


def _timing(model: TrainedModel) -> str:
    if "timing" not in model.bundle:
        return "none: an entry never waits"
    columns, bars = len(model.data.timing_columns), model.config.time_to_live
    return f"asked at each {model.data.interval.name} bar, from {columns} columns, for up to {bars} bars"


def _autoencoder(model: TrainedModel) -> str:
    encoder = model.data.autoencoder
    if encoder is None:
        return "none of the model's own"
    codes, inputs = int(encoder.widths[encoder.bottleneck]), len(encoder.inputs)
    where = f"the first {model.data.head:,} bars"
    return f"{codes} codes of {inputs} features; fitted on {encoder.rows:,} rows of {where}, frozen for all blocks"


def _regimes(model: TrainedModel) -> str:
    regimes = model.data.regimes
    if regimes is None:
        return "none"
    states, told = ", ".join(regimes.states), ", ".join(regimes.spec.columns)
    where = f"the first {model.data.head:,} bars"
    return f"filtered probabilities of {states}, told by {told}; fitted on {where}, frozen for all blocks"


def _folds(model: TrainedModel) -> Section:
    data, found = model.data, model.out_of_sample
    rows = [("test block", "from", "to", "decisions", "bets taken", "serves")]
    for number in range(int(found.fold.max()) + 1):
        at = found.fold == number
        serves = "meta model" if number == 0 else "calibration" if number == 1 else "scores"
        taken = int((found.taken & at).sum())
        span = (_day(int(data.t0[at][0])), _day(int(data.t0[at][-1])))
        rows.append((str(number), *span, f"{int(at.sum()):,}", f"{taken:,}", serves))
    text = (
        "Each block was predicted by models trained on outcomes known before it. Scores are of blocks whose "
        "calibration and threshold were fixed before them as well.",
        "The model of this card was fitted afterwards on all rows, so no row is left to score it on: the scores are of "
        "its predecessors, which knew less.",
    )
    return Section(title="Walk-forward", text=text, table=tuple(rows))


def _scores(model: TrainedModel) -> Section:
    s = model.scores
    c = s.confidence
    by_chance = "0"
    if math.isfinite(c.calibration_error_by_chance):
        by_chance = f"0; calibrated ones show up to {c.calibration_error_by_chance:.4f} by chance"
    lines: list[tuple[str, Interval | None, str]] = [
        ("AUC, up against down", s.direction, "0.5"),
        ("AUC, target of the bet", c.auc, "0.5"),
        ("AUC, timing", s.timing, "0.5"),
        ("AUC, bet pays", s.meta, "0.5"),
        ("Brier score", c.brier, f"{c.base_rate * (1 - c.base_rate):.4f}"),
        ("Brier skill", c.brier_skill, "0"),
        ("log loss", c.log_loss, f"{_entropy(c.base_rate):.4f}"),
        ("expected calibration error", c.calibration_error, by_chance),
    ]
    rows = [("score", "value", "95 % interval", "knowing only the base rate")]
    rows += [
        (name, "absent" if x is None else f"{x.value:.4f}", "" if x is None else _span(x, ".4f"), base)
        for name, x, base in lines
    ]
    known = f"{s.rows:,} decisions, base rate of the target {c.base_rate:.4f}. {s.verdict}"
    both = (
        "The confidence is the chance that the target's distance is touched on either side, times that of the bet "
        "ending at its target when it is. The former is easy to foresee, and lifts the Brier skill and the AUC of the "
        "bet's target without telling up from down: skill in these two alone is no edge."
    )
    return Section(title="Out-of-sample scores", text=(known, both), table=tuple(rows))


def _calibration(curve: pd.DataFrame) -> Section:
    rows = [("forecast", "came true", "95 % interval", "decisions")]
    for _, b in curve.iterrows():
        interval = f"{b['low']:.3f} to {b['high']:.3f}"
        rows.append((f"{b['forecast']:.3f}", f"{b['observed']:.3f}", interval, f"{b['count']:.0f}"))
    text = "Out of sample. The intervals count overlapping decisions as the fewer independent ones that they are."
    return Section(title="Calibration curve", text=(text,), table=tuple(rows), picture=_picture(curve))


def _trading(model: TrainedModel, deflated: float | None, trials: int | None) -> Section:
    t = model.scores.trading
    mean, sharpe = t.mean_interval, t.sharpe_interval
    rows = (
        ("what", "value", "95 % interval"),
        ("bets, one after another", f"{t.bets:,}", ""),
        ("mean net return of a bet", "no bets" if not t.bets else f"{t.mean:+.4%}", _span(mean, "+.4%")),
        ("sum of net returns, each bet of one size", f"{t.total:+.2%}", ""),
        ("Sharpe ratio of a bet", _defined(t.sharpe), _span(sharpe, ".3f")),
        ("matched random entries that earned less", _matched(t.share_below), ""),
        ("trials so far", "not known" if trials is None else str(trials), ""),
        ("deflated Sharpe ratio: chance that the true one is above luck's best", _defined(deflated), ""),
    )
    texts = ["Only bets whose confidence exceeded break-even by its lower bound, after all costs."]
    if t.bets and not mean.low > 0.0:
        texts.append("Nothing shows that they pay.")
    return Section(title="Bets", text=tuple(texts), table=rows)


def _matched(share: float) -> str:
    return "no bets" if math.isnan(share) else f"{share:.1%}"


def _defined(x: float | None) -> str:
    return "not known" if x is None else "not defined" if math.isnan(x) else f"{x:.3f}"


def _span(x: Interval, form: str) -> str:
    """Both ends; nothing when there is no interval, as of bets too few or of a single block of rows."""
    return "" if math.isnan(x.low) else f"{x.low:{form}} to {x.high:{form}}"


def _placebos(tests: Placebos | None) -> Section:
    if tests is None:
        return Section(title="Placebos", text=("Not made.",))
    rows = (
        ("placebo", "AUC", "interval", "verdict"),
        ("none", *_pair(tests.real), "SUSPECTED LEAK: too good to be true" if tests.too_good else ""),
        (
            "shuffled labels, 99 %",
            *_pair(tests.shuffled),
            "no skill, as it must be" if tests.no_skill_from_nothing else "skill from nothing: something is wrong",
        ),
        ("features one bar late", *_pair(tests.stale), ""),
        (
            "lost by the delay",
            *_pair(tests.drop),
            "SUSPECTED LEAK: the skill hangs on one bar" if tests.hangs_on_one_bar else "the skill outlasts one bar",
        ),
    )
    texts = (
        "The side model, walk-forward; up against down. Intervals of 95 % unless they say otherwise.",
        f"Matched random entries that earned less than the bets: {_matched(tests.random_entries)}.",
    )
    return Section(title="Placebos", text=texts, table=rows)


def _importance(groups: Importance | None) -> Section:
    if groups is None:
        return Section(title="Importance of feature groups", text=("Not measured.",))
    rows = [("group", "AUC lost when shuffled", "95 % interval", "deviation of the shuffles")]
    for name, (mean, spread) in groups.loss.items():
        x = groups.interval[name]
        rows.append((name, f"{mean:+.4f}", _span(x, "+.4f"), f"{spread:.4f}"))
    told = groups.auc_interval
    text = (
        f"The side model on the last third of the rows, up against down, fitted on what was known before; AUC "
        f"{told.value:.4f} ({_span(told, '.4f') or 'no interval'}) before the shuffles. A group whose interval holds 0 "
        f"has shown nothing, and of {len(groups.loss)} groups one in twenty would by chance."
    )
    return Section(title="Importance of feature groups", text=(text,), table=tuple(rows))


def _drift(model: TrainedModel) -> Section:
    reference = model.bundle["reference"]
    rows: list[tuple[str, ...]] = [("column", "least", "median", "greatest")]
    for k, name in enumerate(model.data.columns):
        middle = reference.edges[k][(reference.edges.shape[1] - 1) // 2]
        rows.append((name, *(f"{x:.5g}" for x in (reference.low[k], middle, reference.high[k]))))
    return Section(title="Drift reference", text=("What the columns looked like in training.",), table=tuple(rows))


def _pair(x: Interval) -> tuple[str, str]:
    return f"{x.value:.4f}", _span(x, ".4f")


def _entropy(p: float) -> float:
    return -(p * math.log(p) + (1 - p) * math.log(1 - p)) if 0 < p < 1 else 0.0


def _day(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")


def _picture(curve: pd.DataFrame) -> str:
    """The calibration curve: forecast to the right, share that came true upward, the diagonal for comparison."""
    forecast: Sequence[float] = curve["forecast"].tolist()
    shown = [*forecast, *curve["low"], *curve["high"]]
    low, high = max(0.0, float(min(shown)) - 0.02), min(1.0, float(max(shown)) + 0.02)

    def x(p: float) -> float:
        return 40 + 340 * (p - low) / (high - low)

    def y(p: float) -> float:
        return 360 - 340 * (p - low) / (high - low)

    marks = [f'<line x1="{x(low):.1f}" y1="{y(low):.1f}" x2="{x(high):.1f}" y2="{y(high):.1f}" class="even"/>']
    for p, share, a, b in zip(forecast, curve["observed"], curve["low"], curve["high"], strict=True):
        marks.append(f'<line x1="{x(p):.1f}" y1="{y(a):.1f}" x2="{x(p):.1f}" y2="{y(b):.1f}" class="bar"/>')
        marks.append(f'<circle cx="{x(p):.1f}" cy="{y(share):.1f}" r="4"/>')
    for p in (low, high):
        marks.append(f'<text x="{x(p):.1f}" y="380">{p:.2f}</text><text x="4" y="{y(p) + 4:.1f}">{p:.2f}</text>')
    return f'<svg viewBox="0 0 400 390" width="400" role="img" aria-label="calibration">{"".join(marks)}</svg>'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 56em; margin: 2em auto; padding: 0 1em; color: #222; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
td, th {{ border-bottom: 1px solid #ddd; padding: .25em .8em .25em 0; text-align: left; }}
svg .even {{ stroke: #999; stroke-dasharray: 4; }} svg .bar {{ stroke: #36c; }} svg circle {{ fill: #36c; }}
svg text {{ font-size: 11px; fill: #555; }}
</style></head><body>
{body}
</body></html>
"""
