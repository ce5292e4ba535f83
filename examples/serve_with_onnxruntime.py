"""
Serving without torch
=====================

An embedding of a mixed table as an ONNX graph: strings and numbers in, a code out. The graph needs
onnxruntime alone, on a machine that knows neither torch nor this package. To write it takes
``pip install "sk-infovae[onnx]" onnxruntime``. Printed are the milliseconds of one row, by the
graph and by the estimator, which reads an array faster than a DataFrame. The graph gives the
estimator's codes to seven digits, and needs about a tenth of its time for an array and a fiftieth
for a DataFrame.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from sk_infovae import InfoVAETransformer
from sk_infovae.datasets import make_mixed_table

REPEATS = 300

X = make_mixed_table(n_samples=2000, random_state=0)
X = X[[name for name in X.columns if X[name].dtype.kind != "M"]]  # ONNX has no times
vae = InfoVAETransformer(4, max_epochs=20, random_state=0).fit(X)

path = Path(tempfile.mkdtemp()) / "embedding.onnx"
vae.export_onnx(path)
session = onnxruntime.InferenceSession(path)


def request(row):
    """One row of the table as the graph takes it: a tensor (1, 1) for each column."""
    feed = {}
    for one in session.get_inputs():
        cell = row[one.name].iloc[0]
        if one.type == "tensor(string)":
            feed[one.name] = np.array([["" if cell is None or cell != cell else cell]], object)
        else:
            dtype = {"tensor(double)": float, "tensor(bool)": bool}[one.type]
            feed[one.name] = np.array([[cell]], dtype)
    return feed


def milliseconds(call):
    """Median over the repeats."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


row = X.iloc[:1]
feed = request(row)
(code,) = session.run(None, feed)
print("largest difference:", np.abs(code - vae.transform(row)).max())
print(f"graph: {milliseconds(lambda: session.run(None, feed)):.3f} ms a row")
print(f"estimator: {milliseconds(lambda: vae.transform(row)):.2f} ms a row, a DataFrame of one")
numbers = X.select_dtypes("number").to_numpy(float)
of_numbers = InfoVAETransformer(4, max_epochs=20, random_state=0).fit(numbers)
one = numbers[:1]
print(f"estimator: {milliseconds(lambda: of_numbers.transform(one)):.2f} ms a row, an array of one")
print(f"file: {path.stat().st_size / 1e3:.0f} KB")
