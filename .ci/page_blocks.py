"""Run the Python blocks of README.md and of the pages in docs, as a reader follows them.

Each page runs top to bottom in a namespace and a temporary folder of its own, so that no name comes
from another page. A block after a line ``<!-- not-run: reason -->`` is skipped, and said to be.
Arguments are the pages to run, all of them by default.
"""

import os
import re
import sys
import tempfile
import time
import traceback
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"^(?:<!-- not-run: (?P<reason>.+?) -->\n+)?```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def run_page(page: Path, name: str) -> int:
    """Run the blocks of one page; how many there are."""
    text = page.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    if len(blocks) != len(re.findall(r"^\s*(?:`{3,}|~{3,}) *\{?[\w-]*py", text, re.MULTILINE)):
        raise ValueError(f"{name} has a python block that is indented, not closed or not ```python")
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module  # where import finds what the page defines
    for block in blocks:
        line = text.count("\n", 0, block.start("code"))
        if block["reason"]:
            print(f"{name}:{line}: not run, {block['reason']}", flush=True)
            continue
        start = time.perf_counter()
        # The empty lines make a traceback point into the page.
        exec(compile("\n" * line + block["code"], str(page), "exec"), vars(module))
        print(f"{name}:{line}: {time.perf_counter() - start:.1f} s", flush=True)
    return len(blocks)


def main(arguments: list[str]) -> int:
    os.environ["MPLBACKEND"] = "Agg"
    pages = [Path(argument).resolve() for argument in arguments]
    failed, n_blocks, start = [], 0, time.perf_counter()
    for page in pages or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        name = os.path.relpath(page, ROOT)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                n_blocks += run_page(page, name)
            except Exception:
                traceback.print_exc()
                failed.append(name)
            finally:
                os.chdir(ROOT)
    print(f"{n_blocks} blocks, {time.perf_counter() - start:.0f} s")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
