"""The page for people: imports and executions with progress, a profile and its history."""

from __future__ import annotations

import html
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

from spark_profiles.emulator import points
from spark_profiles.emulator.people import selected

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request

    from spark_profiles.emulator.store import Store

_MOST = 200

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Emulator</title>
<link rel="icon" href="data:,"><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem;
  color: #1c2330; background: #fff }}
h1 {{ font-size: 1.4rem; margin: 0 }} h2 {{ font-size: 1.05rem; margin: 2rem 0 .5rem }}
p {{ color: #566; margin: .2rem 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th {{ text-align: left; font-weight: 600; color: #566; border-bottom: 2px solid #d5dae2 }}
th, td {{ padding: .3rem .8rem .3rem 0; vertical-align: top }}
td {{ border-bottom: 1px solid #eceff3 }}
.n {{ text-align: right; font-variant-numeric: tabular-nums }}
.SUCCEEDED {{ color: #0a6b3d }} .FAILED, .bad {{ color: #b3261e }} .CANCELED {{ color: #777 }}
.RUNNING, .PENDING {{ color: #9a5b00 }} progress {{ width: 7rem; vertical-align: middle }}
form {{ display: flex; gap: .6rem; flex-wrap: wrap; align-items: end }}
label {{ display: grid; font-size: .85rem; color: #566 }}
input, button {{ font: inherit; padding: .35rem .6rem; border: 1px solid #b9c1cc;
  border-radius: 4px }}
button {{ background: #1f4fa3; color: #fff; border-color: #1f4fa3; cursor: pointer }}
pre {{ background: #f5f7fa; padding: .8rem; border-radius: 4px; overflow: auto; margin: .4rem 0 }}
</style></head><body><h1>Bulk imports</h1>
<p>An emulator on this machine, not the platform. Store: {store}</p>
<section id="executions">{executions}</section>
<h2>Look up a profile</h2>
<form><label>Datamart<input name="datamart" value="{datamart}" required></label>
<label>Compartment<input name="compartment" value="{compartment}"></label>
<label>Account<input name="account" value="{account}" required></label>
<button>Look up</button></form>
<section id="profile">{profile}</section>
<script>
const part = document.getElementById("executions");
setInterval(async () => {{
  if (document.hidden) return;
  try {{ part.innerHTML = await (await fetch("/_emulator/executions")).text(); }} catch (e) {{}}
}}, 1000);
</script></body></html>"""


class Page:
    """The handlers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def whole(self, request: Request) -> Response:
        """GET /."""
        asked = {name: request.query_params.get(name, "") for name in ("datamart", "account")}
        compartment = request.query_params.get("compartment", "")
        imports = self._store.imports()
        shown = {
            "datamart": asked["datamart"] or (imports[0]["datamart_id"] if imports else ""),
            "compartment": compartment,
            "account": asked["account"],
            "store": self._store.path.name,
        }
        escaped = {name: html.escape(text, quote=True) for name, text in shown.items()}
        profile = self._profile(asked["datamart"], compartment, asked["account"])
        page = _PAGE.format(**escaped, executions=self._executions(), profile=profile)
        return HTMLResponse(page)

    async def executions(self, _: Request) -> Response:
        """GET the part of the page that changes while executions go on."""
        return HTMLResponse(self._executions())

    def _executions(self) -> str:
        names = {one["id"]: str(one.get("name", "")) for one in self._store.imports()}
        rows = self._store.executions()
        if not rows:
            return "<p>No execution yet.</p>"
        head = _row(
            "th", "Import", "Execution", "Status", "Progress", ("n", "Succeeded"), ("n", "Failed"),
            ("n", "Bytes"), "Created",
        )  # fmt: skip
        body = "".join(self._execution(row, names) for row in rows[:_MOST])
        more = f"<p>{len(rows) - _MOST:,} older ones.</p>" if len(rows) > _MOST else ""
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>{more}"

    @staticmethod
    def _execution(row: sqlite3.Row, names: dict[str, str]) -> str:
        number = str(row["import_id"])
        name = html.escape(names.get(number, "deleted"))
        status = html.escape(row["status"])
        message = html.escape(row["message"] or "")
        return _row(
            "td",
            f"{number} {name}",
            str(row["id"]),
            f'<span class="{status}" title="{message}">{status}</span>',
            f'<progress max="{max(1, row["bytes"])}" value="{row["bytes_done"]}"></progress>',
            ("n", f"{row['succeeded']:,}"),
            ("n bad" if row["failed"] else "n", f"{row['failed']:,}"),
            ("n", f"{row['bytes']:,}"),
            _time(row["created"]),
        )

    def _profile(self, datamart: str, compartment: str, account: str) -> str:
        if not account:
            return ""
        selector = f"user_account_id={account}"
        selector = f"compartment_id={compartment},{selector}" if compartment else selector
        kind, value = selected(selector, self._store.behaviour)
        point = points.find(self._store.db, datamart, kind, value)
        if point is None:
            return "<p>Nobody has this account here.</p>"
        hyper = points.hyper_reasons(self._store.db, datamart, point)
        known = points.identifiers_of(self._store.db, datamart, point)
        told = [
            f"<p>User point {html.escape(point)}: identifiers: {len(known) - 1}."
            + (
                f' <span class="bad">Hyper point: {html.escape("; ".join(hyper))}.</span>'
                * bool(hyper)
            )
            + "</p>"
        ]
        profiles = self._store.profiles_of(datamart, "point", point) or []
        told += [f"<pre>{_json(one)}</pre>" for one in profiles] or ["<p>No profile.</p>"]
        rows = "".join(_step(step) for step in self._store.history(datamart, point))
        head = _row("th", "When", "What", "Profile", "Execution", ("n", "Line"), "Then")
        return (
            "".join(told) + "<h2>Its history, newest first</h2>"
            f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
        )


def _step(step: dict[str, Any]) -> str:
    then = f"<pre>{_json(json.loads(step['payload']))}</pre>" if step["payload"] else "removed"
    key = "/".join(filter(None, (step["compartment"], step["account"])))
    return _row(
        "td",
        _time(step["at"]),
        step["operation"],
        html.escape(key),
        str(step["execution"]),
        ("n", str(step["line"])),
        f"<details><summary>show</summary>{then}</details>" if step["payload"] else then,
    )


def _row(cell: str, *contents: str | tuple[str, str]) -> str:
    cells = (one if isinstance(one, tuple) else ("", one) for one in contents)
    inside = "".join(
        f'<{cell} class="{kind}">{content}' if kind else f"<{cell}>{content}"
        for kind, content in cells
    )
    return f"<tr>{inside}</tr>"


def _json(content: Any) -> str:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    return html.escape(text.encode("utf-8", "backslashreplace").decode())


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, tz=timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
