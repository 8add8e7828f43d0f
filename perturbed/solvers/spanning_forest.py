"""The heaviest forest of k trees, and the clusters that its trees are."""

from __future__ import annotations

from copy import copy
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import as_array, as_int, as_mask, as_theta, broadcast, one_of, place
from .._pairs import Pairs, pack_same, pack_symmetric
from .._run import PLAIN, Draw, Problem
from ._base import Solver, check_trailing, decode, first_row, per_row_ints


@dataclass(frozen=True, eq=False, repr=False)
class SpanningForest(Solver):
    """Heaviest forest with exactly k trees. Maximises the sum of its edges' weights: pass distances negated.

    The item is a symmetric matrix theta (n, n) of similarities between n points (its diagonal is ignored) or, with
    `edges`, one weight for each edge, theta (E,). A forest of k trees has n - k edges; ``k=1`` is the maximum
    spanning tree. The solution y marks the edges of the forest, as a symmetric 0/1 matrix with a zero diagonal, or
    (E,); or, with ``output="clusters"``, the pairs of points that share a tree, (n, n) with diagonal 1: single-linkage
    clusters. -inf forbids an edge. Instance arguments: ``mask`` (bool, item shape, symmetric), ``k`` (the number of
    trees of each row, (*batch,)), ``constraints`` (int8, (n, n) or (*batch, n, n), symmetric: 1 for points that must
    share a tree, -1 for points that must not, 0 for others; `constraints_from_labels` makes them of known labels).

    Parameters
    ----------
    k : int, default 1
        Trees of the forest, 1..n.
    edges : array_like of int, shape (E, 2), optional
        Ends of the edges of a graph of the points 0..n-1, n - 1 the largest of them; parallel edges are allowed.
        Without it the graph is complete.
    output : {"forest", "clusters"}, default "forest"
        What a solution says: which edges are taken, or which points are connected.

    Raises
    ------
    ValueError
        Where theta holds NaN or +inf or is not symmetric, k is not in 1..n, the edges that are allowed leave more than
        k parts unconnected, or an edge is a loop; where constraints contradict each other, leave fewer than k trees or
        need more, or no forest is found that meets them.

    Notes
    -----
    Ties: edges are ordered by weight, the heaviest first, and of equal weight by index, the lowest first (pairs i < j
    of a matrix row by row, edges as they are given); the forest is the first n - k edges that Kruskal's algorithm takes
    in this order.

    Noise is one draw for each undirected edge, and the objective counts each edge once: <y, theta> / 2 in terms of the
    matrix. ``|theta - theta^T|`` up to 1e-5 (float64: 1e-12) of the largest entry is rounding and is averaged away.
    Gradients are those of the full matrix: an edge's derivative is shared half and half by its two entries, a cotangent
    g enters as g_ij + g_ji, and ``value_and_grad`` and the losses give y_eps / 2 and (y_eps - y) / 2. A noise's `scale`
    is symmetric, too; your own noise is asked for (M, n (n - 1) / 2), one draw for each pair.

    Clusters are no linear function of theta: their y has derivatives by the score estimator, while `value`,
    `objective`, ``value_and_grad`` and the losses are those of the forest.

    Constraints: points joined by must-links are one unit. Up to 10 units (and n 2^units <= 16384) the forest is the
    best one. Beyond that a search starts from Stewart et al.'s greedy forest, gives each cluster its own best tree, and
    exchanges points, subtrees and edges as long as that helps: never below the greedy, the best one not guaranteed
    (docs: "Clusters"). It is exact, too, where no must-links are given and all cannot-linked points exclude each other.
    Labels with c classes and u unknown points can be met exactly for c <= k <= c + u; for other constraints that is as
    hard as colouring a graph: "no forest found" does not mean that there is none. Ties: always the same forest, by no
    simple rule.

    O(n^2) a draw of a complete graph (Prim's algorithm, a vector of points at a time), O(E log E) of an edge list
    (Kruskal's); constraints: O(n^2 log n) and O(n^2) an exchange. theta, epsilon and value share one unit; y has none.

    References
    ----------
    Stewart, Bach, Llinares-Lopez & Berthet, "Differentiable clustering with perturbed spanning forests", NeurIPS 2023;
    Kruskal 1956; Prim 1957.

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> x = np.array([0., .1, .2, 5., 5.3])
    >>> theta = -abs(x[:, None] - x)
    >>> pt.SpanningForest(2)(theta)
    array([[0., 1., 0., 0., 0.],
           [1., 0., 1., 0., 0.],
           [0., 1., 0., 0., 0.],
           [0., 0., 0., 0., 1.],
           [0., 0., 0., 1., 0.]])
    >>> clusters = pt.SpanningForest(2, output="clusters")
    >>> clusters.labels(clusters(theta)).tolist()
    [0, 0, 0, 1, 1]
    """

    k: int = 1
    edges: ArrayLike | None = None
    _: KW_ONLY
    output: Literal["forest", "clusters"] = "forest"

    _core_name: ClassVar[str] = "spanning_forest"
    _instance: ClassVar[tuple[str, ...]] = ("mask", "k", "constraints")

    def __post_init__(self) -> None:
        one_of("output", self.output, ("forest", "clusters"))
        if self.edges is None:
            most = 2**15
        else:
            edges = _as_edges(self.edges)
            object.__setattr__(self, "edges", edges)
            most = int(edges.max()) + 1
        object.__setattr__(self, "k", as_int("k", self.k, 1, most))

    @property
    def _item_ndim(self) -> int:  # type: ignore[override]
        return 2 if self.edges is None else 1

    @property
    def _moves(self) -> bool:  # type: ignore[override]
        return self.output == "forest"

    def _no_moves(self, instance: dict[str, Any]) -> str | None:
        return None if instance.get("constraints") is None else "constrained forests"

    def _of_value(self) -> Solver:
        if self.output == "forest":
            return self
        forest = copy(self)
        object.__setattr__(forest, "output", "forest")
        return forest

    def _points(self, item: tuple[int, ...]) -> int:
        if self.edges is None:
            return item[0]
        return int(np.max(self.edges)) + 1

    def _problem(self, theta: ArrayLike, instance: dict[str, Any], draw: Draw = PLAIN) -> Problem:
        if instance:
            self._check_instance(instance)
        dense, clusters = self.edges is None, self.output == "clusters"
        array = as_theta(theta, 2 if dense else 1)
        split = array.ndim - (2 if dense else 1)
        batch, item = array.shape[:split], array.shape[split:]
        self._check_item("theta", item)
        n = self._points(item)
        if dense:
            array = np.ascontiguousarray(pack_symmetric("theta", array, -np.inf))
        if instance.get("mask") is not None:
            mask = as_mask(instance["mask"], batch + item)
            array[~(pack_same("mask", mask, True) if dense else mask)] = -np.inf
        arrays = (
            None if dense else np.asarray(self.edges)[None],
            self._trees(instance.get("k"), batch, n),
            _as_constraints(instance.get("constraints"), batch, n),
        )
        layout = Pairs(n, dense, dense or clusters, 1.0 if clusters else 0.0) if dense or clusters else None
        # k by row takes the place of the solver's own, which a small item may not reach
        ints = (n, self.k if arrays[1] is None else 1, int(clusters), 0 if dense else array.shape[-1])
        solution = (n, n) if layout else item
        return Problem(self._core_name, ints, arrays, array, batch, item, solution, None, layout)

    def _check_item(self, name: str, item: tuple[int, ...]) -> None:
        if self.edges is None and item[0] != item[1]:
            raise ValueError(f"{name} must have items of shape (n, n), got {item}")
        if self.edges is not None and item != (len(np.asarray(self.edges)),):
            raise ValueError(f"{name} must have one entry for each of {len(np.asarray(self.edges))} edges, got {item}")

    def _trees(self, k: object, batch: tuple[int, ...], n: int) -> NDArray[np.int64] | None:
        """The number of trees of each row, or None where all have the solver's."""
        if k is None:
            if self.k > n:
                raise ValueError(f"k must be between 1 and {n} (the number of points), got {self.k}")
            return None
        trees = per_row_ints("k", k, batch, ())
        bad = (trees < 1) | (trees > n)
        if bad.any():
            row, name = first_row(bad, batch)
            raise ValueError(f"k must be between 1 and {n} (the number of points), got {trees[row]} in row {name}")
        return trees

    def labels(self, y: ArrayLike) -> Any:
        """Cluster of each point.

        Parameters
        ----------
        y : array_like, shape (n, n) or (E,), or (*batch, ...) of them
            Solutions of this solver, of either output.

        Returns
        -------
        ndarray of int, shape (n,), or a list of them
            0, 1, 2, ... in the order of each cluster's first point.

        Raises
        ------
        ValueError
            Where y is no forest, or says which points are connected and contradicts itself.
        """
        matrix = self.edges is None or self.output == "clusters"
        items, alone = decode(y, 2 if matrix else 1)
        found = [self._one(name, item) for name, item in items]
        return found[0] if alone else found

    def _one(self, name: str, y: NDArray[Any]) -> NDArray[np.int64]:
        clusters = self.output == "clusters"
        if clusters or self.edges is None:
            n = len(y) if self.edges is None else self._points(y.shape)
            if y.shape != (n, n):
                wanted = "(n, n)" if self.edges is None else (n, n)
                raise ValueError(f"{name} must have items of shape {wanted}, got {y.shape}")
            ends = np.argwhere(np.triu(y, 1))
        else:
            self._check_item(name, y.shape)
            n, ends = self._points(y.shape), np.asarray(self.edges)[y != 0]
        first = _first_points(n, ends)
        if clusters:
            if not np.array_equal(first[:, None] == first, y):
                words = "must say of each pair of points whether they share a tree, and contradicts itself"
                raise ValueError(f"{name} {words}")
        elif self.edges is None and not np.array_equal(y, y.T):
            raise ValueError(f"{name} must be symmetric, to say which edges a forest has")
        elif len(ends) != n - len(np.unique(first)):
            raise ValueError(f"{name} must be a forest, got {len(ends)} edges with a cycle")
        return np.unique(first, return_inverse=True)[1].reshape(-1).astype(np.int64, copy=False)


