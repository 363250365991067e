"""The house style: names at line ends that never overlap, and equal figures in equal files."""

from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.optimize import minimize

from eval.style import CURVES, LOOKS, PAPER, SECOND, End, house_style, label_ends, look_of, save_figure, spread


@pytest.mark.parametrize("seed", range(5))
def test_spread_is_the_nearest_that_keeps_order_and_gap(seed):
    wanted = np.random.default_rng(seed).uniform(0, 0.5, 6)
    order = np.argsort(wanted)
    apart = [{"type": "ineq", "fun": lambda x, a=a, b=b: x[b] - x[a] - 0.1} for a, b in pairwise(order)]
    oracle = minimize(lambda x: ((x - wanted) ** 2).sum(), wanted, constraints=apart, method="SLSQP").x
    np.testing.assert_allclose(spread(wanted, 0.1), oracle, atol=1e-4)


def test_what_is_apart_stays_and_nothing_is_nothing():
    assert spread([0.9, 0.1, 0.5], 0.1) == pytest.approx([0.9, 0.1, 0.5])
    assert spread([], 0.1) == []


def test_labels_of_lines_that_end_together_do_not_overlap():
    with house_style():
        figure = Figure(figsize=(5, 3.3), layout="constrained")
        axes = figure.subplots()
        axes.set_ylim(0, 1)
        label_ends(
            axes, [End(1, y, text, look_of(text)) for y, text in ((0.5, "dvae"), (0.5, "real"), (0.51, "theirs"))]
        )
        figure.draw_without_rendering()
        # An annotation's own extent has its leader in it.
        boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 for below, above in pairwise(boxes))
    assert axes.get_window_extent().x1 < boxes[0].x0 < boxes[0].x1 <= figure.bbox.x1


def test_no_leader_runs_through_a_name():
    ends = [End(1, 0.5, "a rather long name", look_of(text)) for text in ("dvae", "real", "theirs", "dalle1", "dvae")]
    with house_style():
        figure = Figure(figsize=(5, 3.3), layout="constrained")
        axes = figure.subplots()
        axes.set_ylim(0, 1)
        label_ends(axes, ends)
        figure.draw_without_rendering()
        names = [Text.get_window_extent(text) for text in axes.texts]
        leaders = [text.arrow_patch.get_transform().transform_path(text.arrow_patch.get_path()) for text in axes.texts]
    ways = np.concatenate([path.interpolated(100).vertices for path in leaders])
    inside = [(ways > name.min).all(axis=1) & (ways < name.max).all(axis=1) for name in names]
    assert not np.any(inside)


def contrast(colour: str) -> float:
    """WCAG's contrast ratio against paper."""
    light = []
    for shown in (colour, PAPER):
        parts = np.array([int(shown[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        light.append(float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(light) / min(light)


@pytest.mark.parametrize("ink", [*(look.ink for look in (*LOOKS.values(), SECOND)), *(ink for _, ink in CURVES)])
def test_words_can_be_read_on_paper(ink):
    assert contrast(ink) >= 4.5


def test_equal_figures_are_equal_files_without_dates(tmp_path):
    for name in ("a", "b"):
        with house_style():
            figure = Figure()
            figure.subplots().plot([0, 1], clip_on=True)
            save_figure(figure, tmp_path / f"{name}.png")
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    svg = (tmp_path / "a.svg").read_text()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert not any(word in svg for word in ("dc:date", "dc:creator", "Matplotlib v"))
