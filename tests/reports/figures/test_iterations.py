"""Quality and time of the dense CRF by number of iterations, where one run gave all of them."""

from pathlib import Path

from objectives.records.read import read_studies
from reports.sections.crf import crf_section
from tests.support.fake_studies import CLASSES, CRF_SPACE, PUBLISHED, add, new_study, study_attrs

CURVE = [0.7, 0.6, 0.65, 0.64]


def test_curves_bear_the_names_of_their_settings_and_shared_times_make_no_front(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf", study_attrs("crf", CLASSES))
    setting = {"unary": "seeds", "gt_prob": 0.7, "guide": "raw", "sigma_gamma": 3.0, "w_spatial": 3.0}
    names = (("no CRF", {"iterations": 0}, 0.7), ("IRN", {"iterations": 3}, 0.64))
    for name, iterations, value in names:
        params = PUBLISHED["IRN"] | setting | iterations
        add(study, CRF_SPACE, params, value, name=name, enqueued=True, curve=CURVE, seconds=3.0)
    tuned = [0.7, 0.75, 0.8, 0.78]
    for number, seconds in enumerate((9.0, 2.0, 5.0)):
        params = PUBLISHED["IRN"] | setting | {"iterations": 1 + number, "sigma_alpha": 20.0 + number}
        add(study, CRF_SPACE, params, tuned[1 + number], curve=tuned, seconds=seconds)
    figures = {figure.key: figure for figure in crf_section(read_studies(tmp_path)["crf"]).figures}
    drawn = figures["crf-iterations"]
    assert [trace["name"] for trace in drawn.data] == ["IRN", "tuned", "chosen"]
    assert [list(trace["y"]) for trace in drawn.data[:2]] == [CURVE, tuned]
    assert drawn.data[2]["x"] == [2]
    assert "hardly depends on its own" in figures["crf-time"].caption
    assert "crf-front" not in figures
