"""The table on the terminal, and results.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .runner import DISAGREES


def _time(seconds: float) -> str:
    return (
        f"{seconds * 1e6:.1f} us"
        if seconds < 1e-3
        else f"{seconds * 1e3:.3g} ms"
        if seconds < 1
        else f"{seconds:.2f} s"
    )


def _table(title: str, left: int) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("case", "direction")[:left]:
        table.add_column(name, no_wrap=True)
    return table


def _verdict(met: bool | None) -> str:
    return "" if met is None else "[green]met[/]" if met else "[red]short[/]"


def limit_seconds(case: dict[str, Any], results: dict[str, Any]) -> float | None:
    """Time of the counter generator alone for the noise of a case, each word made once, all threads at work."""
    ns = results["limits"]["counter_ns_per_word"]
    return case["draws"] * ns * 1e-9 if ns is not None and case["draws"] else None


def _target(row: dict[str, Any]) -> str:
    return f"{_verdict(row.get('met'))} >= {row['target']:.3g}x" if row["target"] else ""


def case_table(results: dict[str, Any]) -> Table:
    threads = results["machine"]["threads"]
    table = _table("least times, and ratios to the fastest peer of the same run", 2)
    for name in ("perturbed", "fastest peer", "ratio", "target", "core ns a draw", "of limit"):
        table.add_column(name, justify="right", no_wrap=name != "core ns a draw")
    for case in results["cases"]:
        for i, row in enumerate(case["rows"]):
            limit = limit_seconds(case, results)
            table.add_row(
                case["title"] if i == 0 else "",
                row["direction"],
                _time(row["seconds"]),
                f"{row['peer']} {_time(row['peer_seconds'])}" if row["peer"] else "none",
                f"{row['ratio']:.1f}x" if row["peer"] else "",
                _target(row),
                f"{row['seconds'] * threads / case['draws'] * 1e9:.2f}" if case["draws"] else "",
                "" if limit is None else f"{100 * limit / row['seconds']:.0f} %",
            )
    return table


def peer_table(results: dict[str, Any]) -> Table:
    """Ratio to every peer, not only the best."""
    table = _table("ratio to each peer", 2)
    names: list[str] = []
    for case in results["cases"]:
        for times in case["times"].values():
            names += [name for name in times if name not in names and name != "perturbed"]
    for name in names:
        table.add_column(name, justify="right")
    for case in results["cases"]:
        for direction, times in case["times"].items():
            ratios = [f"{times[name] / times['perturbed']:.1f}" if name in times else "" for name in names]
            table.add_row(case["title"], direction, *ratios)
    return table


def thread_table(results: dict[str, Any]) -> Table:
    threads = str(results["machine"]["threads"])
    table = _table(f"one thread against {threads}, cases over 10 ms", 1)
    for name in ("1 thread", f"{threads} threads", "ratio", "target"):
        table.add_column(name, justify="right")
    for case in results["cases"]:
        t = case["threads"]
        if t:
            verdict = f"{_verdict(t['ratio'] >= 1.8)} >= 1.8x" if threads == "2" else ""
            table.add_row(case["title"], _time(t["1"]), _time(t[threads]), f"{t['ratio']:.2f}x", verdict)
    return table


def small_table(results: dict[str, Any]) -> Table:
    table = _table("fixed costs", 1)
    for name in ("value", "target"):
        table.add_column(name, justify="right")
    for row in results["small"]:
        target = "" if row["below"] is None else f"{_verdict(row['met'])} < {row['below']} {row['unit']}"
        table.add_row(row["name"], f"{row['value']:.3g} {row['unit']}", target)
    return table


def notes(results: dict[str, Any]) -> list[str]:
    machine, limits = results["machine"], results["limits"]
    threads, ns, rate = machine["threads"], limits["counter_ns_per_word"], limits["copy_bytes_per_second"]
    lines = ["No compiler or no csrc/ here: the counter generator was not measured."]
    if ns is not None:
        lines = ["The limit is the counter generator alone, a word for each draw of one coordinate, made once: "]
        lines[0] += f"{1 / ns:.2f} words a ns on {threads} threads, {ns * threads:.2f} ns of a core each."
    lines.append(f"A copy moves {rate / 1e9:.1f} GB/s: noise stored and read once costs {8e9 / rate:.2f} ns a draw.")
    for case in results["cases"]:
        lines += [f"{case['title']}: {name} left out: {why}" for name, why in case["missing"].items()]
        for name, off in case["agreement"].items():
            if not off < DISAGREES:
                lines.append(f"{case['title']}: y of {name} differs from ours, {off:.1f} times what noise explains")
    if machine["load"] > 1 and results["clock"] == "wall":
        lines.append(f"The machine was not idle (load {machine['load']:.1f} at the start): do not quote these figures.")
    if machine["perturbed"].get("isa") != "avx512":
        lines.append("Without AVX-512 the targets are two thirds of those of the table.")
    return lines


def show(results: dict[str, Any], console: Console) -> None:
    machine = results["machine"]
    isa = machine["perturbed"].get("isa")
    console.print(f"{machine['processor']}, {machine['threads']} threads, {isa}, {machine['date']}", highlight=False)
    console.print(f"float32, estimator='score' (exact cases: 'exact'), iid, {results['clock']} time", highlight=False)
    if results["cases"]:
        console.print(case_table(results))
        if any(len(times) > 1 for case in results["cases"] for times in case["times"].values()):
            console.print(peer_table(results))
        if any(case["threads"] for case in results["cases"]):
            console.print(thread_table(results))
    if results["small"]:
        console.print(small_table(results))
    for line in notes(results):
        console.print(line, markup=False, highlight=False)


def write(results: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    return path
