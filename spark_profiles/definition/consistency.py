"""A definition -> what no member of it can know alone, without Spark and without tables.

Names that refer to each other, names that clash, expressions that may not stand where they do.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spark_profiles.definition import sql, values
from spark_profiles.definition.delivery import REPLACING
from spark_profiles.definition.language import Over, expressions, listed, nearest
from spark_profiles.definition.model import (
    CONSENTS,
    SYSTEM_NAMES,
    Definition,
    Derived,
    OwnValue,
    Survivor,
)
from spark_profiles.definition.operations import Aggregate
from spark_profiles.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from spark_profiles.definition.model import Section


@dataclass(frozen=True)
class Known:
    """Names that stand in the text, even where what bears them is wrong and was set aside."""

    sources: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    consents: tuple[str, ...] = ()


def problems(definition: Definition, also: Known | None = None) -> list[Problem]:
    """All of them; where a problem is, is the dotted place."""
    also = also or Known()
    found = [
        *_sources(definition, {*definition.sources, *also.sources}),
        *_names(definition.profile, ("profile",)),
        *_fields(definition),
        *_times(definition),
        *_expressions(definition),
        *_formulas(definition, also.paths),
        *_consents(definition),
        *_purposes(definition, {*definition.consents, *also.consents}),
    ]
    return list(dict.fromkeys(found))


def own_places(definition: Definition) -> Iterator[tuple[str, str, str]]:
    """Place, source and expression of each value of the user's own rows, identifiers included."""
    for number, identifier in enumerate(definition.identifiers):
        is_list = isinstance(definition.identifier, tuple)
        head = f"identifier.{number}" if is_list else "identifier"
        yield from _own(definition, f"{head}.{identifier.kind}", identifier.claim)
    account = definition.profile_keys.user_account_id
    if account is not None:
        yield from _own(definition, "profile_keys.user_account_id", account)
    for name, own in definition.profile_keys.instants.items():
        yield from _own(definition, f"profile_keys.{name}", own)
    for path, prop in definition.properties():
        if isinstance(prop, OwnValue):
            yield from _own(definition, f"{values.place(path)}.value", prop.value)
        elif isinstance(prop, Survivor):
            yield from _own(definition, f"{values.place(path)}.survivor", prop.survivor)


