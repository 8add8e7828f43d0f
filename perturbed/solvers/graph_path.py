"""Heaviest path of a graph."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import Real, as_array, as_bool, as_int, as_theta, one_of
from .._run import Problem
from ._base import Solver, decode, first_row, per_row_ints

_DAG, _CYCLIC, _UNDIRECTED = range(3)
_MOST = 2**29  # edges and nodes


@dataclass(frozen=True, eq=False, repr=False)
class GraphPath(Solver):
    """Heaviest path of a graph from a source to a target. Maximises <y, theta> over paths: pass costs negated.

    The item is theta (E,), the score of each edge, and the solution y (E,) has a 1 at each edge of the path; with
    ``weights="node"`` theta (n,) and y (n,) are of nodes, both ends included. Instance arguments: ``mask`` (bool, item
    shape; False closes an edge or node), ``source`` and ``target`` (int, (*batch,) or ()); -inf closes an edge or node
    too.

    Parameters
    ----------
    edges : array_like of int, shape (E, 2)
        Tail and head of each edge, nodes numbered from 0. Parallel edges are allowed.
    source, target : int, optional
        Ends of the path; unless given, each call gives them. Equal ends: no edge, the one node, value 0 of edges.
    directed : bool, default True
        Whether an edge leads from tail to head only.
    weights : {"edge", "node"}, default "edge"
        What theta and y are about.

    Raises
    ------
    TypeError
        Where edges, source or target are not integers.
    ValueError
        Where an edge is a self-loop or has a negative node, theta holds NaN or +inf or does not fit the graph, an end
        is no node, or a row has no path between its ends.

    Notes
    -----
    A directed graph without cycles (the solver finds that out) may have scores of any sign. Otherwise, and for every
    undirected graph, costs -theta are clipped at 0 after noise, in `value` and `objective` too: exact for any costs
    >= 0, as a path could otherwise turn for ever. ``est.clipped`` tells which share of the noisy costs was.

    Ties (of rounded sums): without cycles, walking back from the target, the first edge in the order of `edges` whose
    sum is the largest. With cycles the path with the fewest edges; of those, walking back, the first edge likewise.

    An undirected edge has one score and one draw of noise. O(E) a draw without cycles; O(E log E) with cycles, less
    where the target is near. 16 draws of a row go together in vector lanes; with cycles that pays where noise is less
    than costs, and elsewhere they go one by one. The lists of neighbours are made once a solver. theta, epsilon and
    value share one unit; y has none.

    References
    ----------
    Dijkstra, "A note on two problems in connexion with graphs", Numerische Mathematik 1, 1959.

    Examples
    --------
    >>> import perturbed as pt
    >>> solver = pt.GraphPath([(0, 1), (1, 3), (0, 2), (2, 3)], 0, 3)
    >>> y = solver([-1., -5., -2., -2.])
    >>> y, solver.path(y)
    (array([0., 0., 1., 1.]), array([0, 2, 3]))
    """

    edges: ArrayLike
    source: int | None = None
    target: int | None = None
    _: KW_ONLY
    directed: bool = True
    weights: Literal["edge", "node"] = "edge"

    _core_name: ClassVar[str] = "graph_path"
    _instance: ClassVar[tuple[str, ...]] = ("mask", "source", "target")
    _moves: ClassVar[bool] = True
    _moves_most: ClassVar[int] = 0  # each threshold is another solve: the score is as good in the same time

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", _as_edges(self.edges))
        object.__setattr__(self, "directed", as_bool("directed", self.directed))
        one_of("weights", self.weights, ("edge", "node"))
        most = self._least_nodes - 1 if self.weights == "edge" else _MOST
        for name in ("source", "target"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_int(name, getattr(self, name), 0, most))

    # ---- the graph as lists of neighbours, made once and no part of the value ----

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def _kept(self, name: str, make: Any) -> Any:
        if name not in self.__dict__:
            object.__setattr__(self, name, make())  # two threads at once make the same
        return self.__dict__[name]

    @property
    def _pairs(self) -> NDArray[np.int64]:
        return self.edges  # type: ignore[return-value]

    @property
    def _least_nodes(self) -> int:
        return int(self._kept("_cached_nodes", lambda: int(self._pairs.max()) + 1))

    @property
    def _numbers(self) -> NDArray[np.int64] | None:
        """Each node's number in an order in which all edges go up; None where there is none."""
        result: NDArray[np.int64] | None = self._kept(
            "_cached_numbers", lambda: _numbers(self._pairs, self._least_nodes) if self.directed else None
        )
        return result

    @property
    def _clipped(self) -> bool:  # type: ignore[override]
        return self._numbers is None

    def _graph(self, nodes: int) -> tuple[int, int, NDArray[np.int32]]:
        """Kind, number of arcs and the lists for the core, for so many nodes."""
        result: tuple[int, int, NDArray[np.int32]] = self._kept(f"_cached_graph_{nodes}", lambda: self._make(nodes))
        return result

    def _make(self, nodes: int) -> tuple[int, int, NDArray[np.int32]]:
        tail, head = self._pairs.T
        index = np.arange(len(tail))
        if not self.directed:
            lists = _lists(np.r_[head, tail], np.r_[tail, head], np.r_[index, index], nodes)
            return _UNDIRECTED, 2 * len(tail), np.concatenate(lists)[None]
        if self._numbers is None:
            both = (*_lists(head, tail, index, nodes), *_lists(tail, head, index, nodes))
            return _CYCLIC, len(tail), np.concatenate(both)[None]
        number = self._number(np.arange(nodes))
        names = np.empty(nodes, np.int32)
        names[number] = np.arange(nodes)
        return _DAG, len(tail), np.concatenate((*_lists(number[head], number[tail], index, nodes), names))[None]

    def _number(self, node: NDArray[np.int64]) -> NDArray[np.int64]:
        """The core's numbers of nodes; those without edges come last."""
        numbers = self._numbers
        if numbers is None:
            return node
        return np.where(node < len(numbers), numbers[np.minimum(node, len(numbers) - 1)], node)

    # ---- what a call needs ----

    def _nodes(self, item: tuple[int, ...]) -> int:
        return item[0] if self.weights == "node" else self._least_nodes

    def _ints(self, item: tuple[int, ...]) -> tuple[int, ...]:
        kind, arcs, _ = self._graph(self._nodes(item))
        return (self._nodes(item), arcs, kind, int(self.weights == "node"))

    def _arrays(self, theta: Real, rows: int, instance: dict[str, Any]) -> tuple[NDArray[Any] | None, ...]:
        given = theta.shape[-1]
        if self.weights == "edge" and given != len(self._pairs):
            raise ValueError(f"theta must have one entry for each of {len(self._pairs)} edges, got {given}")
        if given < self._least_nodes and self.weights == "node":
            raise ValueError(f"theta must have an entry for each node, {self._least_nodes} or more, got {given}")
        super()._arrays(theta, rows, instance)
        nodes = self._nodes(theta.shape[-1:])
        ends = [self._end(name, instance.get(name), nodes, theta.shape[:-1]) for name in ("source", "target")]
        return (*ends, self._graph(nodes)[2])

    def _end(self, name: str, given: object, nodes: int, batch: tuple[int, ...]) -> NDArray[np.int64]:
        own = getattr(self, name)
        if given is None and own is None:
            raise ValueError(f"{name} must be given, to the solver or to the call")
        ends = per_row_ints(name, own if given is None else given, batch, ())
        bad = (ends < 0) | (ends >= nodes)
        if bad.any():
            row, called = first_row(bad, batch)
            place = "" if given is None else f" in row {called}"
            raise ValueError(f"{name} must be a node, 0 to {nodes - 1}, got {ends[row]}{place}")
        return np.ascontiguousarray(self._number(ends))

    def _passing(self, theta: ArrayLike, instance: dict[str, Any]) -> Problem:
        if instance:
            return self._problem(theta, instance)
        return self._lay_out(as_theta(theta, self._item_ndim, private=False), instance)  # it is only read

    # ---- decoder ----

    def path(self, y: ArrayLike, *, source: int | None = None) -> Any:
        """Nodes of a path in order.

        Parameters
        ----------
        y : array_like, shape (E,) or (n,), or a batch of them
            Solutions of this solver.
        source : int, optional
            Where the path starts; else the solver's own source if that is an end, else the end that y tells, in an
            undirected graph the lower one.

        Returns
        -------
        ndarray of int, shape (K,), or a list of them
            Both ends included.

        Raises
        ------
        ValueError
            Where y is no path.
        """
        items, alone = decode(y, 1)
        if source is not None:
            source = as_int("source", source, 0, _MOST)
        walk = self._nodes_of_edges if self.weights == "edge" else self._nodes_in_order
        paths = []
        for name, item in items:
            used = np.flatnonzero(item)
            found = walk(used, source) if len(item) == self._entries(len(item)) else None
            if found is None:
                got = f"{len(used)} {self.weights}s of {len(item)}"
                raise ValueError(f"{name} must be one path, got {got} that form none")
            paths.append(np.array(found, dtype=np.int64))
        return paths[0] if alone else paths

    def _entries(self, given: int) -> int:
        return len(self._pairs) if self.weights == "edge" else max(given, self._least_nodes)

    def _starts(self, source: int | None, ends: list[int]) -> list[int]:
        """Where a path may start, of these ends."""
        if source is not None:
            return [source]
        return [self.source] if self.source in ends else sorted(ends)

    def _nodes_of_edges(self, used: NDArray[np.int64], source: int | None) -> list[int] | None:
        if len(used) == 0:
            start = self.source if source is None else source
            same = source is not None or self.source == self.target
            return [start] if start is not None and same else None
        near: dict[int, list[tuple[int, int]]] = {}
        into: set[int] = set()
        for edge, (tail, head) in zip(used.tolist(), self._pairs[used].tolist(), strict=True):
            near.setdefault(tail, []).append((head, edge))
            into.add(head)
            if not self.directed:
                near.setdefault(head, []).append((tail, edge))
        ends = [v for v in near if (v not in into if self.directed else len(near[v]) == 1)]
        for start in self._starts(source, ends):
            order, last = [start], -1
            while len(order) <= len(used):
                step = [(v, edge) for v, edge in near.get(order[-1], ()) if edge != last]
                if len(step) != 1:
                    break
                order.append(step[0][0])
                last = step[0][1]
            if len(order) == len(used) + 1 == len(set(order)) and (not near.get(order[-1]) or not self.directed):
                return order
        return None

    def _nodes_in_order(self, used: NDArray[np.int64], source: int | None) -> list[int] | None:
        inside = np.zeros(int(max(self._least_nodes, used.max(initial=-1) + 1)), bool)
        inside[used] = True
        near: dict[int, set[int]] = {int(v): set() for v in used}
        for tail, head in self._pairs[inside[self._pairs].all(1)].tolist():
            near[tail].add(head)
            if not self.directed:
                near[head].add(tail)
        if self._numbers is not None:  # the one order in which edges go up
            order: list[int] = used[np.argsort(self._number(used), kind="stable")].tolist()
            steps = all(b in near[a] for a, b in pairwise(order))
            return order if order and steps and source in (None, order[0]) else None
        ends = [v for v in near if len(near[v]) <= 1]
        for start in self._starts(source, ends or list(near)):
            order, seen = [start], {start}
            while order[-1] in near and len(step := near[order[-1]] - seen) == 1:  # no shortcuts: one way on
                order += step
                seen |= step
            if len(order) == len(near) and start in near:
                return order
        return None


