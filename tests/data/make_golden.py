"""Write golden.json: a digest of the results of every solver, noise, sampler and dtype, from one machine.

Another compiler, instruction set or machine has to give the same bits; a change of them on purpose runs this again and
says so in the changelog. Inputs come from integer arithmetic alone, so that no other library has a say.

    python tests/data/make_golden.py           write golden.json
    python tests/data/make_golden.py --print   print the digests instead
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np

import perturbed as pt

GOLDEN = Path(__file__).parent / "golden.json"

GRAPH = [(i, j) for i in range(7) for j in range(i + 1, 8) if (i * 5 + j * 3) % 7 > 1]
SOLVERS = {  # name: solver, shape of an item
    "argmax": (pt.Argmax(), (7,)),
    "argmax long": (pt.Argmax(), (203,)),
    "top_k": (pt.TopK(3), (9,)),
    "top_k long": (pt.TopK(10), (150,)),
    "top_k ordered": (pt.TopK(2, ordered=True), (9,)),
    "ranking": (pt.Ranking(), (10,)),
    "ranking long": (pt.Ranking(descending=True), (131,)),
    "permutation": (pt.Permutation(), (6,)),
    "grid_path": (pt.GridPath(), (5, 6)),
    "grid_path 4": (pt.GridPath(4), (4, 9)),
    "graph_path": (pt.GraphPath(GRAPH, 0, 7), (20,)),
    "graph_path cyclic": (pt.GraphPath([*GRAPH, (7, 1), (6, 2)], 0, 7), (22,)),
    "graph_path nodes": (pt.GraphPath(GRAPH, 0, 7, directed=False, weights="node"), (8,)),
    "dtw": (pt.DTW(), (5, 19)),
    "dtw band": (pt.DTW(3), (8, 7)),
    "viterbi": (pt.Viterbi((np.arange(121) * 7 % 31 / 16.0 - 1).reshape(11, 11)), (5, 11)),
    "viterbi edges": (pt.Viterbi(), (4, 3, 3)),
    "assignment": (pt.Assignment(), (4, 5)),
    "assignment tall": (pt.Assignment(), (17, 9)),
    "alignment": (pt.Alignment("global", gap_open=1.0, gap_extend=0.25), (19, 7)),
    "alignment local": (pt.Alignment("local", gap_open=1.0), (6, 9)),
    "alignment learned": (pt.Alignment("semiglobal"), (5, 6, 3)),
    "alignment transitions": (pt.Alignment("local", transitions=True), (4, 5, 9)),
    "forest": (pt.SpanningForest(2, [(0, 1), (2, 1), (0, 2), (1, 3), (0, 1), (3, 2), (4, 2)]), (7,)),
    "forest clusters": (pt.SpanningForest(3, output="clusters"), (7, 7)),
    "forest dense": (pt.SpanningForest(5), (21, 21)),
}
NOISES = {
    "normal": pt.Normal(),
    "gumbel": pt.Gumbel(),
    "centered gumbel": pt.Gumbel(centered=True),
    "laplace": pt.Laplace(),
    "logistic": pt.Logistic(),
    "student_t": pt.StudentT(3.5),
    "sum_of_gamma": pt.SumOfGamma(4.0, 5),
    "multiplicative": pt.Multiplicative(pt.Normal()),
    "multiplicative gumbel": pt.Multiplicative("gumbel"),
    "scaled": pt.Normal(scale=0.75),
}
EXACT = {
    "argmax": (pt.Argmax(), (8,)),
    "argmax long": (pt.Argmax(), (203,)),
    "top_k": (pt.TopK(3), (9,)),
    "top_k ordered": (pt.TopK(4, ordered=True), (17,)),
    "ranking": (pt.Ranking(), (10,)),
    "ranking long": (pt.Ranking(descending=True), (300,)),
    "ranking very long": (pt.Ranking(), (2100,)),
    "permutation": (pt.Permutation(), (7,)),
}
FEW = ("normal", "gumbel", "multiplicative")  # enough where a like solver has them all
ALL = ("argmax", "top_k", "ranking", "grid_path")
SAMPLERS = ("iid", "antithetic")
DTYPES = (np.float32, np.float64)


def numbers(shape, dtype, start):
    """About uniform in (-2, 2), by a linear congruential generator; exact in float32."""
    state, values = start, []
    for _ in range(int(np.prod(shape))):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(((state >> 12) - 2**19) / 2**18)
    return np.array(values, dtype).reshape(shape)


def items(solver, shape, dtype, start):
    """Numbers that this solver takes: symmetric ones for the matrices of a forest."""
    theta = numbers(shape, dtype, start)
    symmetric = isinstance(solver, pt.SpanningForest) and solver.edges is None
    return theta + theta.swapaxes(-1, -2) if symmetric else theta


def results(layer, theta, g, t, seed):
    """What a layer tells, in one order, as arrays."""
    est = layer.estimate(theta, seed=seed)
    yield from (est.y, est.y_stderr, layer.sample(theta, 3, seed=seed), est.clipped)
    if layer.solver._linear:
        target = est.atoms(0)[0][0] + 0 * theta if layer.solver._of_value() is layer.solver else 0 * theta
        yield from (est.value, est.value_stderr, est.value_epsilon, est.value_grad())
        yield from pt.FenchelYoungLoss(layer, "none").value_and_grad(theta, target, seed=seed)
    if layer.noise._has_score:
        yield from (est.vjp(g), est.vjp_stderr(g), est.jvp(t), est.vjp_epsilon(g))
        if theta[0].size < 100:
            yield est.jacobian()


def digest(arrays):
    h = sha256()
    for x in arrays:
        x = np.ascontiguousarray(x)
        x = np.where(np.isnan(x), np.nan, x).astype(x.dtype)  # one NaN
        h.update(f"{x.dtype.str} {x.shape}".encode())
        h.update(x.astype(x.dtype.newbyteorder("<")).tobytes())
    return h.hexdigest()[:20]


def cases():
    """Name and what computes its results."""
    for solver_name, (solver, item) in SOLVERS.items():
        for noise_name, noise in NOISES.items():
            if solver_name not in ALL and noise_name not in FEW:
                continue
            for sampler in SAMPLERS:
                if sampler == "antithetic" and not noise._mirrors:
                    continue
                for dtype in DTYPES:
                    name = ", ".join((solver_name, noise_name, sampler, np.dtype(dtype).name))
                    yield name, lambda a=(solver, item, noise, sampler, dtype): digest(case(*a))
    for solver_name, (solver, item) in EXACT.items():
        for noise_name in ("normal", "gumbel", "logistic", "laplace"):
            for dtype in DTYPES:
                layer = pt.Perturbed(solver, noise=noise_name, epsilon=0.5)
                if layer.estimator != "exact":
                    continue
                theta, t = (numbers((3, *item), dtype, i) for i in (1, 3))
                g = numbers(solver(theta).shape, dtype, 2)
                name = f"exact {solver_name}, {noise_name}, {np.dtype(dtype).name}"
                yield name, lambda a=(layer, theta, g, t, 5): digest(results(*a))

    for output, n in (("forest", 9), ("clusters", 24)):  # by subsets, and by search
        for dtype in DTYPES:
            name = f"forest constraints, {output}, {np.dtype(dtype).name}"
            yield name, lambda a=(output, n, dtype): digest(constrained(*a))


def constrained(output, n, dtype):
    theta = items(pt.SpanningForest(), (3, n, n), dtype, 1)
    known = pt.constraints_from_labels([*(i % 2 for i in range(n // 3)), *(-1 for _ in range(n // 3, n))])
    layer = pt.Perturbed(pt.SpanningForest(4, output=output), epsilon=0.5, samples=130)
    est = layer.estimate(theta, seed=5, constraints=known)
    yield from (est.y, est.value, est.value_stderr, est.vjp(numbers(theta.shape, dtype, 2)))
    yield from pt.PartialFenchelYoungLoss(layer, "none").value_and_grad(theta, known, seed=5)


def case(solver, item, noise, sampler, dtype):
    theta = items(solver, (3, *item), dtype, 1)
    y = solver(theta)
    g, t = numbers(y.shape, dtype, 2), numbers(theta.shape, dtype, 3)
    layer = pt.Perturbed(
        solver, noise=noise, epsilon=np.array([0.5, 0.25, 0.75]), samples=130, sampler=sampler, estimator="score"
    )
    return results(layer, theta, g, t, 2**40 + 5)


def digests():
    return {name: compute() for name, compute in cases()}


if __name__ == "__main__":
    text = json.dumps(digests(), indent=0)
    if "--print" in sys.argv:
        print(text)
    else:
        GOLDEN.write_text(text + "\n")
