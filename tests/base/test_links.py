"""From an estimator's HTML to its page, where the package's metadata name a site."""

from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
from sklearn.pipeline import make_pipeline

import sk_infovae
from sk_infovae import InfoVAETransformer
from sk_infovae.model_selection import InfoVAEGridSearchCV, InfoVAERandomizedSearchCV
from sk_infovae.preprocessing import TabularPreprocessor

VAE = InfoVAETransformer()
PAGES = {
    "sk_infovae.InfoVAETransformer": VAE,
    "sk_infovae.preprocessing.TabularPreprocessor": TabularPreprocessor(),
    "sk_infovae.model_selection.InfoVAEGridSearchCV": InfoVAEGridSearchCV(VAE, {}),
    "sk_infovae.model_selection.InfoVAERandomizedSearchCV": InfoVAERandomizedSearchCV(VAE, {}),
}
over_pages = pytest.mark.parametrize("name", PAGES)


@pytest.fixture
def site(monkeypatch):
    """Metadata that name two addresses."""
    message = Message()
    message["Project-URL"] = "Source, https://example.org/code"
    message["Project-URL"] = "Documentation, https://example.org/docs/"
    monkeypatch.setattr(metadata, "metadata", lambda _: message)


class Own(InfoVAETransformer):
    """A user's."""


@over_pages
def test_links_to_the_page(site, name):
    address = f"https://example.org/docs/generated/{name}.html"
    assert PAGES[name]._get_doc_link() == address
    assert f'href="{address}"' in PAGES[name]._repr_html_()


def test_a_step_has_its_own_link(site):
    html = make_pipeline(TabularPreprocessor(), InfoVAETransformer())._repr_html_()
    for name in ("sk_infovae.preprocessing.TabularPreprocessor", "sk_infovae.InfoVAETransformer"):
        assert f'href="https://example.org/docs/generated/{name}.html"' in html


@over_pages
def test_pages_are_in_the_reference(name):
    room, _, own = name.rpartition(".")
    reference = Path(sk_infovae.__file__).parents[1] / "docs" / "api.rst"
    section = reference.read_text().split(f".. currentmodule:: {room}\n")[1]
    assert f"   {own}\n" in section.split(".. currentmodule::")[0]


def test_no_link_without_a_site(monkeypatch):
    monkeypatch.setattr(metadata, "metadata", lambda _: Message())
    assert VAE._get_doc_link() == ""
    assert "?Documentation" not in VAE._repr_html_()

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", missing)
    assert VAE._get_doc_link() == ""


def test_no_page_for_a_class_of_a_users_own(site):
    assert Own()._get_doc_link() == ""