def constraints_from_labels(labels: ArrayLike) -> NDArray[np.int8]:
    """Constraints that known labels mean: equal ones share a cluster, different ones do not.

    Parameters
    ----------
    labels : array_like of int, shape (*batch, n)
        Label of each point; -1 where it is unknown.

    Returns
    -------
    ndarray of int8, shape (*batch, n, n)
        1 must-link, -1 cannot-link, 0 free; the diagonal is 0.

    Raises
    ------
    ValueError, TypeError
        Where labels are below -1, or no integers.

    Notes
    -----
    With c different labels and u unknown points they can be met exactly for k in c..c + u.

    References
    ----------
    Stewart et al., "Differentiable clustering with perturbed spanning forests", NeurIPS 2023, section 3.

    Examples
    --------
    >>> import perturbed as pt
    >>> pt.constraints_from_labels([0, -1, 1, 0])
    array([[ 0,  0, -1,  1],
           [ 0,  0,  0,  0],
           [-1,  0,  0, -1],
           [ 1,  0, -1,  0]], dtype=int8)
    """
    array = as_array("labels", labels)
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {array.dtype}")
    if array.ndim < 1:
        raise ValueError("labels must have at least 1 dimension, got 0")
    if (array < -1).any():
        where = tuple(np.argwhere(array < -1)[0])
        raise ValueError(f"labels must be -1 (unknown) or not negative, got {array[where]} at {place('labels', where)}")
    rows, columns = array[..., :, None], array[..., None, :]
    known = (rows != -1) & (columns != -1)
    result: NDArray[np.int8] = np.where(known, np.where(rows == columns, np.int8(1), np.int8(-1)), np.int8(0))
    points = np.arange(array.shape[-1])
    result[..., points, points] = 0
    return result


