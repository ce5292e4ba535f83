"""Files that nobody wrote: damaged ones, and forged ones whose checksum is right."""

import io
import json
import struct

import numpy as np
import pandas as pd
from safetensors.numpy import save

from sk_infovae import InfoVAETransformer
from sk_infovae._files import container

HUGE = (10**6, 10**9, 10**12, 2**31, 2**63, 10**30)
STRANGE = (
    None, True, -1, 0, 1, *HUGE, 0.5, -1e308, "", "x", "cuda:0", "meta", "gaussian", "float64",
    "period[D]", "V1000000000", "datetime64[ns, dateutil//dev/stdin]", "../../etc/passwd", [], [[]],
    ["float64", [None], None], {}, {"tuple": []}, {"float": "1e400"}, {"array": "0"},
    {"array": "../0"}, {"named": "builtins:eval"}, {"named": "os:system"},
    {"object": ["subprocess:Popen", {"dict": [["args", "true"]]}]},
    {"object": ["Adam", {"dict": []}]}, {"named": "torch.optim.adam:Adam"},
    {"partial": [{"named": "builtins:exec"}, ["import this"], {"dict": []}]},
    {"range": [0, 10**15, 1, None]}, {"record": ["Schema", {}]}, {"record": ["object", {}]},
    {"timestamp": [0, "ns", "dateutil//dev/stdin"]}, {"polars": [["Object"], []]},
    {"polars": [["List"], []]}, {"pandas": ["(1000000000,)f8", [None], None]},
    {"objects": [[10**12], []]}, {"dtype": "V1000000000"}, {"dtype": "|O"},
)  # fmt: skip
"""Leaves of a forged description."""


def model():
    """Every kind of column, holes, levels, a critic."""
    rng = np.random.default_rng(0)
    n = 60
    X = pd.DataFrame(
        {
            "price": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "rooms": rng.integers(0, 9, n),
            "town": pd.Categorical(rng.choice(list("xyz"), n)),
            "when": pd.date_range("2020", periods=n, tz="Europe/Oslo"),
            "band": pd.cut(rng.normal(size=n), 3),
            "sign": rng.choice(["u", None, "v"], n),
        }
    )
    vae = InfoVAETransformer(
        hidden_layer_sizes=(4,), divergence="adversarial", max_epochs=1, random_state=0
    )
    return vae.fit(X), X


def written(vae):
    file = io.BytesIO()
    vae.save(file)
    return file.getvalue()


def damaged(data, rng):
    """Bytes flipped, cut off, left out, swapped, repeated, put in; headers of other lengths."""
    data = bytearray(data)
    a, b = sorted(rng.integers(0, len(data) + 1, 2).tolist())
    kind = rng.integers(8)
    if kind == 0:
        for place in rng.integers(0, len(data), rng.integers(1, 9)):
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[a:]
    elif kind == 2:
        del data[a : a + int(rng.integers(1, 99))]
    elif kind == 3:
        data[a:b] = bytes(reversed(data[a:b]))
    elif kind == 4:
        data[b:b] = data[a : a + 99]
    elif kind == 5:
        data[a:a] = rng.bytes(int(rng.integers(1, 99)))
    elif kind == 6:
        data[:8] = struct.pack("<Q", int(rng.choice([0, 1, 7, a, 10**8 + 1, 2**62])))
    else:
        place = int(rng.integers(0, min(len(data), 9_000)))
        data[place : place + 1] = bytes([int(rng.choice(list(b'{}[]",:0129')))])
    return bytes(data)


def places(tree, path=()):
    """Where every part of a description stands."""
    yield path
    if isinstance(tree, dict | list):
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(part, (*path, key))


def forged(data, rng):
    """The description or an array changed, and sealed again."""
    _, text, arrays = taken_apart(data)
    whole = json.loads(text)
    for _ in range(rng.integers(1, 4)):
        if rng.random() < 0.2:
            name = str(rng.choice(list(arrays)))
            arrays[name] = strange_array(arrays[name], rng)
            continue
        every = [path for path in places(whole) if len(path) > 1]
        *path, key = every[rng.integers(len(every))]
        parent = whole
        for step in path:
            parent = parent[step]
        if isinstance(parent, dict) and rng.random() < 0.2:
            del parent[key]
        elif isinstance(parent, list) and rng.random() < 0.2:
            parent.insert(key, parent[key])
        else:
            parent[key] = STRANGE[rng.integers(len(STRANGE))]
    return sealed(json.dumps(whole), arrays)


def strange_array(array, rng):
    kind = rng.integers(4)
    if kind == 0:
        return array.ravel()[:-1] if array.size else np.zeros(3)
    if kind == 1:
        return np.zeros((0, 10**9), np.float32)
    if kind == 2:
        return array.astype(np.float64 if array.dtype != np.float64 else np.int8)
    return np.full_like(array, 1 if array.dtype.kind in "bu" else -1)


def taken_apart(data):
    n_header = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + n_header])["__metadata__"][container.HEAD]
    arrays = container.unpack(data, "InfoVAETransformer", 1)[2]
    return head[: container.N_DIGITS], head[container.N_DIGITS :], dict(arrays)


def sealed(text, arrays):
    """A file with a right checksum, whatever it says."""
    arrays = {name: np.asarray(one, order="C") for name, one in arrays.items()}
    return save(arrays, {container.HEAD: container.checksum(text, arrays) + text})
