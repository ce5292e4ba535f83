"""``get_params`` and ``set_params`` of the small objects."""

import copy
import pickle

import pytest
from sklearn.base import clone

from sk_infovae._base.parameters import Parameterized
from sk_infovae.divergences import MMD
from sk_infovae.likelihoods import Bernoulli, Gaussian


class Pair(Parameterized):
    """Two parameters, one of them required."""

    def __init__(self, second, first=1):
        self.second = second
        self.first = first


class Twin(Pair):
    """Another class with the same parameters."""


class Bare(Parameterized):
    """No parameters."""


def test_parameters_are_those_of_init_by_name():
    assert Pair(2).get_params() == {"first": 1, "second": 2}
    assert Pair(2).get_params(deep=False) == {"first": 1, "second": 2}
    assert Twin("b", first="a").get_params() == {"first": "a", "second": "b"}
    assert Bare().get_params() == {}


def test_set_params_sets_and_returns_the_object():
    pair = Pair(2)
    assert pair.set_params(first=5) is pair
    assert pair.get_params() == {"first": 5, "second": 2}
    assert pair.set_params() is pair


def test_unknown_name_is_an_error_that_lists_the_names():
    says = r"Invalid parameter 'third' for Pair\(first=1, second=2\).*\['first', 'second'\]"
    with pytest.raises(ValueError, match=says):
        Pair(2).set_params(third=3)
    with pytest.raises(ValueError, match=r"Invalid parameter 'x' for Bare\(\).*\[\]"):
        Bare().set_params(x=1)


def test_equal_means_same_class_and_same_parameters():
    assert Pair(2) == Pair(2)
    assert Pair(2) != Pair(3)
    assert Pair(2) != Twin(2)
    assert Pair(2) != {"first": 1, "second": 2}
    assert Bare() == Bare()


def test_changing_objects_have_no_hash():
    with pytest.raises(TypeError, match="unhashable"):
        hash(Pair(2))


@pytest.mark.parametrize("one", [MMD(), MMD(bandwidth=2.5), Gaussian(floor=0.01), Bernoulli()])
def test_repr_is_the_call_that_makes_it(one):
    made = eval(repr(one), {"MMD": MMD, "Gaussian": Gaussian, "Bernoulli": Bernoulli})
    assert made == one


@pytest.mark.parametrize(
    "duplicate", [clone, copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_a_copy_is_equal_and_apart(duplicate):
    pair = Pair(2)
    other = duplicate(pair)
    assert other == pair
    other.set_params(first=7)
    assert pair.first == 1
    assert other != pair
