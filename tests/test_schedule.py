"""Closed forms of the step size, and when a plateau lowers it."""

import pytest

from dalle.config.models import DVAE, Prior
from dalle.config.training import Optimisation, Plateau
from dalle.systems.schedule import remaining
from dalle.training.schedule import PlateauWatch, learning_rate

SETTINGS = Optimisation(steps=101, learning_rate=1.0, warmup=10)


def other(**values: object) -> Optimisation:
    return Optimisation.model_validate(SETTINGS.model_dump() | values)


def test_the_step_size_warms_up_peaks_and_ends_at_a_tenth() -> None:
    assert learning_rate(SETTINGS, 0) == pytest.approx(0.1)
    assert learning_rate(SETTINGS, 9) == learning_rate(SETTINGS, 10) == 1.0
    assert learning_rate(SETTINGS, 55) == pytest.approx(0.55)  # half-way: the mean of peak and end
    assert learning_rate(SETTINGS, 100) == pytest.approx(0.1)
    falling = [learning_rate(SETTINGS, step) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)


def test_the_two_cosines_differ_half_way_and_agree_at_the_ends() -> None:
    assert [remaining(share, "half") for share in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert [remaining(share, "quarter") for share in (0, 0.5, 1)] == pytest.approx([1, 0.5**0.5, 0])
    assert learning_rate(other(cosine="quarter"), 55) == pytest.approx(0.1 + 0.9 * 0.5**0.5)


def test_a_cosine_may_end_before_the_training_and_stays_where_it_ended() -> None:
    """The paper's dVAE: 1e-4 to 1.25e-6 over 1,200,000 of 3,000,000 updates."""
    paper = Optimisation(steps=3_000_000, learning_rate=1e-4, warmup=0, decay_updates=1_200_000, last_share=0.0125)
    ends = [learning_rate(paper, step) for step in (0, 1_199_999, 1_200_000, 2_999_999)]
    assert ends == pytest.approx([1e-4, 1.25e-6, 1.25e-6, 1.25e-6])


def test_a_constant_step_size_is_warmed_up_only() -> None:
    assert [learning_rate(other(decay="constant"), step) for step in (0, 10, 100)] == pytest.approx([0.1, 1, 1])


def test_what_plateaus_left_of_it_multiplies_the_peak() -> None:
    """The paper's prior: 4.5e-4, halved five times, ends at 1.406e-5."""
    paper = Optimisation(steps=430_000, learning_rate=4.5e-4, warmup=5_000, decay="plateau")
    watch = PlateauWatch(paper.plateau)
    lowered = [watch.see(1.0, done) for done in range(1_000, 200_000, 1_000)]
    assert sum(lowered) == 5
    assert learning_rate(paper, 429_999, watch.lowered) == pytest.approx(1.406e-5, rel=1e-3)


def test_a_plateau_is_a_window_without_enough_gain() -> None:
    watch = PlateauWatch(Plateau(window=20, gain=0.1, factor=0.25, most=2))
    seen = [(10, 1.0), (20, 0.95), (30, 0.8), (40, 0.79), (50, 0.75), (60, 0.74), (70, 0.74), (80, 0.5), (200, 0.5)]
    assert [watch.see(loss, done) for done, loss in seen] == [*[False] * 4, True, False, True, False, False]
    assert watch.lowered == 0.25**2


def test_a_negative_loss_has_to_fall_too() -> None:
    """The dVAE's likelihood is one of densities: its nats may be negative, and 10 % better is then more negative."""
    watch = PlateauWatch(Plateau(window=10, gain=0.1))
    assert not watch.see(-1.0, 10)
    assert not watch.see(-1.2, 20)
    assert watch.see(-1.21, 30)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"decay": "constant", "last_share": 0.5}, "last_share: is of no use with decay 'constant'"),
        ({"decay": "cosine", "plateau": {"most": 1}}, "plateau: is of no use with decay 'cosine'"),
        ({"scaling": "global"}, "scaling: is of no use with precision 'float32'; 'fp16' has it"),
        ({"betas": (0.9, 1.0)}, "less than 1"),
        ({"ema": 1.0}, "less than 1"),
        ({"decay_updates": 5}, "decay_updates: 5 is not more than warmup = 10"),
        ({"distributed": {"shards": 2}}, "shards: 2 is of no use with kind 'ddp'"),
        ({"optimiser": "muon", "distributed": {"kind": "fsdp"}}, "muon needs whole matrices"),
        ({"precision": "fp16", "scaling": "global", "distributed": {"kind": "fsdp"}}, "scaling: global goes with"),
    ],
)
def test_a_setting_that_nobody_would_use_is_refused(values: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        other(**values)


def test_a_second_cosine_is_for_what_follows_one() -> None:
    """The dVAE's τ and β do so whatever its step size does."""
    constant = Optimisation(steps=3, decay="constant", cosine="quarter")
    assert DVAE(optimisation=constant).optimisation.cosine == "quarter"
    with pytest.raises(ValueError, match="cosine: is of no use with decay 'constant'; 'cosine' has it"):
        Prior(optimisation=constant)
