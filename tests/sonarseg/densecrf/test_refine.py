"""What refinement keeps, and what it accepts or refuses."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import crf_tile, refine
from sonarseg.errors import UserError
from sonarseg.survey.guide import guide_image
from tests.support.marginals import probabilities

SOFT = CrfParameters(sigma_alpha=8, sigma_beta=20, w_bilateral=3, w_spatial=1, unary="soft", iterations=3)
SEEDS = SOFT.model_copy(update={"unary": "seeds"})


def random_tile(classes=3, height=17, width=11, seed=0):
    generator = np.random.default_rng(seed)
    scores = generator.random((classes, height, width)).astype(np.float32)
    return scores, generator.integers(0, 256, (height, width)).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(4)), st.sampled_from([SOFT, SEEDS]), st.integers(0, 1000))
def test_renaming_the_classes_renames_the_labels(order, parameters, seed):
    scores, image = random_tile(4, seed=seed)
    marginals = probabilities(scores, image, parameters)
    renamed = probabilities(scores[list(order)], image, parameters)
    # The sum over classes in softmax rounds differently in another order
    np.testing.assert_allclose(renamed, marginals[list(order)], atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([SOFT, SEEDS]),
    st.integers(0, 1000),
    st.data(),
)
def test_only_shown_classes_come_out(classes, height, width, parameters, seed, data):
    scores, image = random_tile(classes, height, width, seed)
    shown = np.array(data.draw(st.lists(st.booleans(), min_size=classes, max_size=classes)))
    labels = refine(scores, image, parameters, shown=shown)
    assert labels.dtype == np.uint8
    assert labels.shape == image.shape
    assert set(np.unique(labels)) <= set(np.flatnonzero(shown) if shown.any() else [255])
    marginals = probabilities(scores, image, parameters, shown=shown)
    np.testing.assert_allclose(marginals.sum(0), float(shown.any()), atol=1e-4)
    assert not marginals[~shown].any()
    if shown.any():
        np.testing.assert_array_equal(labels, marginals.argmax(0))


def test_hidden_classes_are_as_if_they_did_not_exist():
    scores, image = random_tile(5)
    shown = np.array([False, True, False, True, True])
    labels = refine(scores, image, SOFT, shown=shown)
    np.testing.assert_array_equal(labels, np.flatnonzero(shown)[refine(scores[shown], image, SOFT)])


@pytest.mark.parametrize("parameters", [SOFT, SEEDS])
def test_zero_weights_or_zero_iterations_are_the_argmax(parameters):
    scores, image = random_tile()
    for update in ({"w_bilateral": 0, "w_spatial": 0}, {"iterations": 0}):
        labels = refine(scores, image, parameters.model_copy(update=update))
        np.testing.assert_array_equal(labels, scores.argmax(0))


def test_no_iterations_give_the_probabilities_of_the_unary():
    scores, image = random_tile()
    parameters = SOFT.model_copy(update={"iterations": 0, "unary_scale": 2.0})
    marginals = probabilities(scores, image, parameters)
    squared = (scores + 1e-5) ** 2
    np.testing.assert_allclose(marginals, squared / squared.sum(0), rtol=1e-4)


@pytest.mark.parametrize("engine", ["numba", "torch", "pydensecrf"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_last_labels_are_the_last_of_the_history(engine, count):
    tiles = [crf_tile(*random_tile(3, 21, 18, seed), np.ones(3, bool), None) for seed in range(2)]
    parameters = SOFT.model_copy(update={"iterations": count})
    histories = Engine(engine).label_histories(tiles, parameters, count)
    for last, history in zip(Engine(engine).last_labels(tiles, parameters), histories, strict=True):
        assert last.flags.c_contiguous
        np.testing.assert_array_equal(last, history[-1])


def test_one_class_fills_the_tile_and_none_leaves_it_undecided():
    scores, image = random_tile()
    assert (refine(scores, image, SEEDS, shown=np.array([False, False, True])) == 2).all()
    assert (refine(scores, image, SEEDS, shown=np.zeros(3, bool)) == 255).all()
    assert (refine(scores[:1], image, SEEDS) == 0).all()


@pytest.mark.parametrize("shape", [(83, 166), (166, 83), (1, 40), (40, 1), (1, 1), (2, 3)])
@pytest.mark.parametrize("parameters", [SOFT, SEEDS, CrfParameters()])
def test_odd_sizes(shape, parameters):
    scores, image = random_tile(3, *shape)
    labels = refine(scores, image, parameters)
    assert labels.shape == shape
    assert labels.max() < 3


@pytest.mark.parametrize("parameters", [SOFT, SEEDS])
def test_layout_type_and_flags_of_arrays_do_not_matter(parameters):
    scores, image = random_tile()
    expected = refine(scores, image, parameters, background_id=1)
    kept = scores.copy(), image.copy()
    variants = [
        (np.asfortranarray(scores), np.asfortranarray(image)),
        (scores.astype(np.float64), image),
        (np.repeat(scores, 2, axis=2)[:, :, ::2], np.repeat(image, 2, axis=0)[::2]),
    ]
    read_only = scores.copy(), image.copy()
    for array in read_only:
        array.setflags(write=False)
    for variant in [*variants, read_only]:
        np.testing.assert_array_equal(refine(*variant, parameters, background_id=1), expected)
    np.testing.assert_array_equal(scores, kept[0])
    np.testing.assert_array_equal(image, kept[1])


def test_half_precision_scores():
    scores, image = random_tile()
    half = scores.astype(np.float16)
    np.testing.assert_array_equal(refine(half, image, SOFT), refine(half.astype(np.float32), image, SOFT))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1])
def test_scores_that_are_no_scores_are_refused(bad):
    scores, image = random_tile()
    scores[1, 2, 3] = bad
    for parameters in (SOFT, SEEDS, CrfParameters(iterations=0)):
        with pytest.raises(UserError, match="NaN, infinite or negative"):
            refine(scores, image, parameters)


@pytest.mark.parametrize(
    ("scores", "image", "shown", "message"),
    [
        (np.ones((2, 4, 5)), np.zeros((5, 4), np.uint8), None, "5 x 4 .*4 x 5"),
        (np.ones((2, 4, 5)), np.zeros((4, 5), np.float64), None, "float64 .*expected uint8"),
        (np.ones((2, 4, 5)), np.zeros((4, 5), np.uint16), None, "uint16 .*scaling"),
        (np.ones((2, 4, 5)), np.zeros((4, 5, 4), np.uint8), None, r"\(4, 5, 4\)"),
        (np.ones((4, 5)), np.zeros((4, 5), np.uint8), None, "classes, height, width"),
        (np.ones((2, 0, 5)), np.zeros((0, 5), np.uint8), None, "classes, height, width"),
        (np.ones((2, 4, 5)), np.zeros((4, 5), np.uint8), np.ones(3, bool), r"expected \(2,\)"),
    ],
)
def test_arrays_of_other_shape_or_type_are_refused_in_one_sentence(scores, image, shown, message):
    with pytest.raises(UserError, match=message) as caught:
        refine(scores, image, SOFT, shown=shown)
    assert str(caught.value).count(". ") == 0
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ["numba", "torch", "pydensecrf"])
@pytest.mark.parametrize("name", ["sigma_alpha", "sigma_beta", "sigma_gamma"])
def test_a_width_that_the_lattice_cannot_resolve_is_refused(name, engine):
    scores, image = random_tile()
    with pytest.raises(UserError, match=f"{name} 1e-06"):
        refine(scores, image, SOFT.model_copy(update={name: 1e-6}), engine=Engine(engine))


@pytest.mark.parametrize("engine", ["numba", "torch", "pydensecrf"])
@pytest.mark.parametrize("width", [1e-38, 1e-50, 1e-300])
@pytest.mark.parametrize("name", ["sigma_alpha", "sigma_beta", "sigma_gamma"])
def test_widths_that_drive_features_beyond_float32_are_refused(name, width, engine):
    """The parameters' own bounds are stepped round: no engine may crash."""
    scores, image = random_tile()
    with np.errstate(all="ignore"), pytest.raises(UserError, match=f"{name} {width:g}.* wide") as caught:
        refine(scores, image, SOFT.model_copy(update={name: width}), engine=Engine(engine))
    assert "inf" not in str(caught.value) and "nan" not in str(caught.value)


