"""The main job: its model, its maps, its command line."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perturbed import __main__ as command
from perturbed.demo.maps import make_world
from perturbed.demo.model import Adam, forward, initial_weights
from perturbed.demo.training import cost_loss, moved, path_loss, train, untrained


@pytest.fixture(scope="module")
def world():
    return make_world(seed=5, n_train=300, n_validation=20, n_test=50)


def test_pullback_of_the_network():
    rng = np.random.default_rng(0)
    weights = initial_weights(rng, (5, 4, 3, 1), dtype=np.float64)
    images, g = rng.standard_normal((7, 5)), rng.standard_normal(7)
    costs, pullback = forward(weights, images)
    assert (costs > 0).all()
    for weight, gradient in zip(weights, pullback(g), strict=True):
        assert gradient.shape == weight.shape
        for index in np.ndindex(weight.shape):
            kept, step = weight[index], 1e-6
            weight[index] = kept + step
            above = forward(weights, images)[0] @ g
            weight[index] = kept - step
            below = forward(weights, images)[0] @ g
            weight[index] = kept
            assert gradient[index] == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-8)


def test_adam_finds_a_minimum():
    adam = Adam([np.array([3.0, -2.0])], memory=0.9)
    for _ in range(400):
        adam.step([2 * (adam.weights[0] - [1.0, 1.0])], 0.05)
    np.testing.assert_allclose(adam.average[0], [1.0, 1.0], atol=1e-2)


def test_no_image_lies_on_maps_of_two_kinds(world):
    images = [{image.tobytes() for image in maps.images} for maps in (world.train, world.validation, world.test)]
    assert not images[0] & images[1]
    assert not images[0] & images[2]
    assert not images[1] & images[2]


def test_maps_show_what_they_cost(world):
    maps = world.test
    assert sorted(world.digit_costs.tolist()) == pytest.approx(np.linspace(0.8, 9.2, 10).tolist())
    assert maps.tiles.shape == maps.costs.shape == maps.paths.shape == (50, 12, 12)
    assert set(np.unique(maps.costs)) <= set(world.digit_costs)
    picture = maps.pixels(3)
    assert picture.shape == (96, 96)
    np.testing.assert_array_equal(picture[8:16, 24:32].ravel(), maps.images[maps.tiles[3, 1, 3]])


def test_gradient_of_the_path_loss(world):
    """With the noise fixed the loss is convex in the costs: its slope lies between two chords, here 4 % apart."""
    maps, batch = world.train, np.arange(200)
    costs = np.random.default_rng(1).uniform(2, 8, len(maps.images)).astype(np.float32)
    costs += 5 - costs.mean()  # where the anchor pulls nowhere
    loss, gradient = path_loss(maps, 0)(costs, batch)
    direction = gradient - gradient.mean()
    direction /= np.linalg.norm(direction)
    slope, step = float(gradient @ direction), np.float32(0.05)
    up = (path_loss(maps, 0)(costs + step * direction, batch)[0] - loss) / step
    down = (loss - path_loss(maps, 0)(costs - step * direction, batch)[0]) / step
    rounding = 1e-6 * loss / step
    assert down - rounding <= slope <= up + rounding
    assert up - down < 0.04 * slope


def test_gradient_of_the_cost_loss(world):
    maps, batch = world.train, np.arange(50)
    costs = np.random.default_rng(1).uniform(2, 8, len(maps.images)).astype(np.float32)
    loss, gradient = cost_loss(maps)(costs, batch)
    tiles = maps.tiles[batch]
    assert loss == pytest.approx(((costs[tiles] - maps.costs[batch]) ** 2).mean(), rel=1e-5)
    expected = np.zeros(len(costs))
    np.add.at(expected, tiles, 2 * (costs[tiles] - maps.costs[batch]) / tiles.size)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_images_are_moved_by_less_than_a_pixel(world):
    image = np.zeros((4000, 64), np.float32)
    image[:, 27] = 1  # row 3, column 3
    result = moved(image, np.random.default_rng(0)).mean(0).reshape(8, 8)
    assert result[2:5, 2:5].sum() == pytest.approx(1, abs=5 * 0.15 * 3 / np.sqrt(4000))
    assert abs(result[0]).max() < 5 * 0.15 / np.sqrt(4000)


@pytest.mark.parametrize("learn_from", ["paths", "costs"])
def test_learning_beats_not_learning(world, learn_from):
    model, start = untrained(world.train, 0), untrained(world.train, 0)
    history = list(train(model, world.train, world.validation, 6, 0, learn_from))
    assert [e.number for e in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1].loss < history[0].loss
    before, after = start.scores(world.test), model.scores(world.test)
    assert after.ratio - 1 < 0.5 * (before.ratio - 1)
    again = untrained(world.train, 0)
    assert list(train(again, world.train, world.validation, 6, 0, learn_from)) == history  # same seed, same figures


def test_command_line(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "perturbed",
            "--quick",
            "--train",
            "200",
            "--epochs",
            "2",
            "--seed",
            "3",
            "--out",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert re.search(
        r"learned from paths: cost ratio 1\.\d{4}, [\d.]+% optimal; regressed on the true costs", done.stdout
    )
    assert "untrained" in done.stdout
    assert done.stdout.rstrip().endswith(str(tmp_path / "perturbed.png"))
    assert (tmp_path / "perturbed.png").read_bytes().startswith(b"\x89PNG")
    assert [f.name for f in tmp_path.iterdir()] == ["perturbed.png"]


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in ("--seed", "--epochs", "--train", "--out", "--quick"):
        assert option in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs", "0"], "--epochs: epochs must be an integer of at least 1, got 0"),
        (["--train", "x"], "--train: train must be an integer of at least 1, got x"),
        (["--seed", "-1"], "--seed: seed must be an integer of at least 0, got -1"),
        (["--out", "no/such/folder/x.png"], "--out: there is no folder"),
        (["--slow"], "--slow"),
    ],
)
def test_bad_options(capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_missing_package_and_interrupt(capsys, monkeypatch):
    def missing(options):
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    monkeypatch.setattr(command, "_run", missing)
    assert command.main([]) == 2
    assert 'needs sklearn: pip install "perturbed[demo]"' in capsys.readouterr().err

    def broken(options):
        raise ModuleNotFoundError("No module named 'perturbed.demo.map'", name="perturbed.demo.map")

    monkeypatch.setattr(command, "_run", broken)
    with pytest.raises(ModuleNotFoundError, match=r"perturbed\.demo\.map"):
        command.main([])

    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_run", interrupted)
    assert command.main([]) == 130


def test_out_may_be_a_folder(tmp_path):
    assert command._out(str(tmp_path)) == tmp_path / "perturbed.png"
    assert command._out(str(tmp_path / "x.png")) == Path(tmp_path / "x.png")
