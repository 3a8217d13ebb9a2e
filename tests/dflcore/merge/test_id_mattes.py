"""Who has which share of the matte, and what their layers are called."""

import re
from dataclasses import replace

import numpy as np

from dflcore.io.plate import Window
from dflcore.merge.composite import FaceLayers, inside, quantise, stack_faces
from dflcore.merge.id_mattes import crop_coverages, measure_coverages, suffix_names


def face(person, x, y, side, matte):
    plane = np.zeros((side, side), np.float32)
    color = np.zeros((side, side, 3), np.float32)
    return FaceLayers(
        window=Window(x=x, y=y, width=side, height=side),
        swap=color,
        raw=color,
        matte=np.full((side, side), matte, np.float32),
        learned_source=plane,
        learned_target=plane,
        hull=plane,
        segmentation=plane,
        st=np.full((2, side, side), 0.5, np.float32),
        person=person,
    )


def summed(coverages, window):
    total = np.zeros((window.height, window.width), np.float32)
    for own, coverage in coverages.values():
        total[inside(own, window)] += coverage
    return total


def test_coverages_sum_to_the_matte_as_it_is_delivered():
    stacked = stack_faces([face("a", 0, 0, 12, 0.337), face("b", 6, 4, 12, 0.713), face("c", 9, 8, 6, 0.1)])
    delivered = replace(stacked, matte=quantise(stacked.matte, "half"))
    assert not (delivered.matte == stacked.matte).all()
    coverages = measure_coverages(delivered)
    assert list(coverages) == ["a", "b", "c"]
    np.testing.assert_allclose(summed(coverages, stacked.window), delivered.matte, rtol=1e-6)


def test_one_person_has_the_matte_itself():
    alone = face("a", 3, 4, 8, 0.5)
    ((person, (window, coverage)),) = measure_coverages(alone).items()
    assert (person, window) == ("a", alone.window)
    assert coverage is alone.matte
    assert list(measure_coverages(replace(alone, person=""))) == ["face"]


def test_two_faces_of_one_person_count_together():
    stacked = stack_faces([face("a", 0, 0, 10, 0.5), face("b", 5, 0, 10, 0.5), face("a", 30, 2, 10, 0.25)])
    coverages = measure_coverages(stacked)
    assert list(coverages) == ["a", "b"]
    window, coverage = coverages["a"]
    assert window == Window(x=0, y=0, width=40, height=12)
    assert (coverage[0, 0], coverage[0, 7], coverage[5, 35]) == (0.5, 0.25, 0.25)
    np.testing.assert_allclose(summed(coverages, stacked.window), stacked.matte, atol=1e-6)


def test_cropped_coverages_keep_what_lies_inside():
    stacked = stack_faces([face("a", 0, 0, 10, 0.5), face("b", 20, 0, 10, 0.75)])
    coverages = crop_coverages(measure_coverages(stacked), Window(x=5, y=2, width=10, height=4))
    ((person, (window, coverage)),) = coverages.items()
    assert (person, window) == ("a", Window(x=5, y=2, width=5, height=4))
    assert (coverage == 0.5).all()


def test_names_of_layers_are_legal_and_never_alike():
    names = suffix_names(["Ann-Marie", "ann marie", "Zoë", "3po", "..", "track_7", "ann_marie_2"])
    assert names["Ann-Marie"] == "ann_marie"
    assert names["track_7"] == "track_7"
    assert len(set(names.values())) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names.values())
