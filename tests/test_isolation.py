"""The levels of isolation: their order, and what a job's labels ask for."""

from p2pwf.isolation import Level, asked_level


def test_a_job_gets_the_highest_level_that_its_labels_name() -> None:
    assert asked_level(["self-hosted", "isolation:process", "Isolation:Sandbox"]) is Level.sandbox
    assert asked_level(["ubuntu-latest", "isolation:more", "sandbox"]) is Level.none


def test_levels_are_ordered_from_least_to_most() -> None:
    assert sorted(Level, key=lambda level: level.label) != sorted(Level)
    assert Level.none < Level.process < Level.sandbox < Level.container
