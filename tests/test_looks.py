"""Calls without noise check theta in the pass that solves it: every entry is seen, and the lowest bad row is named."""

import numpy as np
import pytest

import perturbed as pt

STATES = np.zeros((3, 3))
CASES = {
    "argmax": (pt.Argmax(), (9,)),
    "ranking": (pt.Ranking(), (5,)),
    "grid": (pt.GridPath(), (3, 5)),
    "roads": (pt.GraphPath([(0, 1), (1, 2), (2, 0), (0, 2)], source=0, target=2), (4,)),
    "warping": (pt.DTW(), (3, 6)),
    "states": (pt.Viterbi(STATES), (5, 3)),
    "alignment": (pt.Alignment("local", gap_open=1.0), (18, 21)),
    "alignment, learned": (pt.Alignment("global"), (4, 7, 3)),
    "alignment, transitions": (pt.Alignment("local", transitions=True), (3, 6, 9)),
    "assignment": (pt.Assignment(), (3, 4)),
    "forest": (pt.SpanningForest(2, edges=[(0, 1), (1, 2), (2, 3), (0, 3)]), (4,)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_every_entry_is_seen(name, dtype):
    solver, item = CASES[name]
    rng = np.random.default_rng(1)
    theta = rng.normal(size=(37, *item)).astype(dtype)
    want = solver(theta)
    for i, place in enumerate(np.ndindex(item)):
        row = i % len(theta)
        for bad in (np.nan, np.inf) if i % 2 else (-np.nan, np.inf):
            broken = theta.copy()
            broken[(row, *place)] = bad
            where = f"theta[{', '.join(map(str, (row, *place)))}]"
            for call in (solver, solver.value) if solver._linear else (solver,):
                with pytest.raises(ValueError, match="must not contain") as info:
                    call(broken)
                assert str(info.value).endswith(f"at {where}")
    assert solver(theta).tobytes() == want.tobytes()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_lowest_bad_row_is_named(name, threads):
    solver, item = CASES[name]
    theta = np.random.default_rng(2).normal(size=(3000, *item))
    bad = [2999, 1700, 801, 800, 64]
    with pt.threads(threads):
        for k, row in enumerate(bad):
            theta[(row, *(0,) * len(item))] = np.nan
            theta[(bad[0], *(-1,) * len(item))] = np.inf
            with pytest.raises(ValueError, match=rf"got NaN at theta\[{bad[k]}, "):
                solver(theta)


@pytest.mark.parametrize("name", ["grid", "warping", "states", "roads", "assignment"])
def test_closed_rows_beside_bad_ones(name):
    """A row without a solution is named before a NaN in a higher row, and after one in a lower row."""
    solver, item = CASES[name]
    theta = np.random.default_rng(3).normal(size=(200, *item))
    theta[70] = -np.inf
    theta[(150, *(0,) * len(item))] = np.nan
    with pytest.raises(ValueError, match=r"^theta\[70\]: "):
        solver(theta)
    theta[(60, *(0,) * len(item))] = np.nan
    with pytest.raises(ValueError, match=r"at theta\[60, "):
        solver(theta)
