"""A session that starts from classes laid out in one file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from spark_profiles import session

if TYPE_CHECKING:
    from pathlib import Path

MAPPED = """
from pathlib import Path
from spark_profiles import session
jvm = session.local_session("test")._jvm.java.lang.ProcessHandle.current().pid()
print(Path(f"/proc/{jvm}/maps").read_text())
"""


@pytest.mark.large
@pytest.mark.jvm
def test_sessions_read_the_classes_that_were_laid_out(tmp_path: Path) -> None:
    shutil.copytree(session.cache_folder() / "ivy", tmp_path / "ivy")
    env = {**os.environ, "SPARK_PROFILES_CACHE": str(tmp_path)}

    def mapped() -> bool:
        asked = [sys.executable, "-c", MAPPED]
        told = subprocess.run(asked, env=env, capture_output=True, text=True, check=True)
        return str(tmp_path / "classes.jsa") in told.stdout

    assert not mapped()
    subprocess.run([sys.executable, "-m", "spark_profiles.cold_start"], env=env, check=True)
    assert mapped()
