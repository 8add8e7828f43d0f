"""The main job, from a terminal: learn what tiles cost from shortest paths alone, on real images."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from .demo.maps import Maps, World
    from .demo.training import CostModel, Epoch, Scores

EXTRA = ("matplotlib", "rich", "sklearn", "threadpoolctl")  # what the extra `demo` brings
N_WATCH, N_TEST = 200, 1000
FULL, QUICK = (30, 10000), (8, 1500)  # epochs, training maps


def _at_least(low: int, name: str) -> object:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"{name} must be an integer of at least {low}, got {text}")
        return value

    return parse


def _out(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        return path / "perturbed.png"
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perturbed",
        description="Learn the cost of each digit's tile from shortest paths across maps of 12 x 12 tiles, never from "
        "a cost: a Fenchel-Young loss over perturbed grid paths trains a small network on real 8 x 8 images of "
        "handwritten digits. Tested on maps of images it has not seen; ends with a table and a picture.",
    )
    parser.add_argument("--seed", type=_at_least(0, "seed"), default=0, help="of all (0)")  # type: ignore[arg-type]
    parser.add_argument("--epochs", type=_at_least(1, "epochs"), help=f"passes ({FULL[0]})")  # type: ignore[arg-type]
    parser.add_argument("--train", type=_at_least(1, "train"), help=f"training maps ({FULL[1]})")  # type: ignore[arg-type]
    parser.add_argument("--out", type=_out, default="perturbed.png", help="the picture, or its folder (perturbed.png)")
    parser.add_argument("--quick", action="store_true", help=f"a first look: {QUICK[0]} epochs of {QUICK[1]} maps")
    return parser


def _watch(console: Console, title: str, epochs: int, run: object) -> list[Epoch]:
    """Train with a live bar in a terminal, or a line now and then elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    history: list[Epoch] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("epoch {task.completed:>2.0f}/{task.total:.0f}  {task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=epochs, state="")
        for epoch in run:  # type: ignore[attr-defined]
            history.append(epoch)
            state = f"loss {epoch.loss:6.3f}  optimal {epoch.scores.optimal:5.1%}  cost ratio {epoch.scores.ratio:.4f}"
            progress.update(task, completed=epoch.number, state=state)
            if not console.is_terminal and (epoch.number % 5 == 0 or epoch.number in (1, epochs)):
                console.print(f"{title}: epoch {epoch.number}/{epochs}  {state}")
    return history


def _report(console: Console, rows: list[tuple[str, Scores]]) -> None:
    from rich.table import Table

    table = Table(title=f"{N_TEST} maps of unseen images", title_justify="left")
    table.add_column("model")
    table.add_column("cost ratio", justify="right")
    table.add_column("exactly optimal", justify="right")
    for name, scores in rows:
        table.add_row(name, f"{scores.ratio:.4f}", f"{scores.optimal:.1%}")
    console.print(table)
    paths, costs = rows[0][1], rows[2][1]
    console.print(
        f"learned from paths: cost ratio {paths.ratio:.4f}, {paths.optimal:.1%} optimal; "
        f"regressed on the true costs: {costs.ratio:.4f}, {costs.optimal:.1%}",
        soft_wrap=True,
    )


def _learn(console: Console, world: World, epochs: int, seed: int) -> tuple[CostModel, CostModel, list[Epoch]]:
    from threadpoolctl import threadpool_limits

    from .demo.training import train, untrained

    by_paths, by_costs = untrained(world.train, seed), untrained(world.train, seed)
    with threadpool_limits(1, "blas"):  # small products: a second thread would only wait
        history = _watch(console, "from paths", epochs,
                         train(by_paths, world.train, world.validation, epochs, seed, "paths"))  # fmt: skip
        _watch(console, "from costs", epochs, train(by_costs, world.train, world.validation, epochs, seed, "costs"))
    return by_paths, by_costs, history


def _run(options: argparse.Namespace) -> None:
    from rich.console import Console

    from .demo.maps import make_world
    from .demo.picture import save_picture
    from .demo.training import untrained

    console = Console(highlight=False)
    default = QUICK if options.quick else FULL
    epochs, n_train = options.epochs or default[0], options.train or default[1]
    begin = time.perf_counter()
    world = make_world(options.seed, n_train, N_WATCH, N_TEST)
    console.print(f"{n_train} maps of 12 x 12 tiles with their shortest paths; costs stay hidden")
    model, by_costs, history = _learn(console, world, epochs, options.seed)
    test: Maps = world.test
    rows = [
        ("trained on shortest paths", model.scores(test)),
        ("untrained", untrained(world.train, options.seed).scores(test)),
        ("regressed on true costs", by_costs.scores(test)),
    ]
    _report(console, rows)
    save_picture(options.out, world, model, history, rows[0][1], rows[2][1])
    console.print(f"{time.perf_counter() - begin:.1f} s; the picture:")
    console.print(str(options.out), soft_wrap=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the console script.

    Parameters
    ----------
    arguments : list of str, optional
        Instead of the command line's.

    Returns
    -------
    int
        0; 2 for bad options or a missing package; 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in EXTRA:
            raise
        print(f'perturbed: the demo needs {error.name}: pip install "perturbed[demo]"', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
