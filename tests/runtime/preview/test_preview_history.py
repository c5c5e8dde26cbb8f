import numpy as np

from differseg.runtime.preview.history import BIN_S, BINS, StageHistory


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def test_percentiles_of_full_bins():
    clock = Clock()
    history = StageHistory(clock)
    values = np.random.default_rng(0).gamma(4, 5, 50)
    for value in values:
        history.add({"infer": float(value)})
    assert history.document()["stages"] == {}, "the bin is not full yet"
    clock.now_s += BIN_S
    series = history.document()["stages"]["infer"]
    expected = np.percentile(values, [50, 95], method="inverted_cdf")
    np.testing.assert_allclose([series["p50"][0], series["p95"][0]], expected, atol=1e-3)


def test_a_pause_is_a_gap():
    clock = Clock()
    history = StageHistory(clock)
    for step in (0, 1, 3):
        clock.now_s = 1000.0 + step * BIN_S
        history.add({"infer": float(step)})
    clock.now_s = 1000.0 + 5 * BIN_S
    assert history.document()["stages"]["infer"]["p50"] == [0.0, 1.0, None, 3.0, None]


def test_it_stays_of_one_size():
    clock = Clock()
    history = StageHistory(clock)
    for step in range(2000):
        clock.now_s += BIN_S / 4
        history.add({"infer": 1.0, f"rare{step // 1000}": 1.0})
    clock.now_s += BIN_S
    stages = history.document()["stages"]
    assert {len(series["p50"]) for series in stages.values()} == {BINS}
    assert set(stages) == {"infer", "rare1"}
    assert len(history._done) == BINS


def test_old_figures_go_when_nothing_comes():
    clock = Clock()
    history = StageHistory(clock)
    history.add({"infer": 1.0})
    clock.now_s += (BINS + 10) * BIN_S
    p50 = history.document()["stages"].get("infer", {"p50": []})["p50"]
    assert not any(p50)