def _as_edges(edges: ArrayLike) -> NDArray[np.int64]:
    array = as_array("edges", edges)
    if array.dtype.kind not in "iu":
        raise TypeError(f"edges must be integers, got {array.dtype}")
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0:
        raise ValueError(f"edges must have shape (E, 2), E >= 1, got {array.shape}")
    if len(array) > _MOST:
        raise ValueError(f"edges must be at most {_MOST}, got {len(array)}")
    for what, bad in (
        (f"nodes from 0 to {_MOST - 1}", (array < 0) | (array >= _MOST)),
        ("between two nodes, not self-loops", array[:, :1] == array[:, 1:]),
    ):
        if bad.any():
            at = int(np.argmax(bad.any(1)))
            raise ValueError(f"edges must be {what}, got {tuple(array[at].tolist())} at edges[{at}]")
    result = np.array(array, dtype=np.int64, order="C")
    result.flags.writeable = False
    return result


def _lists(node: NDArray[Any], other: NDArray[Any], edge: NDArray[Any], nodes: int) -> tuple[NDArray[np.int32], ...]:
    """For each node where its arcs start, and of all arcs the other node and the edge, in order of edges."""
    order = np.lexsort((edge, node))
    start = np.zeros(nodes + 1, np.int32)
    np.cumsum(np.bincount(node, minlength=nodes), out=start[1:])
    return start, np.stack((other[order], edge[order]), axis=1).astype(np.int32).reshape(-1)


def _numbers(edges: NDArray[np.int64], nodes: int) -> NDArray[np.int64] | None:
    """Numbers under which every edge goes up: nodes that nothing leads to are taken away. None: cycles are left."""
    tail, head = edges.T
    if (tail < head).all():
        return np.arange(nodes)
    start, arcs = _lists(tail, head, np.arange(len(tail)), nodes)
    heads, first = arcs[0::2].tolist(), start.tolist()
    left = np.bincount(head, minlength=nodes)
    order: list[int] = np.flatnonzero(left == 0).tolist()
    count: list[int] = left.tolist()
    for v in order:  # grows
        for u in heads[first[v] : first[v + 1]]:
            count[u] -= 1
            if count[u] == 0:
                order.append(u)
    if len(order) < nodes:
        return None
    result = np.empty(nodes, np.int64)
    result[order] = np.arange(nodes)
    return result
