"""What tests of several files share."""

import pytest


@pytest.fixture
def saved_figures(monkeypatch):
    """Give the list of matplotlib's figures that are saved from here on."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    saved, save = [], figure.savefig

    def keep(self, *args, **options):
        saved.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(figure, "savefig", keep)
    return saved
