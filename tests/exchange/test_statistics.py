"""Open interest, ratios and funding, in the shapes that the venue documents."""

from __future__ import annotations

import httpx

from ares.clock import VirtualClock
from ares.exchange.config import BinanceConfig
from ares.exchange.http import HttpxWire
from ares.exchange.rest import RestClient
from ares.exchange.statistics import StatisticsReads

S, NOW, MINUTE = "BTCUSDT", 1_700_000_000_000_000_000, 60_000_000_000
MS = 10**6


class Venue:
    """Answers as the documentation of the venue shows; offers no ratio of top traders."""

    def __init__(self) -> None:
        self.asked: list[httpx.URL] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        at = (NOW - 5 * MINUTE) // MS
        rows: dict[str, object] = {
            "/fapi/v1/fundingRate": [{"symbol": S, "fundingRate": "0.00010000", "fundingTime": at - 60_000,
                                      "markPrice": "37000.1"}],
            "/futures/data/openInterestHist": [
                {"symbol": S, "sumOpenInterest": "100.5", "sumOpenInterestValue": "1", "timestamp": at - 300_000},
                {"symbol": S, "sumOpenInterest": "101.5", "sumOpenInterestValue": "1", "timestamp": at},
            ],
            "/futures/data/globalLongShortAccountRatio": [
                {"symbol": S, "longShortRatio": "1.5", "longAccount": "0.6", "shortAccount": "0.4", "timestamp": at}
            ],
            "/futures/data/takerlongshortRatio": [
                {"buySellRatio": "0.9", "buyVol": "9", "sellVol": "10", "timestamp": at}
            ],
            "/fapi/v1/openInterest": {"openInterest": "77.0", "symbol": S, "time": at},
        }  # fmt: skip
        if request.url.path in rows:
            return httpx.Response(200, json=rows[request.url.path])
        return httpx.Response(400, json={"code": -1102, "msg": "not offered"})


def reads(venue: Venue) -> StatisticsReads:
    config, clock = BinanceConfig(), VirtualClock(NOW)
    return StatisticsReads(RestClient(config, HttpxWire(config.rest, httpx.MockTransport(venue.answer)), clock), clock)


async def test_series_are_joined_by_the_time_of_publication() -> None:
    venue = Venue()
    found = await reads(venue).published(S, NOW - 60 * MINUTE)
    values = {event.ts_event: event.values for event in found}
    last = NOW - 5 * MINUTE
    assert values[last - 5 * MINUTE] == {"open_interest": 100.5}
    assert values[last] == {"open_interest": 101.5, "long_short_ratio": 1.5, "taker_long_short_ratio": 0.9}
    assert [v["funding_rate"] for v in values.values() if "funding_rate" in v] == [0.0001]
    assert list(values) == sorted(values)


async def test_only_what_is_new_and_a_refused_series_is_asked_for_once() -> None:
    venue = Venue()
    asked = reads(venue)
    for _ in range(2):
        found = await asked.published(S, NOW - 6 * MINUTE)
        assert [e.ts_event for e in found] == [NOW - 6 * MINUTE + MINUTE]
    assert sum("topLongShort" in url.path for url in venue.asked) == 1


async def test_a_longer_history_is_read_in_longer_steps_and_at_most_a_month() -> None:
    for days, period in ((1, "5m"), (3, "15m"), (20, "1h"), (400, "2h")):
        venue = Venue()
        await reads(venue).published(S, NOW - days * 1440 * MINUTE)
        url = next(u for u in venue.asked if u.path.endswith("openInterestHist"))
        assert url.params["period"] == period
        assert int(url.params["startTime"]) * MS >= NOW - 30 * 1440 * MINUTE


async def test_a_refusal_is_of_one_symbol_and_forgotten_after_an_hour() -> None:
    venue, clock, config = Venue(), VirtualClock(NOW), BinanceConfig()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.params["symbol"] == "BADUSDT" and request.url.path.startswith("/futures/data"):
            venue.asked.append(request.url)
            return httpx.Response(400, json={"code": -1121, "msg": "Invalid symbol."})
        return venue.answer(request)

    asked = StatisticsReads(RestClient(config, HttpxWire(config.rest, httpx.MockTransport(answer)), clock), clock)
    counts = []
    for seconds in (0, 3590, 20):
        clock.set_to(clock.now_ns() + seconds * 10**9)
        await asked.published("BADUSDT", clock.now_ns() - 60 * MINUTE)
        counts.append(sum(u.path.endswith("openInterestHist") for u in venue.asked))
    assert counts == [1, 1, 2]
    values = [event.values for event in await asked.published(S, NOW - 60 * MINUTE)]
    assert any(v.get("open_interest") == 101.5 and "long_short_ratio" in v for v in values)
