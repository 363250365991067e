"""What ends a training: numbers that are none, a loss that climbs, gradients that never come right."""

import math
import signal

import pytest

from dalle.training import alarm as alarm_module
from dalle.training.alarm import SKIPPED, Alarm, StopSignal


def feed(alarm: Alarm, losses: list[float]) -> None:
    for step, loss in enumerate(losses):
        alarm.see(step, {"loss": loss, "grad_norm": 1.0}, "c-7.pt")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_stops_with_stage_step_and_checkpoint(value: float) -> None:
    with pytest.raises(FloatingPointError, match=r"stage prior, step 3: grad_norm is .*Last good checkpoint: c-7.pt"):
        Alarm("prior", None).see(3, {"loss": 1.0, "grad_norm": value}, "c-7.pt")


def test_a_loss_that_climbs_stops_and_noise_does_not() -> None:
    noisy = [1.0 + (-1) ** step for step in range(1000)]
    feed(Alarm("prior", 0.5), noisy)
    with pytest.raises(FloatingPointError, match=r"the loss diverges: .* allowed is a rise of 0\.5"):
        feed(Alarm("prior", 0.5), noisy + [10.0] * 100)
    feed(Alarm("prior", None), noisy + [10.0] * 1000)


def test_falling_from_the_start_is_no_climb() -> None:
    feed(Alarm("prior", 0.1), [100.0 / (1 + step) for step in range(1000)])
    feed(Alarm("prior", 0.1), [5.0] * 50 + [1.0] * 500)


def test_the_alarm_goes_on_where_it_was() -> None:
    first, second = Alarm("prior", 1.0), Alarm("prior", 1.0)
    feed(first, [1.0] * 300)
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    with pytest.raises(FloatingPointError):
        feed(second, [9.0] * 20)


def test_too_many_skipped_updates_in_a_row_stop() -> None:
    alarm = Alarm("prior", None)
    for step in range(SKIPPED - 1):
        alarm.see_update(step, False, "none")
    alarm.see_update(0, True, "none")
    with pytest.raises(FloatingPointError, match="gradients were not finite 2500 times in a row"):
        for step in range(SKIPPED):
            alarm.see_update(step, False, "none")


def test_a_signal_is_noted_its_echo_is_nothing_and_a_second_one_does_what_it_always_did(monkeypatch) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell has it ignored
    with pytest.raises(KeyboardInterrupt), StopSignal() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert stop.asked == "SIGINT"
        monkeypatch.setattr(alarm_module, "ECHO", -1.0)
        signal.raise_signal(signal.SIGINT)
