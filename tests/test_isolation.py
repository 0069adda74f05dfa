"""The levels of isolation: their order, and what a job's labels ask for."""

from p2pwf.isolation import Level, asked_level, choose, labels_of, told_labels


def test_a_job_gets_the_highest_level_that_its_labels_name() -> None:
    assert asked_level(["self-hosted", "isolation:process", "Isolation:Sandbox"]) is Level.sandbox
    assert asked_level(["ubuntu-latest", "isolation:more", "sandbox"]) is Level.none


def test_levels_are_ordered_from_least_to_most() -> None:
    assert sorted(Level, key=lambda level: level.label) != sorted(Level)
    assert Level.none < Level.process < Level.sandbox < Level.container


def test_a_job_runs_at_the_best_level_that_suffices_or_at_the_lowest() -> None:
    every = [Level.none, Level.process, Level.sandbox]
    assert choose(every, Level.none) is Level.sandbox
    assert choose(every, Level.none, least=True) is Level.none
    assert choose(every, Level.process, least=True) is Level.process
    assert choose(every, Level.container) is None


def test_what_a_level_cannot_do_rules_it_out() -> None:
    every = [Level.none, Level.process, Level.sandbox]
    assert choose(every, Level.none, network=False, least=True) is Level.sandbox
    assert choose(every[:2], Level.none, network=False) is None
    assert choose(every, Level.none, containers=True) is Level.none
    assert choose(every, Level.process, containers=True) is None


def test_a_machine_carries_the_labels_of_its_best_level_and_of_all_below() -> None:
    labels = labels_of([Level.none, Level.sandbox])
    assert labels == ("isolation:none", "isolation:process", "isolation:sandbox", "network:none")
    assert labels_of([Level.none, Level.process]) == ("isolation:none", "isolation:process")
    assert told_labels([*labels, "linux"]) == ["linux", "isolation:sandbox"]
    assert told_labels(["isolation:none", "linux"]) == ["linux"]
