"""Build sdist and wheel into a folder, and look at what they carry.

The package with its ``py.typed`` and metadata, and nothing else: no tests, pictures or pages.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BESIDE = {"README.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "pyproject.toml", "setup.cfg"}


def strangers(names: list[str]) -> list[str]:
    """What is neither a module of the package nor metadata."""
    return [
        name
        for name in names
        if not (
            (name.startswith("sk_infovae/") and name.endswith((".py", "py.typed")))
            or name.startswith(("sk_infovae.egg-info/", "sk_infovae-"))
            or name in BESIDE
        )
    ]


def main(folder: str) -> int:
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, str(ROOT)], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    (sdist,), (wheel,) = Path(folder).glob("*.tar.gz"), Path(folder).glob("*.whl")
    with tarfile.open(sdist) as archive:
        files = [one.name for one in archive if one.isfile()]
    of_sdist = [name.partition("/")[2] for name in files]
    of_wheel = zipfile.ZipFile(wheel).namelist()
    own = {str(path.relative_to(ROOT)) for path in (ROOT / "sk_infovae").rglob("*.py")}
    own.add("sk_infovae/py.typed")
    faults = {
        f"{name} carries": strangers(names) for name, names in
        {"the sdist": of_sdist, "the wheel": of_wheel}.items()
    } | {"the wheel lacks": sorted(own - set(of_wheel))}  # fmt: skip
    for fault, found in faults.items():
        if found:
            print(f"{fault}: {found}")
    print(f"{sdist.name}: {len(of_sdist)} files, {wheel.name}: {len(of_wheel)}")
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
