"""Events a second that River's half-space trees score and learn: trees.py TREES HEIGHT WINDOW EVENTS."""

import random
import sys
import time

import river
from river import anomaly

assert river.__version__ == "0.26.1", river.__version__


def main():
    trees, height, window, events = map(int, sys.argv[1:])
    rng = random.Random(7)
    # Within its limits, 0 to 1, so that nothing needs to be scaled.
    number = lambda: min(max(0.5 + 0.1 * rng.gauss(0.0, 1.0), 0.0), 1.0)
    points = [{"a": number(), "b": number(), "c": number()} for _ in range(events)]
    detector = anomaly.HalfSpaceTrees(n_trees=trees, height=height, window_size=window, seed=1)
    for point in points[: 2 * window]:
        detector.learn_one(point)
    total = 0.0
    begin = time.perf_counter()
    for point in points:
        total += detector.score_one(point)
        detector.learn_one(point)
    took = time.perf_counter() - begin
    assert 0.0 < total < events
    print(events / took)


main()
