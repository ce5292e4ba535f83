"""Run the Python blocks of README.md, top to bottom, in one namespace and a temporary folder.

A block after a line ``<!-- not-run: reason -->`` is skipped, and said to be.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(
    r"^(?:<!-- not-run: (?P<reason>.+?) -->\n+)?```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def main() -> int:
    text = README.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    if len(blocks) != len(re.findall(r"^\s*```python", text, re.MULTILINE)):
        print("README.md has a python block that is indented or not closed")
        return 1
    os.environ["MPLBACKEND"] = "Agg"
    namespace = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for block in blocks:
            line = text.count("\n", 0, block.start("code"))
            if block["reason"]:
                print(f"README.md:{line}: not run, {block['reason']}")
                continue
            start = time.perf_counter()
            # The empty lines make a traceback point into README.md.
            exec(compile("\n" * line + block["code"], str(README), "exec"), namespace)
            print(f"README.md:{line}: {time.perf_counter() - start:.1f} s", flush=True)
        os.chdir(README.parent)
    print(f"{len(blocks)} blocks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
