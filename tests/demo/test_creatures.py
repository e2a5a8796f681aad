"""Creatures: classes, their individuals, and pictures that follow from class and pose."""

from __future__ import annotations

import numpy as np
import pytest
from latent_atelier.demo.creatures import Pose, render_creature, species


def test_held_out_classes_are_none_of_the_training_classes() -> None:
    training, held_out = species()
    assert (len(training), len(held_out)) == (60, 12)
    assert not set(training) & set(held_out)


def test_individuals_differ_about_their_class() -> None:
    kind, rng = species()[1][0], np.random.default_rng(0)
    many = [kind.individual(rng, 0.2) for _ in range(400)]
    assert len(set(many)) == 400
    assert {(one.pattern, one.ears) for one in many} == {(kind.pattern, kind.ears)}
    lengths = np.log([one.length / kind.length for one in many])
    assert lengths.mean() == pytest.approx(0, abs=0.04)
    assert lengths.std() == pytest.approx(0.2, rel=0.15)
    assert all(0 <= channel <= 1 for one in many for channel in (*one.coat, *one.marks))


def test_without_spread_an_individual_is_its_class() -> None:
    kind, pose = species()[1][3], Pose.sample(np.random.default_rng(1))
    same = render_creature(kind.individual(np.random.default_rng(2), 0.0), pose).astype(int)
    assert np.abs(same - render_creature(kind, pose)).max() <= 1
