"""Have pyright look at a user's lines, with the wheel for all that it sees of the package."""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


def main(wheel: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        zipfile.ZipFile(wheel).extractall(place / "site")
        shutil.copy(Path(__file__).with_name("user_types.py"), place)
        settings = {"extraPaths": ["site"], "include": ["user_types.py"]}
        settings |= {"typeCheckingMode": "standard", "reportUnnecessaryTypeIgnoreComment": "error"}
        (place / "pyrightconfig.json").write_text(json.dumps(settings))
        command = ["pyright", "--pythonpath", sys.executable, "--project", folder]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
