"""The driver's side on S3: real requests over a socket. Spark's part is played by the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from linework import ABOUT

from spark_profiles import stores
from spark_profiles.errors import DefinitionError, IntegrityError, PlatformError
from spark_profiles.files import fileplan, verify, writing
from spark_profiles.files.packing import Grain, Limits

if TYPE_CHECKING:
    from spark_profiles.stores import Folder

RUN = "s3a://import/shop/run_id=1"
PLANNED = fileplan.plan([Grain("UPSERT", n, n, 1, 60, 60) for n in range(3)], Limits(100))
LINE = b'{"operation":"UPSERT","email_hash":"%d","user_profile":{}}'


def _as_spark_writes(planned: fileplan.Plan, folder: Folder) -> tuple[()]:
    for number, file in enumerate(planned.files):
        folder.write(f"part-{number:05d}-c000.txt", (LINE % number).ljust(file.bytes - 1) + b"\n")
    folder.write("_SUCCESS", b"")
    return ()


def keys(client: object) -> list[str]:
    found = client.list_objects_v2(Bucket="import").get("Contents", [])  # type: ignore[attr-defined]
    return sorted(item["Key"] for item in found if not item["Key"].endswith("/"))


def write(location: str = RUN) -> None:
    writing.write(_as_spark_writes, PLANNED, stores.folder(location), ABOUT)


def test_files_are_written_verified_and_found_wrong(s3: object) -> None:
    write()
    names = [f"shop/run_id=1/operation=UPSERT/profiles-0000{n}-of-00003.ndjson" for n in (1, 2, 3)]
    assert keys(s3) == ["shop/run_id=1/manifest.json", *names]
    assert verify.verify(f"{RUN}/manifest.json").lines == 3
    with pytest.raises(DefinitionError, match="is taken"):
        write()
    s3.put_object(Bucket="import", Key=names[0], Body=b"[]\n")  # type: ignore[attr-defined]
    s3.delete_object(Bucket="import", Key=names[1])  # type: ignore[attr-defined]
    with pytest.raises(IntegrityError) as caught:
        verify.verify(RUN)
    told = [str(problem) for problem in caught.value.problems]
    assert any("is not there" in text for text in told)
    assert any("SHA-256" in text for text in told)


@pytest.mark.parametrize("step", ["move", "write"])
def test_what_breaks_off_has_no_manifest_and_is_cleaned_by_the_next(
    s3: object, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refused(self: Folder, *arguments: object) -> None:
        message = "When completing: AWS Error ACCESS_DENIED during PutObject: Access Denied"
        raise OSError(message)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "discard", lambda *a, **k: None)  # as if killed: nothing is cleaned
        if step == "move":
            patch.setattr(stores.Folder, "move", refused)
        else:
            patch.setattr(stores.Folder, "write", _only_parts(stores.Folder.write))
        with pytest.raises(PlatformError, match="no permission to write"):
            write()
    assert keys(s3)
    assert "shop/run_id=1/manifest.json" not in keys(s3)
    write()
    assert len(keys(s3)) == 4
    assert verify.verify(RUN).files == 3


def _only_parts(write: object) -> object:
    def refused(self: Folder, name: str, content: bytes) -> None:
        if name == writing.MANIFEST:
            message = "AWS Error ACCESS_DENIED during PutObject"
            raise OSError(message)
        write(self, name, content)  # type: ignore[operator]

    return refused


def test_a_bucket_that_is_not_there_is_told(s3: object) -> None:
    with pytest.raises(PlatformError, match="could not be written") as caught:
        write("s3://nowhere/shop/run_id=1")
    assert caught.value.exit_code == 5
