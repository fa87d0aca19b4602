"""The emulator's page, as a person sees it, in a real browser; it makes the manual's picture."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from import_files import body_of, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spark_profiles.emulator.server import Emulator

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "emulator.png"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--force-device-scale-factor=1", "--hide-scrollbars", "--window-size=1120,900",
]  # fmt: skip
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="Chromium and its driver are not on this machine"
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    os.environ["SE_OFFLINE"] = "true"
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """A browser that looks at nothing; what it complains of is of this test alone."""
    yield chromium
    chromium.get("about:blank")  # the page would go on asking an emulator that has ended
    chromium.get_log("browser")


def send(emulator: Emulator, name: str, profiles: dict[str, dict[str, Any]], last: str = "") -> int:
    import httpx

    with httpx.Client(base_url=emulator.url, headers={"Authorization": "x"}) as client:
        imports = "/v1/datamarts/1500/document_imports"
        new = {"document_type": "USER_PROFILE", "mime_type": "APPLICATION_X_NDJSON", "name": name}
        number = client.post(imports, json=new).json()["data"]["id"]
        kind = {"Content-Type": "application/x-ndjson"}
        body = body_of(profiles) + last.encode()
        answer = client.post(f"{imports}/{number}/executions", content=body, headers=kind)
        return int(answer.json()["data"]["id"])


def profile(account: str, **more: Any) -> dict[str, dict[str, Any]]:
    return {account: {"$compartment_id": 1, "$user_account_id": account, **more}}


def rows_of(browser: Any) -> list[str]:
    """The rows of the executions, read at one go: the page renews them each second."""
    script = "return [...document.querySelectorAll('#executions tbody tr')].map(r => r.innerText)"
    return list(browser.execute_script(script))


def ended(emulator: Emulator) -> bool:
    return not emulator.store.open_executions()


def test_a_person_sees_executions_a_profile_and_its_history(
    datamart_emulator: Emulator, browser: Any, pytestconfig: pytest.Config
) -> None:
    emulator = datamart_emulator
    send(emulator, "shop 2026-11-23", profile("c1", firstname="Ada", loyalty="SILVER"))
    wait_for(lambda: ended(emulator))
    people = {f"c{n}": profile(f"c{n}", loyalty="GOLD")[f"c{n}"] for n in range(1, 400)}
    send(emulator, "shop 2026-11-24", people, last='{"operation":"MERGE"}\n')
    wait_for(lambda: ended(emulator))
    emulator.faults.execution_seconds = 600.0
    send(emulator, "shop <b>2026-11-25</b>", profile("c1"))
    browser.get(f"{emulator.url}/?datamart=1500&compartment=1&account=c1")
    newest, second, _ = rows_of(browser)
    assert "shop <b>2026-11-25</b>" in newest, "names are shown as they are, not as markup"
    assert "PENDING" in newest
    assert "SUCCEEDED" in second
    assert "399" in second
    shown = browser.find_element("id", "profile").text
    assert '"loyalty": "GOLD"' in shown
    assert [
        row.find_elements("tag name", "td")[3].text
        for row in browser.find_elements("css selector", "#profile tbody tr")
    ] == ["2", "1"], "the history, newest first"
    browser.find_element("css selector", "#profile tbody tr:nth-child(2) summary").click()
    assert '"loyalty": "SILVER"' in browser.find_element("id", "profile").text
    if pytestconfig.getoption("--write-docs"):
        browser.save_screenshot(str(PICTURE))
    assert browser.get_log("browser") == []


def test_the_page_goes_on_by_itself_and_its_form_finds_somebody_else(
    datamart_emulator: Emulator, browser: Any
) -> None:
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.wait import WebDriverWait

    emulator = datamart_emulator
    emulator.faults.execution_seconds = 600.0
    send(emulator, "shop", profile("c1"))
    browser.get(f"{emulator.url}/?datamart=1500&compartment=1&account=c1")
    emulator.faults.execution_seconds = 0.0
    wait_for(lambda: "PENDING" not in rows_of(browser)[0])
    field = browser.find_element("name", "account")
    field.clear()
    field.send_keys("nobody")
    browser.find_element("css selector", "form button").click()
    # Between two pages there is nothing to find.
    WebDriverWait(browser, 60, ignored_exceptions=[WebDriverException]).until(
        lambda page: "Nobody has this account here" in page.find_element("id", "profile").text
    )
    assert browser.get_log("browser") == []
