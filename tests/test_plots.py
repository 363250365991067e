"""The figures show what the tables hold, and equal tables give equal files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eval import plots

FID, IS = "fid.imagenet-lite@1", "is.imagenet-lite@1"
DOUBLINGS = (1, 2, 4, 8, 16, 32)
RADII = (0, 1, 2, 4, 8)


def metrics_table() -> pd.DataFrame:
    """A metrics table by the contract, with the shapes of curves one hopes for."""
    rows = []
    for suite, n, ease in (("val", 256, 1.0), ("zeroshot", 128, 0.4)):
        for system in ("dalle1", "shuffled", "real", "dvae", "dvae_start"):
            numbers = DOUBLINGS if system in ("dalle1", "shuffled") else (1,)
            for most in numbers:
                gain = np.log2(most) / 5
                fid = {"real": 12, "dvae": 45, "dvae_start": 80}.get(system, 120 - 35 * gain * ease)
                score = {"real": 6.5, "dvae": 5.2, "dvae_start": 4.1}.get(system, 3.2 + gain * ease)
                right = {"real": 1.0, "dvae": 0.82, "dvae_start": 0.78, "shuffled": 0.02}
                right = right.get(system, ease * (0.2 + 0.3 * gain))
                row = {"experiment": "tiny", "system": system, "suite": suite, "n_candidates": most, "n": n, "seed": 0}
                for blur in RADII:
                    softer = np.exp(-0.25 * blur)
                    rows.append(row | _cell("fid", FID, blur, fid * softer, n))
                    rows.append(row | _cell("fid", FID, blur, 1.1 * fid * softer, n) | {"reference": "no-overlap"})
                    rows.append(row | _cell("fid", "fid.clean@1", blur, 2 * fid * softer, n))
                    rows.append(row | _cell("inception_score", IS, blur, 1 + (score - 1) * softer, n))
                low, high = max(right - 0.06, 0), min(right + 0.06, 1)
                rows.append(row | _cell("grounded", "scenes", 0, right, n) | {"low": low, "high": high})
                if system == "dalle1":
                    rows.append(row | _cell("grounded_any", "scenes", 0, ease * (0.2 + 0.6 * gain), n))
    return pd.DataFrame(rows)


def _cell(metric: str, protocol: str, blur: float, value: float, n: int) -> dict:
    around = {"low": 0.95 * value, "high": 1.05 * value, "n_reference": n, "extractor_digest": "", "reference": "all"}
    return around | {"metric": metric, "protocol": protocol, "blur": float(blur), "value": value}


def training_log(path: Path, columns: dict[str, tuple[float, float]], steps: int = 300) -> Path:
    """A log.csv whose columns fall from the first to the second number."""
    noise = np.random.default_rng(0)
    fall = np.exp(-np.arange(steps) / steps * 5)
    curves = {name: b + (a - b) * fall + 0.05 * noise.normal(size=steps) for name, (a, b) in columns.items()}
    pd.DataFrame({"step": np.arange(1, steps + 1), **curves}).to_csv(path, index=False)
    return path


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    metrics_table().to_parquet(tmp_path / "metrics.parquet")
    return tmp_path / "metrics.parquet"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list:
    """The figures drawn in a test, so that it can read the lines back."""
    figures = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, out: (figures.append(figure), save(figure, out)))
    return figures


def lines(axes) -> dict[str, tuple[list, list]]:
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def test_figure9_holds_the_cells_of_the_table(metrics, tmp_path, drawn):
    plots.plot_figure9(metrics, tmp_path / "figure9.png", [FID, IS])
    table = metrics_table().query("suite == 'zeroshot' and system == 'dalle1' and n_candidates == 32")
    fid = table[(table["metric"] == "fid") & (table["protocol"] == FID)].set_index("reference")["value"]
    blurred, _, against_n = drawn[0].axes[3:6]
    shown = lines(blurred)
    assert shown["DALL·E 1 (ours), best of 32"] == (list(RADII), fid["all"].tolist())
    assert set(shown) == {
        "DALL·E 1 (ours), N = 1",
        "DALL·E 1 (ours), best of 32",
        "other real pictures",
        "real pictures through the dVAE",
        "real pictures through the untrained dVAE",
        "without overlapping reference pictures",
    }
    dashed = [list(line.get_ydata()) for line in blurred.lines if line.get_label().startswith("without")]
    assert fid["no-overlap"].tolist() in dashed
    assert list(against_n.lines[0].get_xdata()) == list(DOUBLINGS)
    scales = [axes.get_ylabel() for axes in drawn[0].axes if axes.get_ylabel().startswith(("FID", "Inception"))]
    assert len(scales) == 4  # panel c has two of them in each suite


def test_bands_are_the_intervals(metrics, tmp_path, drawn):
    plots.plot_figure9(metrics, tmp_path / "figure9.png", [FID, IS])
    fid = metrics_table().query("suite == 'val' and metric == 'fid' and system == 'real' and protocol == @FID")
    fid = fid[fid["reference"] == "all"]
    corners = drawn[0].axes[0].collections[0].get_paths()[0].vertices  # the first system drawn is real
    assert corners[:, 1].min() == pytest.approx(fid["low"].min())
    assert corners[:, 1].max() == pytest.approx(fid["high"].max())


def test_of_several_protocols_the_first_of_the_settings_is_drawn(metrics, tmp_path, drawn):
    plots.plot_figure9(metrics, tmp_path / "a.png", [FID, "fid.clean@1", IS])
    plots.plot_figure9(metrics, tmp_path / "b.png", ["fid.clean@1", FID, IS])
    ours, clean = (lines(figure.axes[0])["other real pictures"][1] for figure in drawn)
    assert clean == [2 * value for value in ours]


def test_candidates_panels_hold_the_unblurred_cells(metrics, tmp_path, drawn):
    plots.plot_candidates(metrics, tmp_path / "candidates.png", [FID, IS])
    table = metrics_table()
    grounded = table.query("suite == 'val' and metric == 'grounded' and system == 'dalle1'")
    shown = lines(drawn[0].axes[2])
    assert shown["DALL·E 1 (ours), best of N"] == (list(DOUBLINGS), grounded["value"].tolist())
    assert shown["DALL·E 1 (ours), any of N right"][1][-1] == pytest.approx(0.8)
    assert shown["other real pictures"][1] == [1.0, 1.0]
    assert "ours under wrong captions" not in lines(drawn[0].axes[0])  # the same pictures: the same FID


def test_rows_in_another_order_give_the_same_file(metrics, tmp_path):
    plots.plot_candidates(metrics, tmp_path / "first.png", [FID, IS])
    metrics_table().sample(frac=1, random_state=0).to_parquet(metrics)
    plots.plot_candidates(metrics, tmp_path / "second.png", [FID, IS])
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_training_draws_losses_and_nothing_else(tmp_path, drawn):
    logs = {
        "dvae": training_log(tmp_path / "dvae.csv", {"loss": (1.0, 0.2), "perplexity": (500, 300)}),
        "prior": training_log(tmp_path / "prior.csv", {"loss": (5, 2), "text_nats": (4, 1), "image_nats": (6, 2)}),
    }
    plots.plot_training(logs, tmp_path / "training.png")
    named = [{label for label in lines(axes) if not label.startswith("_")} for axes in drawn[0].axes]
    assert named == [{"loss"}, {"loss", "text, nats", "image, nats"}]
    assert Image.open(tmp_path / "training.png").info.keys() == {"dpi"}  # neither a date nor a version
