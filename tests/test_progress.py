"""What the line of progress says, and how often a log file gets one."""

from dalle.training.progress import Progress, progress_line


def test_the_line_says_name_step_loss_rate_and_time_left():
    assert progress_line("dvae", 60, 300, 0.12344, 2.0) == "dvae  60/300  loss 0.1234  2.0 steps/s  2:00 left"


def test_a_file_gets_a_line_every_twentieth_and_the_last(capsys):
    progress = Progress("clip", 0, 100)
    for step in range(1, 101):
        progress.show(step, 1.0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("/")[0] for line in lines] == [f"clip {step:>3}" for step in range(5, 101, 5)]
