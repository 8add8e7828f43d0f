"""Calls that are wrong: each is an exception whose words name the argument, and leaves its inputs as they were."""

# ruff: noqa: E501    the table has one case a line

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse

import perturbed as pt

N = np.arange(12.0).reshape(3, 4)  # a batch of three items
GRID = -np.ones((2, 3, 4))


def layer(solver=None, **options):
    return pt.Perturbed(pt.Argmax() if solver is None else solver, **options)


def pullback(solver=None, theta=N, **options):
    return layer(solver, **{"estimator": "score", "samples": 4, **options}).vjp(theta, seed=0)[1]


def estimate(solver=None, theta=N, **options):
    return layer(solver, **{"estimator": "score", "samples": 4, **options}).estimate(theta, seed=0)


def loss(solver=None, **options):
    return pt.FenchelYoungLoss(layer(solver, **options))


def with_entry(array, at, value):
    array = np.array(array)
    array[at] = value
    return array


def shut(*rows):
    """Grids whose middle column is closed in these rows of a 2-D batch."""
    theta = -np.ones((2, 2, 3, 3))
    for row in rows:
        theta[row][:, 1] = -np.inf
    return theta


class Hidden:
    """Converts itself to an array, badly."""

    def __array__(self, dtype=None, copy=None):
        raise ValueError("not today")


class Wants:
    requires_grad = True


with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    MATRIX = np.matrix([[1.0, 2.0]])

E, T, V = Exception, TypeError, ValueError

# what is called, the shape of an item
DECODERS = [
    (pt.Alignment("global", gap_open=1.0).pairs, (2, 3)),
    (pt.Alignment("global", gap_open=1.0).cigar, (2, 3)),
    (pt.Alignment("local", transitions=True).cigar, (2, 3, 9)),
    (pt.Assignment().pairs, (2, 3)),
    (pt.DTW().pairs, (2, 3)),
    (pt.GraphPath([(0, 1), (1, 2)]).path, (2,)),
    (pt.GraphPath([(0, 1), (1, 2)], weights="node").path, (3,)),
    (pt.GridPath().path, (2, 3)),
    (pt.SpanningForest().labels, (3, 3)),
    (pt.SpanningForest(edges=[(0, 1), (1, 2)]).labels, (2,)),
    (pt.SpanningForest(output="clusters").labels, (3, 3)),
    (pt.Viterbi().states, (2, 3, 3)),
    (pt.Viterbi(np.zeros((3, 3))).states, (2, 3)),
]

