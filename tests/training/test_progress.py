"""What verbose shows."""

import itertools
import re

import pytest
from small_fits import small

from sk_infovae._training import progress
from sk_infovae.exceptions import TrainingDivergedError


@pytest.fixture
def terminal(monkeypatch):
    """Standard error can be written over."""
    monkeypatch.setattr(progress, "is_log", lambda: False)


def test_verbose_shows_one_line_with_the_terms(X, capsys, terminal):
    small(verbose=1, max_epochs=3).fit(X)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    last = err.rstrip("\n").split("\r")[-1]
    assert "3/3" in last
    for term in ("loss", "reconstruction", "kl", "D", "valid loss"):
        assert f"{term} " in last


@pytest.mark.parametrize("params", [{"n_iter_no_change": 1, "tol": 1e6}, {"early_stopping": False}])
def test_verbose_line_ends_whenever_training_ends(X, capsys, terminal, params):
    vae = small(verbose=1, max_epochs=6, **params).fit(X)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{vae.n_iter_}/6" in err
    assert ("valid loss" in err) == vae.early_stopping


def test_verbose_line_ends_when_training_diverges(X, capsys):
    with pytest.raises(TrainingDivergedError):
        small(verbose=1, lr=1e6, max_epochs=20).fit(X)
    assert capsys.readouterr().err.endswith("\n")


def test_a_log_has_whole_lines_of_which_none_is_written_over(X, capsys, monkeypatch):
    """The first as training begins, then one in ten seconds, and the last; here a second is 3."""
    seconds = itertools.count(step=3.0)
    monkeypatch.setattr("tqdm.std.time", lambda: next(seconds))
    small(verbose=1, max_epochs=20).fit(X)
    err = capsys.readouterr().err
    assert "\r" not in err
    assert "\x1b" not in err
    done = [int(n) for n in re.findall(r"^InfoVAE: .* (\d+)/20 \[.*\]$", err, re.MULTILINE)]
    assert done[0] == 0
    assert done[-1] == 20
    assert 4 < len(done) < 20
    assert len(done) == err.count("\n")


def test_quiet_by_default(X, capsys):
    vae = small().fit(X).partial_fit(X)
    vae.score(X)
    assert capsys.readouterr() == ("", "")
