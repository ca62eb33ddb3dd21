"""What is said of a study in a few words."""

from reports.style.study_words import foreign_note


def test_which_trials_are_left_out() -> None:
    assert foreign_note([]) is None
    assert foreign_note([5]) == "1 trial was added by another program: left out (trial 5)"
    assert foreign_note([5, 8]) == "2 trials were added by another program: left out (trials 5 and 8)"
    told = foreign_note(range(9))
    assert told is not None and told.endswith("left out (trials 0, 1, 2, 3, 4 and others)")