# what is called, with what, the exception, words that it must say
CASES = [
    # theta: type
    (pt.Argmax(), N + 0j, T, r"theta must be real .*got complex128"),
    (pt.Argmax(), (N + 0j).astype(np.complex64), T, r"theta must be real .*got complex64"),
    (pt.Argmax(), N.astype(object), T, r"theta must be real .*got object"),
    (pt.Argmax(), N.astype(np.longdouble), T, r"theta must be real .*got (longdouble|float128|float96)"),
    (pt.Argmax(), ["a", "b"], T, r"theta must be real .*got <U1"),
    (pt.Argmax(), "abc", T, r"theta must be real"),
    (pt.Argmax(), [b"a"], T, r"theta must be real .*got \|S1"),
    (pt.Argmax(), None, T, r"theta must be real .*got object"),
    (pt.Argmax(), [[1.0], [1.0, 2.0]], V, r"theta must be an array of numbers"),
    (pt.Argmax(), np.array(["2020-01-01"], "M8[D]"), T, r"theta must be real .*datetime64"),
    (pt.Argmax(), np.array([1, 2], "m8[s]"), T, r"theta must be real .*timedelta64"),
    (pt.Argmax(), np.zeros(3, [("x", float)]), T, r"theta must be real"),
    (pt.Argmax(), np.ma.masked_array([1.0, 2.0], [True, False]), T, r"theta .*MaskedArray \(pass mask= instead\)"),
    (pt.Argmax(), MATRIX, T, r"theta .*matrix \(pass np.asarray"),
    (pt.Argmax(), scipy.sparse.csr_matrix(N), T, r"theta must be a dense array, got sparse csr_matrix"),
    (pt.Argmax(), scipy.sparse.coo_array(N), T, r"theta must be a dense array, got sparse coo_array"),
    (pt.Argmax(), Hidden(), V, r"theta must be an array of numbers: not today"),
    (pt.Argmax(), Wants(), T, r"theta .*wants gradients \(use perturbed.torch\)"),
    (pt.Argmax(), {"a": 1}, T, r"theta must be real .*got object"),
    (layer(), N + 0j, T, r"theta must be real .*got complex128"),
    (layer(pt.Oracle(np.sign, linear=False)), N + 0j, T, r"theta must be real .*got complex128"),
    # theta: shape
    (pt.Argmax(), 3.0, V, r"theta must have at least 1 dimension, got 0"),
    (pt.GridPath(), [1.0, 2.0], V, r"theta must have at least 2 dimensions, got 1"),
    (pt.Argmax(), [], V, r"theta must have at least one entry an item, got shape \(0,\)"),
    (pt.Argmax(), np.zeros((3, 0)), V, r"theta must have at least one entry an item, got shape \(3, 0\)"),
    (pt.GridPath(), np.zeros((3, 0, 2)), V, r"theta must have at least one entry an item"),
    (layer(pt.TopK(2)), np.zeros((0, 0)), V, r"theta must have at least one entry an item"),
    (pt.Permutation(), np.zeros(46341), V, r"theta must have at most 46340 entries"),
    # theta: contents
    (pt.Argmax(), with_entry(N, (1, 2), np.nan), V, r"theta must not contain NaN, got NaN at theta\[1, 2\]"),
    (pt.Argmax(), with_entry(N, (2, 0), np.inf), V, r"theta must not contain \+inf, got \+inf at theta\[2, 0\]"),
    (pt.GridPath(), with_entry(GRID, (1, 2, 3), np.nan), V, r"NaN at theta\[1, 2, 3\]"),
    (layer(), with_entry(N, (1, 2), np.nan), V, r"NaN at theta\[1, 2\]"),
    (layer(pt.TopK(2)), with_entry(N, (1, 2), np.nan).astype(np.float32), V, r"NaN at theta\[1, 2\]"),
    (pt.Argmax(), np.float16([1, np.nan]), V, r"NaN at theta\[1\]"),
    (pt.Ranking(), with_entry(N, (1, 2), -np.inf), V, r"pass mask= instead.*-inf at theta\[1, 2\]"),
    (pt.Permutation(), [0.0, -np.inf], V, r"pass mask= instead.*-inf at theta\[1\]"),
    (pt.Argmax(), np.full((2, 3), -np.inf), V, r"theta\[0\]: 0 of 3 entries are allowed"),
    (pt.TopK(3), with_entry(N, (1, slice(0, 2)), -np.inf), V, r"theta\[1\]: 2 of 4 entries are allowed.* 3 needed"),
    (pt.TopK(5), N, V, r"k must be between 1 and 4 \(the length of theta\), got 5"),
    (layer(pt.TopK(5)), N, V, r"k must be between 1 and 4 \(the length of theta\), got 5"),
    # unreachable targets
    (pt.GridPath(), shut((1, 0)), V, r"theta\[1, 0\]: no path from source \(0, 0\) to target \(2, 2\)"),
    (pt.GridPath(), shut((1, 1), (0, 1)), V, r"theta\[0, 1\]: no path"),
    (layer(pt.GridPath()), shut((1, 0), (1, 1)), V, r"theta\[1, 0\]: no path"),
    (layer(pt.GridPath()).estimate, shut((0, 0)), V, r"theta\[0, 0\]: no path"),
    (pt.GridPath(), with_entry(GRID, (1, 0, 0), -np.inf), V, r"theta\[1\]: source \(0, 0\) is closed"),
    (pt.GridPath(), with_entry(GRID, (1, 2, 3), -np.inf), V, r"theta\[1\]: target \(2, 3\) is closed"),
    (pt.GridPath(), [GRID, GRID * 1e308], V, r"^theta\[1, 0\]: the cost of the path overflows$"),
    # instance arguments
    (lambda x: pt.Argmax()(x, masks=1), N, T, r"masks is no instance argument of Argmax \(it has: mask\)"),
    (lambda x: pt.Argmax()(x, source=1), N, T, r"source is no instance argument of Argmax"),
    (lambda x: layer()(x, lengths=1), N, T, r"lengths is no instance argument of Argmax"),
    (lambda x: layer().value(x, k=1), N, T, r"k is no instance argument"),
    (lambda x: pt.GridPath().value(x, constraints=1), GRID, T, r"constraints .*it has: mask, source, target"),
    (lambda m: pt.Argmax()(N, mask=m), np.ones(4), T, r"mask must be bool, got float64"),
    (lambda m: pt.Argmax()(N, mask=m), np.ones(4, int), T, r"mask must be bool, got int"),
    (lambda m: pt.Argmax()(N, mask=m), np.ones(3, bool), V, r"mask must broadcast to shape \(3, 4\), got \(3,\)"),
    (lambda m: pt.Argmax()(N, mask=m), np.ones((2, 3, 4), bool), V, r"mask must broadcast to shape \(3, 4\)"),
    (lambda m: pt.Argmax()(N, mask=m), np.zeros((3, 4), bool), V, r"theta\[0\]: 0 of 4 entries are allowed"),
    (lambda m: pt.Argmax()(N, mask=m), np.ma.masked_array([True] * 4), T, r"mask must be .*MaskedArray \(pass np.ma.filled\(it, False\)\)$"),
    (lambda m: pt.TopK(2)(N, mask=m), np.eye(3, 4) > 0, V, r"theta\[0\]: 1 of 4 entries are allowed"),
    (lambda m: pt.GridPath()(GRID, mask=m), np.zeros((3, 4), bool), V, r"theta\[0\]: source \(0, 0\) is closed"),
    (lambda m: layer(pt.Ranking())(N, mask=m), [1, 0, 1, 1], T, r"mask must be bool"),
    (lambda s: pt.GridPath()(GRID, source=s), [3, 0], V, r"source must be a cell of the 3 x 4 grid, got \(3, 0\) in row 0"),
    (lambda s: pt.GridPath()(GRID, target=s), [[0, 0], [0, -1]], V, r"target must be a cell .*\(0, -1\) in row 1"),
    (lambda s: pt.GridPath()(GRID, source=s), [0.0, 1.0], T, r"source must be integers, got float64"),
    (lambda s: pt.GridPath()(GRID, source=s), 3, V, r"source must have shape \(2,\) or \(2, 2\), got \(\)$"),
    (lambda s: pt.GridPath()(GRID[0], source=s), 1, V, r"source must have shape \(2,\), got \(\)$"),
    (lambda s: pt.GridPath()(GRID, source=s), np.uint64([0, 2**64 - 1]), V, r"source must be between -\d+ and \d+, got 18446744073709551615$"),
    (lambda s: pt.GridPath()(GRID[None], source=s), [[[0, 0], [3, 0]]], V, r"source must be a cell .*, got \(3, 0\) in row \(0, 1\)$"),
    (lambda s: pt.GraphPath([(0, 1)])([0.0], source=s, target=1), np.uint64(2**63 + 1), V, r"source must be .*, got 9223372036854775809$"),
    (lambda s: pt.GraphPath([(0, 1)])([0.0], source=s, target=1), 2**70, V, r"source must be .*, got 1180591620717411303424$"),
    (lambda s: pt.GraphPath([(0, 1)])([0.0], source=s, target=1), np.array(0, object), T, r"source must be integers, got object$"),
    (lambda s: pt.GraphPath([(0, 1)])([0.0], source=s, target=1), np.array([True]), T, r"source must be integers, got bool$"),
    (lambda n: pt.DTW()(GRID, lengths=n), 2, V, r"lengths must have shape \(2,\) or \(2, 2\), got \(\)$"),
    (lambda n: pt.DTW()(GRID, lengths=n), [[1], [2]], V, r"lengths must have shape \(2,\) or \(2, 2\), got \(2, 1\)$"),
    (lambda n: pt.DTW()(GRID[None], lengths=n), [[[3, 4], [3, 5]]], V, r"lengths must be .*, got \(3, 5\) in row \(0, 1\)$"),
    (lambda n: pt.Alignment("local", gap_open=1)(GRID, lengths=n), 2, V, r"lengths must have shape \(2,\) or \(2, 2\), got \(\)$"),
    (lambda n: pt.Alignment("local", gap_open=1)(GRID, lengths=n), [[1], [2]], V, r"lengths must have shape .*, got \(2, 1\)$"),
    (lambda n: pt.Alignment("local", gap_open=1).cigar(0 * GRID, n), 2, V, r"lengths must have shape .*, got \(\)$"),
    (lambda n: pt.Alignment("local", gap_open=1)(GRID[None], lengths=n), [[[3, 4], [3, 5]]], V, r"got \(3, 5\) in row \(0, 1\)$"),
    (lambda n: pt.Viterbi(np.eye(4))(GRID[None], lengths=n), [[3, 4]], V, r"lengths must be in 1..3, got 4 in row \(0, 1\)$"),
    (lambda c: pt.SpanningForest()(np.zeros((4, 4)), constraints=c), np.zeros(4, int), V, r"constraints must have shape \(4, 4\), got \(4,\)$"),
    (lambda c: pt.SpanningForest()(np.zeros((3, 4, 4)), constraints=c), np.zeros((3, 1, 4), int), V, r"shape \(4, 4\) or \(3, 4, 4\), got \(3, 1, 4\)$"),
    (lambda s: pt.GridPath()(GRID, target=s), [[0, 0]] * 3, V, r"target must broadcast to shape \(2, 2\), got \(3, 2\)"),
    (lambda s: pt.GridPath()(GRID, target=s), "ab", T, r"target must be integers"),
    # solvers
    (pt.TopK, 0, V, r"k must be between 1 and"),
    (pt.TopK, -3, V, r"k must be between 1 and .*got -3"),
    (pt.TopK, 2.0, T, r"k must be an integer, got float"),
    (pt.TopK, True, T, r"k must be an integer, got bool"),
    (pt.TopK, 2**40, V, r"k must be between 1 and"),
    (lambda x: pt.TopK(2, ordered=x), "yes", T, r"ordered must be True or False, got 'yes'"),
    (lambda x: pt.Ranking(descending=x), 1, T, r"descending must be True or False, got 1"),
    (lambda x: pt.Permutation(descending=x), None, T, r"descending must be True or False, got None"),
    (lambda x: pt.Ranking(x), True, T, r"positional argument"),
    (pt.GridPath, 5, V, r"neighbors must be 4 or 8, got 5"),
    (pt.GridPath, "8", T, r"neighbors must be an integer, got str"),
    (pt.GridPath, 4.0, T, r"neighbors must be an integer, got float"),
    (pt.GridPath, np.array([4, 8]), T, r"neighbors must be an integer, got ndarray"),
    (lambda x: pt.GridPath(source=x), (1,), T, r"source must be a \(row, column\) pair"),
    (lambda x: pt.GridPath(target=x), (1, -1), V, r"target must be between 0 and"),
    (lambda x: pt.GridPath(target=x), (1, 0.5), T, r"target must be an integer, got float"),
    (lambda x: pt.GridPath(source=(9, 9))(x), GRID, V, r"source must be a cell of the 3 x 4 grid, got \(9, 9\)"),
    (pt.Oracle, 3, T, r"fn must be callable, got int"),
    (lambda x: pt.Oracle(np.sign, x), -1, V, r"item_ndim must be between 0 and 32, got -1"),
    (lambda x: pt.Oracle(np.sign, linear=x), 0, T, r"linear must be True or False, got 0"),
    (lambda x: pt.Oracle(np.sign)(x, 3), N, T, r"positional argument"),
    # decoders
    *[
        case
        for call, shape in DECODERS
        for case in (
            (call, with_entry(np.zeros(shape), 0, 0.3), V, rf"^y must be 0 or 1, got 0.3 at y\[0{', 0' * (len(shape) - 1)}\]$"),
            (call, with_entry(np.zeros((2, 1, *shape)), 1, 0.5), V, r"^y must be 0 or 1, got 0.5 at y\[1, 0, 0"),
            (call, with_entry(np.zeros(shape), -1, -1), V, r"^y must be 0 or 1, got -1.0 at y\["),
            (call, with_entry(np.zeros(shape), -1, 3), V, r"^y must be 0 or 1, got 3.0 at y\["),
            (call, with_entry(np.zeros(shape), -1, np.nan), V, r"^y must be 0 or 1, got nan at y\["),
            (call, np.zeros((0, *shape[1:])), V, r"^y must have at least one entry an item, got shape \(0,"),
            (call, np.zeros((3, *shape[:-1], 0)), V, r"^y must have at least one entry an item, got shape \(3,"),
            (call, np.zeros(shape[1:]), V, rf"^y must have at least {len(shape)} dimensions?, got {len(shape) - 1}$"),
            (call, np.full(shape, "a"), T, r"^y must be real, got <U1"),
        )
    ],
    (pt.Alignment("global").pairs, np.full((2, 2, 3), 3), V, r"^y must be 0, 1 or 2, got 3 at y\[0, 0, 0\]$"),
    (pt.Alignment("global").cigar, with_entry(np.zeros((1, 2, 2, 3)), -1, 0.5), V, r"^y must be 0, 1 or 2, got 0.5 at y\[0, 0"),
    # objective and value
    (lambda y: pt.Argmax().objective(N, y), np.zeros(4), V, r"y must have shape \(3, 4\), got \(4,\)"),
    (lambda y: pt.Argmax().objective(N, y), with_entry(N, (1, 1), np.nan), V, r"y must be finite, got nan at y\[1, 1\]"),
    (lambda y: pt.Argmax().objective(N, y), N + 0j, T, r"y must be real"),
    (pt.Permutation().value, N, V, r"value needs a linear oracle, and Permutation\(\) is none"),
    (pt.TopK(2, ordered=True).value, N, V, r"value needs a linear oracle, and TopK\(k=2, ordered=True\) is none"),
    (pt.Oracle(np.sign, linear=False).value, N, V, r"value needs a linear oracle, and Oracle\("),
    (lambda x: pt.Permutation().objective(x, x), N, V, r"objective needs a linear oracle"),
    (layer(pt.Permutation()).value, N, V, r"value needs a linear oracle"),
    (layer(pt.Oracle(np.sign, linear=False)).value_and_grad, N, V, r"value needs a linear oracle"),
    (lambda x: estimate(pt.Permutation(), x).value, N, V, r"value needs a linear oracle"),
    (lambda x: estimate(pt.Permutation(), x).value_epsilon, N, V, r"value needs a linear oracle"),
    (lambda x: estimate(pt.Permutation(), x).value_grad(), N, V, r"value needs a linear oracle"),
    # layer: options
    (pt.Perturbed, "argmax", T, r"solver must be a solver such as pt.Argmax\(\), got 'argmax'"),
    (pt.Perturbed, pt.Argmax, T, r"solver must be a solver such as"),
    (lambda x: layer(noise=x), "uniform", V, r"noise must be one of 'normal', 'gumbel', 'laplace', 'logistic' .*got 'uniform'"),
    (lambda x: layer(noise=x), 3, T, r"noise must be one of .* or a noise object, got 3"),
    (lambda x: layer(noise=x), pt.Normal, T, r"noise must be one of"),
    (lambda x: layer(epsilon=x), 0.0, V, r"epsilon must be positive and finite, got 0.0"),
    (lambda x: layer(epsilon=x), -0.5, V, r"epsilon must be positive and finite, got -0.5"),
    (lambda x: layer(epsilon=x), np.nan, V, r"epsilon must be positive and finite, got nan"),
    (lambda x: layer(epsilon=x), np.inf, V, r"epsilon must be positive and finite, got inf"),
    (lambda x: layer(epsilon=x), [1.0, -2.0], V, r"epsilon must be positive and finite, got -2.0"),
    (lambda x: layer(epsilon=x), "big", T, r"epsilon must be a real number .*got <U3"),
    (lambda x: layer(epsilon=x), 1j, T, r"epsilon must be a real number .*got complex128"),
    (lambda x: layer(epsilon=x), None, T, r"epsilon must be a real number .*got object"),
    (lambda x: layer(epsilon=x), True, T, r"epsilon must be a real number .*got bool"),
    (lambda x: layer(samples=x), 0, V, r"samples must be between 1 and 4294967295, got 0"),
    (lambda x: layer(samples=x), -1, V, r"samples must be between 1 and"),
    (lambda x: layer(samples=x), 2**32, V, r"samples must be between 1 and"),
    (lambda x: layer(samples=x), 10.0, T, r"samples must be an integer, got float"),
    (lambda x: layer(samples=x), True, T, r"samples must be an integer, got bool"),
    (lambda x: layer(estimator=x), "reinforce", V, r"estimator must be one of 'auto', 'exact', .*'score'.* got 'reinforce'"),
    (lambda x: layer(pt.GridPath(), estimator=x), "exact", V, r"estimator must be one of 'auto', .*'score'.* for GridPath\("),
    (lambda x: layer(noise=pt.StudentT(3), estimator=x), "exact", V, r"one of 'auto', .*'score'.* for Argmax\(\) and Stud"),
    (lambda x: layer(pt.Ranking(), noise=pt.Gumbel(scale=[1, 2]), estimator=x), "exact", V, r"of 'auto', 'rao_blackw"),
    (lambda x: layer(noise=pt.Normal(scale=[1.0, 0.0]), estimator=x), "exact", V, r"one of 'auto', 'rao_blackwell', .*'score'"),
    (lambda x: layer(estimator=x), None, V, r"estimator must be one of"),
    (lambda x: layer(estimator=x), ["score"], V, r"estimator must be one of"),
    (lambda x: layer(estimator=x), np.array(["score", "x"]), V, r"estimator must be one of .*, got array\("),
    (lambda x: pt.Alignment("semiglobal", free_ends=(x,)), np.array(["query", "x"]), V, r"free_ends must be a tuple of"),
    (lambda x: layer(sampler=x), "qmc", V, r"sampler must be one of 'auto', 'iid', 'antithetic'.*got 'qmc'"),
    (lambda x: layer(sampler=x), None, V, r"sampler must be one of"),
    (lambda x: layer(sampler="antithetic", samples=x), 5, V, r"samples must be even for the antithetic sampler, got 5"),
    (lambda x: layer(sampler="antithetic", noise=x), pt.SumOfGamma(2), V, r"sampler must be 'iid' for SumOfGamma"),
    (lambda x: layer(sampler="antithetic", noise=x), pt.Noise(len), V, r"sampler must be 'iid' for Noise\("),
    (lambda x: layer(baseline=x), "mean", V, r"baseline must be one of 'auto', None, 'loo', 'solution', 'hybrid'"),
    (lambda x: layer(baseline="loo", samples=x), 1, V, r"samples must be at least 2 for baseline 'loo', got 1"),
    (lambda x: layer(baseline="loo", sampler="antithetic", samples=x), 2, V, r"samples must be at least 4 for baseline 'loo'"),
    (lambda x: layer(seed=x), -1, V, r"seed must not be negative, got -1"),
    (lambda x: layer(seed=x), 1.0, T, r"seed must be an int, a SeedSequence, a Generator or None, got float"),
    (lambda x: layer(seed=x), "7", T, r"seed must be an int"),
    (lambda x: layer(seed=x), True, T, r"seed must be an int.*got bool"),
    (lambda x: layer(seed=x), np.random.RandomState(0), T, r"seed must be an int"),
    (lambda x: layer(pt.Argmax(), x), "normal", T, r"positional argument"),
    (lambda x: layer(sigma=x), 1.0, T, r"sigma"),
    # noise objects
    (lambda x: pt.Normal(scale=x), -1.0, V, r"scale must be finite and not negative, got -1.0"),
    (lambda x: pt.Normal(scale=x), [1.0, np.nan], V, r"scale must be finite and not negative, got nan"),
    (lambda x: pt.Gumbel(scale=x), np.inf, V, r"scale must be finite and not negative, got inf"),
    (lambda x: pt.Laplace(scale=x), "wide", T, r"scale must be real, got <U4"),
    (lambda x: pt.Normal(scale=x), 1j, T, r"scale must be real, got complex128"),
    (lambda x: layer(noise=pt.Normal(scale=x))(N), np.ones(3), V, r"scale must broadcast to shape \(4,\), got \(3,\)"),
    (lambda x: layer(noise=pt.Normal(scale=x))(N), np.ones((3, 4)), V, r"scale must broadcast to shape \(4,\), got \(3, 4\)"),
    (pt.StudentT, 0, V, r"df must be positive and finite, got 0"),
    (pt.StudentT, -2.0, V, r"df must be positive and finite"),
    (pt.StudentT, np.nan, V, r"df must be positive and finite, got nan"),
    (pt.StudentT, "3", T, r"df must be a number, got str"),
    (pt.StudentT, 3e38, V, r"df must be at most 1e6 \(beyond, take Normal\), got 3e\+38"),
    (pt.SumOfGamma, 0.0, V, r"k must be positive and finite"),
    (lambda x: pt.SumOfGamma(2.0, x), 0, V, r"iterations must be between 1 and"),
    (lambda x: pt.SumOfGamma(2.0, x), 2.5, T, r"iterations must be an integer, got float"),
    (pt.Multiplicative, pt.StudentT(3), V, r"noise must have a finite E exp\(eps Z\) to be multiplicative"),
    (pt.Multiplicative, "uniform", V, r"noise must be one of"),
    (lambda x: layer(noise=pt.Multiplicative("gumbel"), epsilon=x)(N), 1.0, V, r"epsilon times scale must be below 1"),
    (lambda x: layer(noise=pt.Multiplicative("laplace", scale=x), epsilon=0.5)(N), 3.0, V, r"epsilon times scale must be below 1"),
    (lambda x: layer(noise=pt.Multiplicative(), epsilon=x)(N.astype(np.float32)), 20.0, V, r"epsilon times scale must be at most 8 for Multip.* and float32, got 20.0"),
    (lambda x: layer(noise=pt.Multiplicative(scale=x), epsilon=20.0)(N), 2.0, V, r"epsilon times scale must be at most 25 for Multip.* and float64, got 40.0"),
    (pt.Noise, 3, T, r"sample must be callable, got int"),
    (lambda x: pt.Noise(len, x), 3, T, r"score must be callable or None, got int"),
    # noise without a score, or a mean
    (layer(noise=pt.SumOfGamma(2)).vjp, N, V, r"derivatives need noise with a score, and SumOfGamma\(.* has none: forward only"),
    (lambda t: layer(noise=pt.SumOfGamma(2)).jvp(N, t), N, V, r"derivatives need noise with a score"),
    (layer(noise=pt.SumOfGamma(2)).jacobian, N, V, r"derivatives need noise with a score"),
    (lambda g: estimate(noise=pt.SumOfGamma(2)).vjp(g), N, V, r"derivatives need noise with a score"),
    (lambda g: estimate(noise=pt.SumOfGamma(2)).vjp_epsilon(g), N, V, r"derivatives need noise with a score"),
    (layer(noise=pt.StudentT(1)).value, N, V, r"value needs noise with a mean, and StudentT\(df=1.0\) has none"),
    (lambda x: estimate(theta=x, noise=pt.StudentT(0.5)).value, N, V, r"value needs noise with a mean"),
    (lambda x: loss(noise=x), pt.StudentT(1.0), V, r"value needs noise with a mean"),
    # the user's noise
    (layer(noise=pt.Noise(lambda rng, shape: np.zeros(3))), N, V, r"sample must return shape \(100, 4\), got \(3,\)"),
    (layer(noise=pt.Noise(lambda rng, shape: np.full(shape, np.nan))), N, V, r"sample must return finite numbers, got nan"),
    (layer(noise=pt.Noise(lambda rng, shape: np.zeros(shape) * 1j)), N, T, r"sample must return real numbers"),
    (layer(noise=pt.Noise(lambda rng, shape: None)), N, E, r"sample must return"),
    (layer(noise=pt.Noise(np.random.Generator.normal, lambda z: z[:2])), N, E, r"sample|score|shape|normal"),
    # a call
    (lambda x: layer()(N, epsilon=x), 0.0, V, r"epsilon must be positive and finite, got 0.0"),
    (lambda x: layer()(N, epsilon=x), np.ones(4), V, r"epsilon must broadcast to shape \(3,\), got \(4,\)"),
    (lambda x: layer()(N, epsilon=x), np.ones((3, 1)), V, r"epsilon must broadcast to shape \(3,\), got \(3, 1\)"),
    (lambda x: layer(epsilon=x)(N), np.ones(4), V, r"epsilon must broadcast to shape \(3,\), got \(4,\)"),
    (lambda x: layer()(N[0], epsilon=x), [1.0, 2.0], V, r"epsilon must broadcast to shape \(\), got \(2,\)"),
    (lambda x: layer()(N, epsilon=x), [1.0, 2.0, -1.0], V, r"epsilon must be positive and finite, got -1.0"),
    (lambda x: layer()(N, epsilon=x), np.ma.masked_array([1.0]), T, r"epsilon .*MaskedArray"),
    (lambda x: layer()(N.astype(np.float32), epsilon=x), 1e39, V, r"epsilon must be between 1e-30 and 1e\+30 for float32, got 1e\+39"),
    (lambda x: layer()(N.astype(np.float32), epsilon=x), 1e-60, V, r"epsilon must be between 1e-30 and 1e\+30 for float32, got 1e-60"),
    (lambda x: layer(epsilon=x)(N), 1e307, V, r"epsilon must be between 1e-100 and 1e\+100 for float64, got 1e\+307"),
    (lambda x: layer(epsilon=x)(N), [1.0, 1e-200, 1.0], V, r"epsilon must be between 1e-100 and 1e\+100 for float64, got 1e-200"),
    (lambda x: layer(noise=pt.Normal(scale=x), epsilon=1e60)(N), 1e60, V, r"epsilon times scale must be between .* for float64, got 9.9"),
    (lambda x: layer(noise=pt.Normal(scale=x), epsilon=1e-60)(N), 1e-300, V, r"epsilon times scale must be between .* for float64, got 0.0"),
    (lambda x: layer(noise=pt.Gumbel(scale=x))(N.astype(np.float32)), [1.0, 0.0, 1e38, 1.0], V, r"epsilon times scale must be between 1e-30 and 1e\+30 for float32, got 1e\+38"),
    (lambda x: layer()(N, seed=x), -5, V, r"seed must not be negative, got -5"),
    (lambda x: layer()(N, seed=x), 0.5, T, r"seed must be an int"),
    (lambda x: layer()(N, row_offset=x), -1, V, r"row_offset must be between 0 and"),
    (lambda x: layer()(N, row_offset=x), 1.5, T, r"row_offset must be an integer, got float"),
    (lambda x: layer()(N, row_offset=x), 2**63, V, r"row_offset must be between 0 and"),
    (lambda x: layer()(N, x), 3, T, r"positional argument"),
    (lambda n: layer().sample(N, n), 0, V, r"n must be between 1 and"),
    (lambda n: layer().sample(N, n), 2.0, T, r"n must be an integer, got float"),
    # cotangents, tangents, targets, rows
    (pullback(), np.zeros(4), V, r"g must have shape \(3, 4\), got \(4,\)"),
    (pullback(), np.zeros((4, 3)), V, r"g must have shape \(3, 4\), got \(4, 3\)"),
    (pullback(), with_entry(N, (2, 1), np.nan), V, r"g must be finite, got nan at g\[2, 1\]"),
    (pullback(), with_entry(N, (2, 1), -np.inf), V, r"g must be finite, got -inf at g\[2, 1\]"),
    (pullback(), N + 0j, T, r"g must be real"),
    (pullback(), "g", T, r"g must be real"),
    (pullback(), None, T, r"g must be real"),
    (pullback(), MATRIX, T, r"g must be a plain array, got matrix"),
    (pullback(), np.ma.masked_array(N), T, r"g must be a plain array, got MaskedArray"),
    (pullback(), [[1.0], [1.0, 2.0], []], V, r"g must be an array of numbers"),
    (pullback(theta=N.astype(np.float32)), with_entry(N, (0, 1), 1e300), V, r"g must be finite, got inf at g\[0, 1\]"),
    (pullback(pt.Permutation()), N, V, r"g must have shape \(3, 4, 4\), got \(3, 4\)"),
    (layer().vjp(N)[1], np.zeros(4), V, r"g must have shape \(3, 4\)"),
    (lambda t: layer().jvp(N, t), np.zeros(4), V, r"tangent must have shape \(3, 4\), got \(4,\)"),
    (lambda t: layer(estimator="score").jvp(N, t), N * np.nan, V, r"tangent must be finite, got nan at tangent\[0, 0\]"),
    (lambda t: layer().jvp(N, t), N.astype(object), T, r"tangent must be real"),
    (lambda g: estimate().vjp_stderr(g), np.zeros(3), V, r"g must have shape"),
    (lambda g: estimate().vjp_epsilon(g), np.zeros(3), V, r"g must have shape"),
    (lambda t: estimate().jvp(t), np.zeros(3), V, r"tangent must have shape"),
    (lambda i: estimate().atoms(i), 3, V, r"i must be between 0 and 2, got 3"),
    (lambda i: estimate().atoms(i), -1, V, r"i must be between 0 and 2, got -1"),
    (lambda i: estimate().atoms(i), 0.0, T, r"i must be an integer, got float"),
    (lambda y: loss()(N, y), np.zeros(4), V, r"y must have shape \(3, 4\), got \(4,\)"),
    (lambda y: loss()(N, y), N * np.nan, V, r"y must be finite, got nan at y\[0, 0\]"),
    (lambda y: loss(estimator="score").value_and_grad(N, y), N + 0j, T, r"y must be real"),
    (lambda x: loss()(x, np.eye(3, 4)), with_entry(N, (1, 1), -np.inf), V, r"y\[1\] uses an entry that theta forbids"),
    (lambda x: loss(estimator="score")(x, np.eye(3, 4)), with_entry(N, (1, 1), -np.inf), V, r"y\[1\] uses an entry"),
    (lambda m: loss()(N, np.eye(3, 4), mask=m), np.arange(4) != 2, V, r"y\[2\] uses an entry that theta forbids"),
    (pt.FenchelYoungLoss, pt.Argmax(), T, r"layer must be a Perturbed layer, got Argmax"),
    (lambda r: pt.FenchelYoungLoss(layer(), r), "average", V, r"reduction must be one of 'mean', 'sum', 'none', got 'average'"),
    (lambda r: pt.FenchelYoungLoss(layer(), r), None, V, r"reduction must be one of"),
    (pt.FenchelYoungLoss, layer(pt.Permutation()), V, r"value needs a linear oracle"),
    (pt.FenchelYoungLoss, layer(pt.TopK(2, ordered=True)), V, r"value needs a linear oracle"),
    # settings
    (pt.set_num_threads, 0, V, r"n must be positive, got 0"),
    (pt.set_num_threads, 1.5, T, r"n must be an integer, got float"),
    (pt.set_num_threads, True, T, r"n must be an integer, got bool"),
    (lambda n: pt.threads(n).__enter__(), -1, V, r"n must be positive, got -1"),
    (lambda n: pt.threads(n).__enter__(), "2", T, r"n must be an integer, got str"),
    (pt.set_memory_limit, 0, V, r"n_bytes must be positive, got 0"),
    (pt.set_memory_limit, "1 GB", T, r"n_bytes must be an integer, got str"),
]  # fmt: skip


