"""Events a second that stumpy's streaming matrix profile takes: nearest.py POINTS WINDOW EVENTS.

Compiles once; then, for each line of standard input, "values" or "shape", takes EVENTS more and prints the rate.
"""

import sys
import time

import numpy
import stumpy

assert stumpy.__version__ == "1.14.1", stumpy.__version__


def main():
    points, window, events = map(int, sys.argv[1:])
    rng = numpy.random.default_rng(7)
    kinds = {}
    for line in sys.stdin:
        kind = line.strip()
        if kind not in kinds:
            past = rng.normal(size=points)
            kinds[kind] = stumpy.stumpi(past, window, egress=True, normalize={"values": False, "shape": True}[kind])
            for number in rng.normal(size=100):
                kinds[kind].update(number)
        numbers = rng.normal(size=events)
        begin = time.perf_counter()
        for number in numbers:
            kinds[kind].update(number)
        took = time.perf_counter() - begin
        assert 0.0 < kinds[kind].left_P_[-1] < 100.0
        print(events / took, flush=True)


main()
