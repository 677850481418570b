"""The paired timing of the benchmarks, on calls that only count themselves."""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("timing", Path(__file__).parents[2] / "benchmarks" / "timing.py")
assert SPEC is not None
assert SPEC.loader is not None
timing = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(timing)


def test_candidates_take_turns_after_the_warm_up():
    order = []
    seconds = timing.interleaved({name: lambda name=name: order.append(name) for name in "abc"}, 3)
    warm = [name for name in "abc" for _ in range(timing.WARM_UP)]
    assert order[:6] == warm
    rounds = ["".join(order[k : k + 3]) for k in (6, 9, 12)]
    assert ["".join(sorted(one)) for one in rounds] == ["abc"] * 3
    # none of them always follows the same neighbour
    assert len(set(rounds)) > 1
    assert {name: len(times) for name, times in seconds.items()} == dict.fromkeys("abc", 3)


def test_times_are_those_of_the_calls(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def lasting(seconds):
        def call():
            clock[0] += seconds

        return call

    assert timing.interleaved({"a": lasting(2.0), "b": lasting(0.5)}, 2) == {"a": [2.0, 2.0], "b": [0.5, 0.5]}


def test_ratio_pairs_the_rounds():
    # the ratio of the medians, 20 / 4, would mix a slow round of one with a quick round of the other
    assert timing.ratio([8.0, 20.0, 30.0], [4.0, 10.0, 3.0]) == pytest.approx(2.0)