def frozen(x):
    """What must still be the same after the call."""
    if isinstance(x, np.ndarray):
        return (type(x), x.dtype, x.shape, x.tobytes())
    return repr(x) if not callable(x) else None


def name_of(case):
    call, argument, _, words = case
    return f"{getattr(call, '__name__', call)!s:.30} {type(argument).__name__} {words:.40}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_bad_call(case):
    call, argument, error, words = case
    before = frozen(argument), N.tobytes(), GRID.tobytes()
    settings = pt.get_num_threads(), pt.get_memory_limit()
    with pytest.raises(error, match=words) as caught:
        call(argument)
    if error is not Exception:
        assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert (frozen(argument), N.tobytes(), GRID.tobytes()) == before
    assert (pt.get_num_threads(), pt.get_memory_limit()) == settings


def test_there_are_enough_of_them():
    assert len(CASES) > 180


def test_a_failed_call_does_not_count():
    """A layer with a seed counts its calls; those that were wrong are none."""
    one, other = layer(pt.Ranking(), seed=3), layer(pt.Ranking(), seed=3)
    one(N)
    other(N)
    for call, error in (
        (lambda: one(N, epsilon=-1), ValueError),
        (lambda: one(N + 0j), TypeError),
        (lambda: one(N, masks=1), TypeError),
        (lambda: one(N, row_offset=-1), ValueError),
        (lambda: one.value(N, mask=[1, 1, 1, 1]), TypeError),
    ):
        with pytest.raises(error):
            call()
    np.testing.assert_array_equal(one(N), other(N))