@pytest.mark.parametrize("engine", ["numba", "torch", "pydensecrf"])
@pytest.mark.parametrize("name", ["w_bilateral", "w_spatial", "unary_scale"])
@pytest.mark.parametrize("classes", [3, 5])
def test_the_largest_weights_give_a_hard_decision(classes, name, engine):
    """Lanes of classes that are not there take no part, whatever the weights."""
    scores, image = random_tile(classes)
    strong = SOFT.model_copy(update={name: 1e6})
    marginals = probabilities(scores, image, strong, engine=Engine(engine))
    np.testing.assert_allclose(marginals.sum(0), 1, atol=1e-5)
    assert (marginals.max(0) > 0.99).mean() > 0.9
    if name == "unary_scale":
        np.testing.assert_array_equal(marginals.argmax(0), scores.argmax(0))


def test_scores_beyond_float32_are_refused():
    scores, image = random_tile()
    with pytest.raises(UserError, match=r"reach .*e\+(299|300), expected numbers from 0 to 1"):
        refine(scores.astype(np.float64) * 1e300, image, SOFT)


def test_more_classes_than_8_bit_ids_are_refused():
    image = np.zeros((4, 5), np.uint8)
    none = SOFT.model_copy(update={"iterations": 0})
    assert refine(np.eye(255, 20, dtype=np.float32).reshape(255, 4, 5), image, none).max() == 19
    with pytest.raises(UserError, match="256 classes, expected 255 at most"):
        refine(np.ones((256, 4, 5), np.float32), image, SOFT)


@pytest.mark.parametrize("call", [refine, probabilities])
@pytest.mark.parametrize("background", [-1, 3])
def test_a_background_that_is_no_class_is_refused(background, call):
    scores, image = random_tile()
    with pytest.raises(UserError, match=f"background class is {background}, expected an id from 0 to 2"):
        call(scores, image, SOFT, background_id=background)


def test_background_score_decides_against_weak_scores():
    scores, image = random_tile(2)
    scores[0], scores[1] = 0.2, 0.0
    none = SOFT.model_copy(update={"iterations": 0})
    assert (refine(scores, image, none, background_id=1) == 1).all()
    low = none.model_copy(update={"background_score": 0.1})
    assert (refine(scores, image, low, background_id=1) == 0).all()
    assert (refine(scores, image, low.model_copy(update={"iterations": 3}), background_id=1) == 0).all()


@pytest.mark.parametrize("guide", ["log", "median", "lee"])
def test_the_guide_is_the_image_that_the_bilateral_kernel_sees(guide):
    scores, image = random_tile(3, 40, 30)
    filtered = refine(scores, guide_image(image, guide), SOFT)
    np.testing.assert_array_equal(refine(scores, image, SOFT.model_copy(update={"guide": guide})), filtered)


def test_the_same_call_gives_the_same_bits_and_travels_to_a_worker():
    scores, image = random_tile(3, 40, 30)
    first = probabilities(scores, image, SOFT)
    call, parameters = pickle.loads(pickle.dumps((probabilities, SOFT)))
    np.testing.assert_array_equal(call(scores, image, parameters), first)
