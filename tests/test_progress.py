"""What the line of progress says, and how often a log file gets one."""

import pytest

from dalle.training.progress import Load, Progress, clock, progress_line, short


def test_the_line_says_name_step_loss_speed_and_time_left() -> None:
    load = Load(samples=16, tokens=16 * 80, flops=1.5e9)
    assert progress_line("dvae", 60, 300, 0.12344, 2.0, load) == (
        "dvae  60/300  loss 0.1234  2.0 steps/s  32.0 samples/s  2.6 k tokens/s  3.0 GFLOP/s  2:00 left"
    )
    assert progress_line("dvae", 1, 300, 1.0, 0.0, load) == "dvae   1/300  loss 1.0000  ? left"


def test_a_long_training_is_told_in_hours_and_slow_steps_in_thousandths() -> None:
    line = progress_line("prior", 1000, 430_000, 6.5, 0.05, Load(samples=1024))
    assert line.startswith("prior   1000/430000  loss 6.5000  0.050 steps/s  51.2 samples/s  ")
    assert line.endswith("  2383:20:00 left")
    assert [clock(seconds) for seconds in (7.2, 654, 3599, 7380)] == ["0:07", "10:54", "59:59", "2:03:00"]


def test_mfu_is_the_share_of_the_chips_peak() -> None:
    assert Load(samples=1, flops=2e14, peak=1e15).speed(2.0) == "2.0 samples/s  MFU 40.0%"


@pytest.mark.parametrize(
    ("number", "words"),
    [(0.25, "0.2"), (99, "99.0"), (999, "999"), (1000, "1.0 k"), (123_456, "123 k"), (2e15, "2.0 P")],
)
def test_numbers_are_short(number: float, words: str) -> None:
    assert short(number) == words


def test_a_file_gets_a_line_every_twentieth_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("clip", 0, 100, Load(samples=8))
    for step in range(1, 101):
        progress.show(step, 1.0)
    said = capsys.readouterr().err
    assert [line.split("/")[0] for line in said.splitlines()] == [f"clip {step:>3}" for step in range(5, 101, 5)]
    assert "\r" not in said