@pytest.mark.parametrize("estimator", ["exact", "score"])
def test_a_call_that_the_core_refuses_does_not_count(estimator):
    """Nor one that fails later, by a tangent or a solution to be learned."""
    one, other = layer(seed=3, estimator=estimator), layer(seed=3, estimator=estimator)
    loss, y = pt.FenchelYoungLoss(one), np.eye(3, 4)
    calls = [
        lambda x=bad, call=call: call(x)
        for bad in (N * np.nan, N + np.inf, np.full((3, 4), -np.inf))
        for call in (one, one.value, one.value_and_grad, one.vjp, one.jacobian, one.estimate)
    ]
    calls += [
        lambda: one(N, mask=np.zeros(4, bool)),
        lambda: one.sample(N * np.nan, 3),
        lambda: one.jvp(N, N[0]),
        lambda: one.jvp(N, N * np.nan),
        lambda: loss(N, N[0]),
        lambda: loss.value_and_grad(N, N * np.nan),
        lambda: loss(with_entry(N, (0, 0), -np.inf), y),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"theta|tangent|y must|y\["):
            call()
        assert one._calls == 0
    np.testing.assert_array_equal(one.sample(N, 5), other.sample(N, 5))


def test_a_call_in_which_fn_raises_does_not_count():
    fails = [True]

    def fn(x):
        if fails[0]:
            raise KeyError
        return np.eye(4)[x.argmax()]

    one, other = layer(pt.Oracle(fn), seed=3), layer(pt.Oracle(fn), seed=3)
    for call in (one, one.vjp, one.value):
        with pytest.raises(KeyError):
            call(N)
    fails[0] = False
    np.testing.assert_array_equal(one(N), other(N))


