"""The demo ends after as many new rounds as were asked for."""

from keno.demo.run import Progress


def test_rounds_of_an_earlier_demo_are_verified_and_do_not_count() -> None:
    progress = Progress(last_number=2)
    progress.take(11, 2, 30, [])
    assert (progress.verdicts, progress.verified_count) == ({11: "verified"}, 0)
    progress.take(12, 3, 30, [])
    progress.take(13, 4, 0, [])
    assert progress.verified_count == 1
