"""No file runs code, hangs, takes memory that it does not have, or gives half a model."""

import io
import json
import pickle
import sys
import tracemalloc
import warnings

import mutations
import numpy as np
import pytest
from safetensors.numpy import save

from sk_infovae import InfoVAETransformer
from sk_infovae._files import container
from sk_infovae.exceptions import ModelFileError


@pytest.fixture(scope="module")
def data():
    return mutations.written(mutations.model()[0])


def load(data):
    with warnings.catch_warnings(action="ignore"):
        return InfoVAETransformer.load(io.BytesIO(data))


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_refused(data, seed):
    rng = np.random.default_rng(seed)
    for _ in range(10):
        changed = mutations.damaged(data, rng)
        if changed != data:
            with pytest.raises(ModelFileError):
                load(changed)


@pytest.mark.parametrize("seed", range(40))
def test_a_forged_file_gives_a_model_or_a_named_error(data, seed, monkeypatch):
    """The checksum guards against accidents; what is said behind a right one is checked as well."""
    rng, modules = np.random.default_rng(seed), set(sys.modules)
    monkeypatch.setattr("builtins.eval", None)
    tracemalloc.start()
    for _ in range(15):
        changed = mutations.forged(data, rng)
        try:
            found = load(changed)
        except ModelFileError as error:
            assert str(error)  # noqa: PT017
        else:
            assert isinstance(found, InfoVAETransformer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    assert not {"this", "antigravity"} & (set(sys.modules) - modules)


def resealed(data, change):
    _, text, arrays = mutations.taken_apart(data)
    whole = json.loads(text)
    change(whole)
    return mutations.sealed(json.dumps(whole), arrays)


def fitted(whole):
    return {key: value for key, value in whole[2]["fitted"]["dict"]}


def fields(whole, *path):
    """The fields of a record within the fitted model."""
    record = fitted(whole)[path[0]]["record"][1]
    for name in path[1:]:
        record = record[name]["record"][1]
    return record


@pytest.mark.parametrize("width", [10**5, 10**9, 10**12, 10**30])
@pytest.mark.parametrize(
    "change",
    [
        lambda whole, n: fields(whole, "layout", "architecture").update(n_components=n),
        lambda whole, n: fields(whole, "layout", "architecture").update(
            hidden_layer_sizes={"tuple": [n]}
        ),
        lambda whole, n: fields(whole, "layout", "architecture").update(
            hidden_layer_sizes={"tuple": [n, n]}
        ),
        lambda whole, n: fields(whole, "layout", "architecture").update(
            hole_columns={"tuple": [n]}
        ),
        lambda whole, n: fields(whole, "layout", "schema").update(
            header={"range": [0, n, 1, None]}
        ),
    ],
)
def test_no_memory_for_a_number_alone(data, change, width):
    forged = resealed(data, lambda whole: change(whole, width))
    tracemalloc.start()
    with pytest.raises(ModelFileError):
        load(forged)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_many_layers_are_not_built(data):
    forged = resealed(
        data,
        lambda whole: fields(whole, "layout", "architecture").update(
            hidden_layer_sizes={"tuple": [1] * 100_000}
        ),
    )
    with pytest.raises(ModelFileError, match="fewer weights than its networks have layers"):
        load(forged)


def test_deep_nesting(data):
    arrays = mutations.taken_apart(data)[2]
    for deep in ("[" * 200_000 + "]" * 200_000, '{"tuple":[' * 900 + "]}" * 900):
        forged = mutations.sealed(f'["InfoVAETransformer",1,{{"params":{deep}}}]', arrays)
        with pytest.raises(ModelFileError):
            load(forged)


@pytest.mark.parametrize("protocol", [0, 2, -1, "1", 1.0, None, True, 10**30])
def test_a_protocol_that_is_not_known(data, protocol):
    def change(whole):
        whole[1] = protocol

    with pytest.raises(ModelFileError, match=r"has protocol .* reads 1 to 1"):
        load(resealed(data, change))


def test_other_files():
    class Bomb:
        def __reduce__(self):
            return print, ("run!",)

    tensors = save({"a": np.zeros(3)}, {"format": "pt"})
    zeros = save({"a": np.zeros(3)}, {container.HEAD: "0" * 64 + "[]"})
    for data in (b"", b"\0" * 8, b"PK\3\4" + b"\0" * 99, pickle.dumps(Bomb()), tensors, zeros):
        with pytest.raises(ModelFileError):
            load(data)


def test_another_kind_of_file(data):
    def change(whole):
        whole[0] = "PCA"

    with pytest.raises(ModelFileError, match="holds a 'PCA', not a 'InfoVAETransformer'"):
        load(resealed(data, change))


def test_half_a_model_is_none(data):
    """Parts that do not go together are refused where they are read, not when they are used."""

    def one_column_less(whole):
        columns = fields(whole, "layout", "schema")["every"]["tuple"]
        columns.pop()

    def other_levels(whole):
        likelihoods = fields(whole, "layout", "architecture")["likelihoods"]["tuple"]
        for one in likelihoods:
            name, params = one["object"]
            if name == "Categorical":
                params["dict"] = [[k, 2 if k == "n_levels" else v] for k, v in params["dict"]]

    def no_holes(whole):
        fields(whole, "layout", "architecture")["hole_columns"] = {"tuple": []}

    for change in (one_column_less, other_levels, no_holes):
        with pytest.raises(ModelFileError):
            load(resealed(data, change))


def test_a_time_zone_names_no_file(data):
    for zone in ("dateutil//dev/stdin", "dateutil/../../etc/localtime", "../../etc/localtime"):
        _, text, arrays = mutations.taken_apart(data)
        assert "Europe/Oslo" in text
        forged = mutations.sealed(text.replace("Europe/Oslo", zone), arrays)
        with pytest.raises(ModelFileError, match="names a time zone by a file"):
            load(forged)