def test_a_failed_call_leaves_the_count_to_a_later_one():
    """One that was made meanwhile keeps its number, and the next one gets a new one."""
    inner = []

    def fn(x):
        if not inner:
            inner.append(None)
            inner[0] = one.sample(N, 2)
            raise KeyError
        return np.eye(4)[x.argmax()]

    one, other = layer(pt.Oracle(fn), seed=3), layer(seed=3)
    with pytest.raises(KeyError):
        one(N)
    assert one._calls == 2
    other.sample(N, 2)
    np.testing.assert_array_equal(inner[0], other.sample(N, 2))
    np.testing.assert_array_equal(one.sample(N, 2), other.sample(N, 2))


def test_a_layer_works_after_errors():
    fine = layer(pt.TopK(2), samples=20)
    want = fine(N, seed=1)
    for bad in (N + 0j, with_entry(N, (0, 0), np.nan), np.zeros((3, 1))):
        with pytest.raises((TypeError, ValueError)):
            fine(bad, seed=1)
    np.testing.assert_array_equal(fine(N, seed=1), want)


def test_pullback_works_after_errors():
    back = pullback()
    want = back(N)
    for bad in (N + 0j, N[0], N * np.nan):
        with pytest.raises((TypeError, ValueError)):
            back(bad)
    np.testing.assert_array_equal(back(N), want)


