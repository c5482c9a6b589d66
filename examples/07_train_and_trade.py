"""Train the analyst on the first part of a market, read how good it was out of sample, and trade the rest.

The market is made up and has a planted edge, so there is something to find. On real hours there is far less:
look at the intervals before you look at the profit.
"""

from ares import Analyst, Backtester, FeatureOrchestrator, train
from ares.data.synthetic import SyntheticConfig, synthetic_market
from ares.features.config import FeatureConfig
from ares.training import TrainConfig

market = synthetic_market(4, 7000, config=SyntheticConfig(predictability=0.3))
past, start = market.klines.iloc[:5500], int(market.klines.index[5500].value)
features = FeatureOrchestrator(FeatureConfig(groups=("returns", "volatility", "trend")))

model = train(past, features=features, config=TrainConfig(folds=4, resamples=60))

scores = model.scores
skill, area = scores.confidence.brier_skill, scores.direction
print(f"model {model.model_id[:12]}, {scores.rows:,} decisions scored out of sample")
print(f"  up against down, AUC       {area.value:.3f}  (95 %: {area.low:.3f} to {area.high:.3f})")
print(f"  Brier skill, base rate = 0 {skill.value:+.3f} (95 %: {skill.low:+.3f} to {skill.high:+.3f})")
print(f"  bets above break-even      {scores.trading.bets}, mean net {scores.trading.mean:+.2%} each")

analyst = Analyst(model=model)
result = Backtester(features=features, analyst=analyst).run(market.klines, start=start)
print(f"traded the rest: {len(result.trades)} trades, net {result.stats['total_return']:+.2%} after all costs")
print(f"  random entries would have earned {result.summary()['baselines']['random_entries']:+.2%}")

decision = next(d for d in result.records.decisions if d.plan is not None)
print("one decision, in its own words:")
for reason in decision.analysis.reasons[:2]:
    print(f"  {reason}")
