"""Tables of the manual that are printed from the code: `--write-docs` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spark_profiles.delivery import metrics, outcomes
from spark_profiles.emulator import behaviour, faults

DOCS = Path(__file__).parent.parent / "docs"


def table_of_metrics() -> str:
    return "".join(f"{line}\n" for line in str(metrics.__doc__).splitlines() if line[:1] == "|")


PARTS = {
    ("upload.md", "outcomes"): outcomes.as_markdown,
    ("upload.md", "metrics"): table_of_metrics,
    ("emulator.md", "faults"): faults.as_markdown,
    ("emulator.md", "switches"): behaviour.as_markdown,
}


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_the_manual_says_what_the_code_does(
    name: str, part: str, pytestconfig: pytest.Config
) -> None:
    path, wanted = DOCS / name, PARTS[name, part]()
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {part} -->\n)(.*?)(<!-- end -->)", re.DOTALL)
    (found,) = pattern.findall(text)
    if pytestconfig.getoption("--write-docs"):
        path.write_text(pattern.sub(lambda m: m[1] + wanted + m[3], text), encoding="utf-8")
        return
    assert found[1] == wanted, "pytest tests/test_generated_docs.py --write-docs"