def _own(
    definition: Definition, place: str, own: str | Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    if isinstance(own, str):
        for source in definition.spine:
            yield place, source, own
    else:
        for source, text in own.items():
            yield f"{place}.{source}", source, text


def _sources(definition: Definition, known: set[str]) -> Iterator[Problem]:
    """Names of sources that are none, and sources that cannot give what is asked of them."""
    for number, name in enumerate(definition.spine):
        place = "users" if isinstance(definition.users, str) else f"users.{number}"
        if name in definition.spine[:number]:
            yield Problem(place, f"{name} is named twice", "each source once", "take one out")
        elif name not in known:
            yield _unknown(place, name, known)
    for place, name, _ in own_places(definition):
        yield from _own_source(definition, place, name, known)
    for path, prop in definition.properties():
        if isinstance(prop, Aggregate) and prop.source not in known:
            yield _unknown(f"{values.place(path)}.from", prop.source, known)


def _own_source(
    definition: Definition, place: str, name: str, known: set[str]
) -> Iterator[Problem]:
    if name not in known and name not in definition.spine:
        yield _unknown(place, name, known)
    elif name in definition.sources and not _has_one_row(definition, name):
        yield Problem(
            place,
            f"{name} may have many rows a user",
            "a source of users, or one with latest_by or row_id and time",
            f"add latest_by to sources.{name}, or use {{from: {name}, last: …}}",
        )


def _has_one_row(definition: Definition, name: str) -> bool:
    source = definition.sources[name]
    in_time = bool(source.row_id) and source.time is not None
    return bool(source.latest_by) or in_time or (name in definition.spine and not source.row_id)


def _unknown(place: str, found: str, known: set[str]) -> Problem:
    expected = f"one of {listed(sorted(known))}" if known else "a source under sources"
    return Problem(place, f"no source {found!r}", expected, nearest(found, known))


def _names(section: Section, path: tuple[str, ...]) -> Iterator[Problem]:
    """Names that cannot be written, or that a reader takes for each other."""
    yield from _clashes(section, path)
    for name, node in section.items():
        if isinstance(node, dict):
            if not node:
                yield Problem(
                    ".".join((*path, name)), "an empty section", "properties", "take it out"
                )
            yield from _names(node, (*path, name))


def _clashes(names: Iterable[str], path: tuple[str, ...]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name in names:
        place = ".".join((*path, name))
        if name in SYSTEM_NAMES:
            yield Problem(
                place,
                f"{name} is set by the platform or by profile_keys",
                "another name",
                f"write {name.strip('$')}",
            )
        elif name.startswith("$"):
            yield Problem(
                place,
                f"{name!r} begins with $, as the platform's own",
                "another name",
                "leave out the $",
            )
        elif not name.strip() or name != name.strip():
            yield Problem(
                place,
                f"the name {name!r} begins or ends blank",
                "a name without blanks",
                "take the blanks out",
            )
        elif "." in name or "`" in name:
            remedy = "a part of a profile is a section: {a: {b: …}}" if "." in name else "rename it"
            yield Problem(place, f"{name!r} has a point or `", "a name without . and `", remedy)
        elif (former := seen.get(_folded(name))) is not None:
            yield Problem(
                place,
                _likeness(former, name),
                "names that differ",
                "rename one: tables and readers do not tell them apart",
            )
        seen.setdefault(_folded(name), name)


def _likeness(former: str, name: str) -> str:
    if former == name:
        return f"{name} is named twice"
    is_case = former.casefold() == name.casefold()
    return f"{former} and {name} differ only in {'case' if is_case else 'how accents are encoded'}"


def _folded(name: str) -> str:
    """The name without what readers do not tell apart: case, and how accents are encoded."""
    return unicodedata.normalize("NFC", name).casefold()


def _fields(definition: Definition) -> Iterator[Problem]:
    """Names of the members of records and objects, and windows named twice."""
    for path, prop in definition.properties():
        if isinstance(prop, Aggregate):
            yield from _clashes(prop.fields, (values.place(path), "fields"))
            yield from _clashes(prop.categories, (values.place(path), "categories"))
            twice = sorted({name for name in prop.windows if prop.windows.count(name) > 1})
            if twice:
                found = f"{', '.join(twice)} more than once"
                yield Problem(
                    f"{values.place(path)}.windows", found, "each window once", "take one out"
                )


def _times(definition: Definition) -> Iterator[Problem]:
    """Values that need to know when a row happened, over a source that does not say it."""
    for path, prop in definition.properties():
        asked: dict[str, str] = {}
        if isinstance(prop, Aggregate):
            if which := prop.needs_time:
                asked = {prop.source: f"{which} over {prop.source}"}
        elif isinstance(prop, Survivor) and prop.by == "newest":
            asked = {name: f"newest among {name}" for name in prop.survivor}
        for name, what in asked.items():
            source = definition.sources.get(name)
            if source is not None and source.time is None:
                yield Problem(
                    values.place(path),
                    f"{what}, which has no time",
                    "a source with time: <column>",
                    f"add time: to sources.{name}",
                )


def _expressions(definition: Definition) -> Iterator[Problem]:
    judged: dict[tuple[str, Over], list[sql.Fault]] = {}  # hundreds of values share a condition
    for place, text, over in expressions(definition):
        if over is Over.VALUES:
            continue
        if (text, over) not in judged:
            judged[text, over] = sql.faults(text, aggregate=over is Over.ROWS)
        for fault in judged[text, over]:
            where = ".".join(map(str, place))
            yield Problem(where, f"`{text}`: {fault.found}", f"Spark SQL over {over.value}",
                          fault.remedy)  # fmt: skip


def _formulas(definition: Definition, also: Iterable[str]) -> Iterator[Problem]:
    """Derived values that name no value, or themselves through others."""
    columns = values.paths(definition)
    known = {path: columns.get(path, f"sp_unknown_{n}") for n, path in enumerate(
        dict.fromkeys([*columns, *also]))}  # fmt: skip
    named: dict[str, list[str]] = {}
    for path, prop in definition.properties():
        if not isinstance(prop, Derived):
            continue
        place = f"{values.place(path)}.derive"
        named[".".join(path)] = sql.references(prop.derive, known)
        unknown = _unknown_names(prop.derive, known)
        for name in unknown:
            near = nearest(name, known)
            yield Problem(place, f"no value {name!r}", "the dotted path of a value", near)
        for fault in [] if unknown else sql.faults(sql.replaced(prop.derive, known)):
            yield Problem(place, f"`{prop.derive}`: {fault.found}", "a Spark SQL expression",
                          fault.remedy)  # fmt: skip
    for name, circle in _circles(named).items():
        yield Problem(
            f"profile.{name}.derive",
            f"depends on itself: {' -> '.join(circle)}",
            "values that do not name each other in a circle",
            "write one of them over the source",
        )


_OF_WRITTEN = ("default", "nulls", "scale", "bands", "windows", "per", "tiles", "trend", "purpose")
"""Members of a property that make many values of it, or say how it is written."""


def _consents(definition: Definition) -> Iterator[Problem]:
    """Consents that are not one value, or that rest on what is known too late."""
    paths = values.paths(definition)
    late = {
        ".".join(path)
        for path, prop in definition.properties()
        if isinstance(prop, Derived) or getattr(prop, "tiles", None)
    }
    for purpose, consent in definition.consents.items():
        place = f"consents.{purpose}"
        for name in _OF_WRITTEN:
            if name in consent.chosen:
                expected = "one value, true or false; what is unknown is no consent"
                yield Problem(f"{place}.{name}", f"{name} of a consent", expected, f"remove {name}")
        if isinstance(consent, Derived):
            for path in values.named(consent.derive, paths):
                if any(path == name or path.startswith(f"{name}.") for name in late):
                    yield Problem(
                        f"{place}.derive",
                        f"{path} is derived, or a rank",
                        "values of rows only",
                        "say here what it is derived from",
                    )


def _purposes(definition: Definition, known: set[str]) -> Iterator[Problem]:
    """Purposes that nobody can consent to, and ways by which values get round the consent."""
    by_column = values.properties_by_column(definition)
    gated = {path: by_column[c].purposes for path, c in values.paths(definition).items()}
    for path, prop in definition.properties():
        for name in prop.purposes:
            if name not in known:
                expected = (
                    f"one of {listed(sorted(known))}" if known else "a consent under consents"
                )
                place = f"{values.place(path)}.purpose"
                yield Problem(place, f"no consent {name!r}", expected, nearest(name, known))
    for path, prop in definition.properties():
        if isinstance(prop, Derived) and path[0] != CONSENTS:
            yield from _leaks(values.place(path), prop, gated)
    strategy = definition.delivery.strategy
    if any(gated.values()) and strategy not in REPLACING:
        yield Problem(
            "delivery.strategy",
            f"{strategy}, with properties that need a consent",
            f"one of {', '.join(REPLACING)}",
            "only a replacement takes away what a user no longer consents to",
        )


def _leaks(place: str, prop: Derived, gated: Mapping[str, tuple[str, ...]]) -> Iterator[Problem]:
    for path in values.named(prop.derive, gated):
        lacking = sorted(set(gated[path]) - set(prop.purposes))
        if lacking:
            yield Problem(
                f"{place}.derive",
                f"{path} is for {', '.join(gated[path])}",
                "the same purposes for what is derived from it",
                f"add purpose: [{', '.join(sorted({*lacking, *prop.purposes}))}]",
            )


def _unknown_names(formula: str, known: Mapping[str, str]) -> list[str]:
    text = sql.replaced(formula, known)
    dotted = [name for name in sql.dotted_names(text) if "." in name]
    named = [name for name in sql.columns(text) if not any(d.startswith(name) for d in dotted)]
    return list(dict.fromkeys([*dotted, *(n for n in named if n not in known.values())]))


def _circles(named: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """For each value that depends on itself: the way round."""
    circles = {}
    for start in named:
        ways = [[start, name] for name in named[start]]
        seen: set[str] = set()
        while ways:
            way = ways.pop(0)
            if way[-1] == start:
                circles[start] = way
                break
            if way[-1] not in seen:
                seen.add(way[-1])
                ways += [[*way, name] for name in named.get(way[-1], [])]
    return circles
