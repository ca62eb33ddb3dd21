"""A stopped trial that was scored on its remaining tiles says so, in the table and in its note."""

from objectives.records.study import Study, Trial
from reports.dashboard.trial_notes import trial_note
from reports.sections.trials import TrialRow


def test_a_finished_race_is_not_called_another_number_of_iterations():
    study = Study("crf", "crf", {"metric": "miou"}, (), (), False)
    finished = Trial(20, "complete", 0.5, {"iterations": 3}, derived_from=17, finished_race=True, seconds=2.0)
    assert TrialRow(finished, False, "").remark == "trial 17 scored on its remaining tiles"
    note = trial_note(study, finished)
    assert "Trial 17, which a race had stopped, scored on its remaining tiles." in note
    assert "number of iterations." not in note
    assert "**Time:** 2" in note


def test_another_number_of_iterations_is_still_called_so():
    study = Study("crf", "crf", {"metric": "miou"}, (), (), False)
    other = Trial(20, "complete", 0.5, {"iterations": 3}, derived_from=17)
    assert TrialRow(other, False, "").remark == "trial 17 with another number of iterations"
    assert "another number of iterations" in trial_note(study, other)