def test_many_bad_rows_tell_the_lowest():
    """For any number of threads."""
    theta = np.zeros((64, 50, 10))
    theta[33:, 7, 3] = np.nan
    theta[20, 9:, 4] = np.inf
    theta[21:, 0] = -np.inf
    for threads in (1, 2, 7):
        with pt.threads(threads), pytest.raises(ValueError, match=r"got \+inf at theta\[20, 9, 4\]"):
            pt.Argmax()(theta)
    theta[20] = 0
    for threads in (1, 2, 7):
        with pt.threads(threads), pytest.raises(ValueError, match=r"theta\[21, 0\]: 0 of 10 entries"):
            layer()(theta)


def test_frozen_objects_refuse_attributes():
    for thing in (pt.Argmax(), pt.TopK(2), pt.GridPath(), pt.Normal(), pt.Multiplicative()):
        with pytest.raises(AttributeError):
            thing.scale = 3
    with pytest.raises(ValueError, match="read-only"):
        pt.Normal(scale=[1.0, 2.0]).scale[0] = 5


def test_a_noise_keeps_its_own_copy_of_the_scale():
    scale = np.array([1.0, 2.0])
    noise = pt.Normal(scale=scale)
    scale[0] = 9
    assert noise == pt.Normal(scale=[1.0, 2.0])
    assert pickle.loads(pickle.dumps(noise)) == noise


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", [pt.TopK(2), pt.Assignment(), pt.SpanningForest()])
def test_values_beyond_the_type_name_the_row(solver, dtype):
    """Each entry is finite, their sum is not."""
    theta = np.zeros((2, 3, 3), dtype)
    theta[1] = np.finfo(dtype).max * 0.9
    np.testing.assert_array_equal(solver.value(theta[0]), np.zeros(3 if isinstance(solver, pt.TopK) else ()))
    where = "1, 0" if isinstance(solver, pt.TopK) else "1"
    with pytest.raises(ValueError, match=rf"theta\[{where}\]: the maximum is too large for {np.dtype(dtype)}"):
        solver.value(theta)
