"""A session that starts from classes laid out in one file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from spark_profiles.engine import jars, session
from spark_profiles.errors import PlatformError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO, Any

MAPPED = """
from pathlib import Path
from spark_profiles.engine import session
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
    subprocess.run([sys.executable, "-m", "spark_profiles.running.cold_start"], env=env, check=True)
    assert mapped()


def test_jars_that_cannot_be_fetched_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, stdout: IO[bytes], **__: Any) -> None:
        stdout.write(b":: unresolved dependency: io.delta#delta-spark: not found\n")

    monkeypatch.delenv("SPARK_PROFILES_JARS", raising=False)
    monkeypatch.setattr(jars.subprocess, "run", refused)
    with pytest.raises(PlatformError, match=r"(?s)could not be reached.*SPARK_PROFILES_JARS"):
        jars.delta(tmp_path, tmp_path)
    monkeypatch.setenv("SPARK_PROFILES_JARS", "one.jar,other.jar")
    assert jars.delta(tmp_path, tmp_path) == {"spark.jars": "one.jar,other.jar"}
