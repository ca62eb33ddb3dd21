"""Simulated studies: finished races change the stated gain less than races alone do."""

import numpy as np
import race_studies


def test_finished_races_tell_nearly_the_gain_of_settings_that_were_all_scored_whole():
    told = race_studies.compare(6, 0.0, repeats=8, settings=25)
    whole, finished, alone = (told[way] for way in race_studies.WAYS)
    off = np.abs(np.array([finished.gains, alone.gains]) - np.array(whole.gains)).mean(axis=1)
    assert off[0] < off[1] / 3
    assert np.mean(alone.scored) < np.mean(finished.scored) < 1


def test_what_there_is_no_time_for_is_left_out(monkeypatch):
    monkeypatch.setattr(race_studies, "MOST_TIME", 0.0)
    told = race_studies.compare(6, 0.0, repeats=1, settings=25)[race_studies.WAYS[1]]
    assert told.finished == [0] and told.left_out[0] > 0