def _as_constraints(constraints: object, batch: tuple[int, ...], n: int) -> NDArray[np.int8] | None:
    """int8 (rows or 1, n, n), symmetric."""
    if constraints is None:
        return None
    array = as_array("constraints", constraints)
    if array.dtype.kind not in "iu":
        raise TypeError(f"constraints must be integers, got {array.dtype}")
    check_trailing("constraints", array, batch, (n, n))
    if array.ndim != 2:
        array = broadcast("constraints", array, (*batch, n, n))
    if ((array < -1) | (array > 1)).any():
        bad = array[(array < -1) | (array > 1)].flat[0]
        raise ValueError(f"constraints must be 1 (must-link), -1 (cannot-link) or 0, got {bad}")
    result = np.array(array, dtype=np.int8, order="C")
    pack_same("constraints", result)
    return result.reshape(-1, n, n)


def _first_points(n: int, ends: NDArray[Any]) -> NDArray[np.int64]:
    """The first point of each point's tree."""
    first = list(range(n))

    def root(v: int) -> int:
        while first[v] != v:
            first[v] = first[first[v]]
            v = first[v]
        return v

    for i, j in ends.tolist():
        a, b = root(i), root(j)
        first[max(a, b)] = min(a, b)
    return np.array([root(v) for v in range(n)], dtype=np.int64)


def _as_edges(edges: object) -> NDArray[np.int64]:
    array = as_array("edges", edges)
    if array.dtype.kind not in "iu":
        raise TypeError(f"edges must be integers, got {array.dtype}")
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0:
        raise ValueError(f"edges must have shape (E, 2), E >= 1, got {array.shape}")
    if array.min() < 0 or array.max() >= 2**31 - 1:
        bad = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"edges must be points from 0 to {2**31 - 2}, got {bad}")
    loops = array[:, 0] == array[:, 1]
    if loops.any():
        e = int(np.argmax(loops))
        raise ValueError(f"edges must join two points, got {tuple(array[e].tolist())} at edges[{e}]")
    result = np.array(array, dtype=np.int64, order="C")
    result.flags.writeable = False
    return result
