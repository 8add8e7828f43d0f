"""Command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from . import machine

FULL, QUICK = 450.0, 45.0  # seconds for all cases together; a case in progress is finished


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="perturbed and its peers side by side")
    parser.add_argument("--quick", action="store_true", help="under a minute: last direction only, few repeats")
    parser.add_argument("--case", action="append", metavar="NAME", help="only cases whose name has this in it")
    parser.add_argument("--list", action="store_true", help="names of the cases")
    parser.add_argument("--accuracy", action="store_true", help="error of the estimators instead of times")
    parser.add_argument(
        "--part", choices=["all", "estimators", "time", "samplers"], default="all", help="what of --accuracy"
    )
    parser.add_argument("--no-peers", action="store_true", help="time perturbed alone")
    parser.add_argument("--threads", type=int, default=min(2, machine.usable_cores()), metavar="N")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a busy machine, with --threads 1"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", metavar="DIR")
    chosen = parser.parse_args(arguments)
    if not 1 <= chosen.threads <= machine.usable_cores():
        parser.error(f"--threads must be between 1 and the {machine.usable_cores()} usable cores")
    if chosen.clock == "cpu" and chosen.threads != 1:
        parser.error("--clock cpu adds the time of all threads up: give --threads 1")
    return chosen


def run_all(chosen: argparse.Namespace, cases: list[Any], console: Any) -> dict[str, Any]:
    import perturbed as pt

    from . import limits, small, timing
    from .runner import Plan, run_case

    pt.set_num_threads(chosen.threads)
    timing.use_clock(chosen.clock)
    isa = pt.get_config()["isa"]
    whole = Plan(
        seconds=1.0 if chosen.quick else 10.0,
        rounds=2 if chosen.quick else 40,
        quick=chosen.quick,
        peers=not chosen.no_peers,
        threads=chosen.threads,
        target_scale=1.0 if isa == "avx512" else 2 / 3,
    )
    results: dict[str, Any] = {"machine": machine.describe(chosen.threads), "clock": chosen.clock, "cases": []}
    end = perf_counter() + (QUICK if chosen.quick else FULL)
    with console.status("limits of the machine") as status:
        results["limits"] = limits.measure(isa, chosen.threads, chosen.quick)
        for i, case in enumerate(cases):
            share = max(0.0, end - perf_counter()) / (len(cases) - i)
            plan = replace(whole, seconds=min(whole.seconds, share / 6))
            results["cases"].append(run_case(case, plan, perf_counter() + share / 2, status.update))
        status.update("fixed costs")
        results["small"] = [] if chosen.case else small.measure(chosen.quick)
    return results


def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    machine.limit_threads(chosen.threads)
    from rich.console import Console

    from . import report
    from .cases import all_cases

    console = Console(width=None if sys.stdout.isatty() else 120)
    if chosen.accuracy:
        import perturbed as pt

        from . import accuracy, timing

        seeds, draws = (200, 20_000) if chosen.quick else (1500, 1_000_000)
        pt.set_num_threads(chosen.threads)
        timing.use_clock(chosen.clock)
        parts = [name for name in accuracy.PARTS if chosen.part in ("all", name)]
        accuracy.run(seeds, draws, chosen.case or [], parts, chosen.out, console)
        return 0
    cases = all_cases(chosen.threads)
    if chosen.list:
        console.print("\n".join(case.name for case in cases), highlight=False)
        return 0
    wanted = [case for case in cases if not chosen.case or any(part in case.name for part in chosen.case)]
    if not wanted:
        console.print(f"no case has any of {chosen.case} in its name; there are: {', '.join(c.name for c in cases)}")
        return 2
    start = perf_counter()
    results = run_all(chosen, wanted, console)
    results["seconds"] = perf_counter() - start
    report.show(results, console)
    paths = [report.write(results, chosen.out)]
    try:
        from . import plot

        paths += [path for path in [plot.draw(results, chosen.out)] if path]
    except ImportError as error:
        console.print(f"no picture: {error}")
    console.print(f"{results['seconds']:.0f} s; written: {', '.join(map(str, paths))}", soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
