"""Records what River's drift detectors and half-space trees say of streams that a test makes again.

    python3 -m venv venv && venv/bin/pip install river==0.26.1
    venv/bin/python tests/learn/record.py > tests/learn/river.txt

Lines of a drift detector: its name and options, the stream's name and seed; then one for each detection, the index of
the number, width and mean and variance of the window (ADWIN) or nothing; then the window at the end. Lines of trees:
their options and how many events; each cut, of node 1 of the first tree first (children of node i are 2 i and 2 i + 1),
as feature and threshold; the scores. Floats are as Python's repr writes them, which reads back to the same bits.
"""

import sys

import river
from river import anomaly, drift

assert river.__version__ == "0.26.1", river.__version__
GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


class SplitMix:
    """The generator of src/base/rng.rs."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + GOLDEN) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n):
        return (self.next() * n) >> 64

    def unit(self):
        return (self.next() >> 11) / (1 << 53)

    def bell(self):
        """About normal: twelve uniform numbers, less six."""
        total = 0.0
        for _ in range(12):
            total += self.unit()
        return total - 6.0


STREAMS = {
    "still": lambda rng, i: rng.bell(),
    "jump": lambda rng, i: rng.bell() + (1.0 if i >= 10_000 else 0.0),
    "fall": lambda rng, i: 3.0 * rng.bell() - (40.0 if i >= 7_000 else 0.0),
    "errors": lambda rng, i: 1.0 if rng.below(10) < (2 if i < 5_000 else 4) else 0.0,
    "ramp": lambda rng, i: rng.unit() + max(0, i - 8_000) / 4_000,
    "stairs": lambda rng, i: rng.bell() + 2.0 * (i // 3_000 % 3),
    "constant": lambda rng, i: 0.1 if i < 9_000 else 0.3,
}
LENGTH = 20_000
ADWIN = [
    {},
    {"delta": 0.3, "clock": 1},
    {"delta": 1e-5, "clock": 100, "max_buckets": 3, "min_window_length": 20, "grace_period": 200},
]
PAGE_HINKLEY = [
    {},
    {"min_instances": 200, "delta": 0.1, "threshold": 20.0, "alpha": 1.0},
    {"threshold": 30.0, "alpha": 0.999, "mode": "up"},
    {"threshold": 30.0, "alpha": 0.999, "mode": "down"},
]
TREES = [
    {"n_trees": 4, "height": 5, "window_size": 100, "features": 1, "seed": 1},
    {"n_trees": 3, "height": 6, "window_size": 250, "features": 3, "seed": 2},
]


def options(given):
    return ",".join(f"{name}={value}" for name, value in given.items()) or "-"


def window(at, detector):
    width = detector.get_width()
    # What River calls the variance is the sum of squares.
    print(at, int(width), repr(detector.get_total() / width), repr(detector.get_variance() / width))


def adwin(given, stream, seed):
    print("adwin", options(given), stream, seed)
    detector, rng = drift.ADWIN(**given), SplitMix(seed)
    for i in range(LENGTH):
        detector.update(STREAMS[stream](rng, i))
        if detector.drift_detected:
            window(i, detector._helper)
    window("end", detector._helper)


def adwin_as_in_the_paper(stream, seed):
    """Without the wrapper, which begins anew after each detection."""
    print("adwin restart=false", stream, seed)
    detector, rng = drift.ADWIN()._helper, SplitMix(seed)
    for i in range(LENGTH):
        if detector.update(STREAMS[stream](rng, i)):
            window(i, detector)
    window("end", detector)


def page_hinkley(given, stream, seed):
    print("page-hinkley", options(given), stream, seed)
    detector, rng = drift.PageHinkley(**given), SplitMix(seed)
    for i in range(LENGTH):
        detector.update(STREAMS[stream](rng, i))
        if detector.drift_detected:
            print(i)
    print("end")


def cuts(node, feature_names):
    """Feature and threshold of each branch by its number."""
    found, level = {}, [(1, node)]
    while level:
        number, node = level.pop()
        if hasattr(node, "threshold"):
            found[number] = (feature_names.index(node.feature), node.threshold)
            level += [(2 * number, node.children[0]), (2 * number + 1, node.children[1])]
    return [found[number] for number in sorted(found)]


def trees(given, events):
    given = dict(given)
    print("trees", options(given), events)
    names = [f"x{i}" for i in range(given.pop("features"))]
    seed = given.pop("seed")
    detector, rng = anomaly.HalfSpaceTrees(seed=seed, **given), SplitMix(seed)
    scores = []
    for _ in range(events):
        # In units of 2^-16, dense around the middle.
        x = {name: sum(rng.below(1 << 14) for _ in range(4)) / (1 << 16) for name in names}
        scores.append(detector.score_one(x))
        detector.learn_one(x)
    for tree in detector.trees:
        print("tree", *(f"{feature}:{threshold!r}" for feature, threshold in cuts(tree, names)))
    print("scores", *map(repr, scores))


def main():
    for stream, seed in zip(STREAMS, range(1, 100)):
        for given in ADWIN:
            adwin(given, stream, seed)
        adwin_as_in_the_paper(stream, seed)
        for given in PAGE_HINKLEY:
            page_hinkley(given, stream, seed)
    for given in TREES:
        trees(given, 1200)


if __name__ == "__main__":
    sys.exit(main())
