"""Bars of the first table under "Maps" in docs/figures.md, for docs/compare.md.

    python benchmarks/compare_picture.py [PNG]

Nothing is measured: the picture shows what stands on that page, and is drawn anew where the page
changes. PNG is docs/images/compare.png where it is not given.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

DOCS = Path(__file__).resolve().parent.parent / "docs"
METHODS = {
    "PCA": ("PCA", "#999999", ""),
    "UMAP": ("UMAP", "#56B4E9", "//"),
    "InfoVAE": ("InfoVAE, defaults", "#E69F00", ".."),
    "with neighbours": ("InfoVAE with neighbours", "#D55E00", ""),
}
"""Column of the table: label, colour, hatch."""


def read_table(text):
    """Names of the tables, and the figures of each method."""
    section = text.split("\n## Maps\n")[1].split("\n## ")[0]
    lines = section[section.index("\n|") + 1 :].split("\n\n")[0].splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    return columns[""], {name: [float(cell) for cell in columns[name]] for name in METHODS}


def draw(tables, figures, path):
    """A group of bars for each table."""
    figure, ax = plt.subplots(figsize=(10, 4.4), layout="constrained")
    at = np.arange(len(tables))
    for k, (name, (label, colour, hatch)) in enumerate(METHODS.items()):
        place = at + 0.21 * (k - 1.5)
        ax.bar(place, figures[name], 0.2, color=colour, hatch=hatch, edgecolor="w", label=label)
        for x, value in zip(place, figures[name], strict=True):
            ax.text(x, max(value, 0) + 0.012, f"{value:.3f}", rotation=90, ha="center",
                    va="bottom", fontsize=8)  # fmt: skip
    ax.axhline(0, color="0.2", lw=0.8)
    ax.set_xticks(at, [name.split(",")[0].replace(" (", "\n(") for name in tables])
    ax.set(ylabel="accuracy, or R2 where it says so", ylim=(-0.03, 1.28))
    ax.set_yticks(np.arange(0, 1.01, 0.2))
    ax.set_title("Maps of two dimensions: what nearest neighbours say of new rows")
    ax.legend(ncols=4, loc="upper center")
    figure.savefig(path, dpi=110)


def main():
    """Read the table, draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, nargs="?", default=DOCS / "images" / "compare.png")
    path = parser.parse_args().path
    draw(*read_table((DOCS / "figures.md").read_text(encoding="utf-8")), path)
    print(f"picture: {path}")


if __name__ == "__main__":
    main()
