"""The models: the same from YAML and Python, their hash, their JSON Schema."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import spark_profiles as sp
from spark_profiles.definition import documents, json_schema, loader
from spark_profiles.errors import DefinitionError

ROOT = Path(__file__).parent.parent
WHOLE: dict[str, Any] = {
    "name": "shop",
    "time_zone": "Europe/Paris",
    "week_starts": "monday",
    "nulls": "omit",
    "empty_sections": "omit",
    "identifier": [
        {"compartment_id": "1606", "user_account_id": {"crm": "id"}},
        {"email_hash": {"crm": "email", "web": "lower(mail)"}, "hash": "sha512",
         "normalise": ["lower"]},
    ],
    "profile_keys": {"compartment_id": 1606, "user_account_id": "id"},
    "sources": {
        "crm": {"table": "crm.customers", "key": "id", "time": "at",
                "latest_by": ["at desc", "no asc"],
                "types": {"amount": "decimal(10,2)", "n": "int"},
                "accept": {"a": "x > 1", "b": {"condition": "y > 1", "severity": "warn"}}},
        "web": {"path": "web", "format": "csv", "options": {"header": "true", "sep": ";"},
                "key": "id", "time": "at", "row_id": ["x", "y"]},
        "db": {"format": "jdbc", "options": {"dbtable": "t"}, "secrets": {"password": "env:PW"},
               "key": "id", "latest_by": ["no"]},
    },
    "users": ["crm", "web"],
    "profile": {
        "first": {"value": "initcap( first_name )", "default": "?"},
        "mail": {"survivor": {"web": "mail", "crm": "email"}, "by": "newest"},
        "orders": {
            "count": {"from": "web", "count": True, "windows": ["30d", "lifetime"],
                      "where": "amount > 1 + n"},
            "last": {"from": "web", "latest": 2, "fields": {"x": "x", "y": "y"}},
            "top": {"from": "web", "top": "x", "k": 2, "by": "sum(n)"},
            "share": {"derive": "orders.count.30d / orders.count.lifetime", "scale": 2},
        },
    },
}  # fmt: skip


def hash_of(data: dict[str, Any]) -> str:
    return sp.parse_definition(data).definition_hash


def at(data: Any, path: str) -> tuple[Any, str]:
    *above, last = path.split("/")
    for key in above:
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data, last


SAME = {
    "sources in another order": lambda d: d.update(
        sources=dict(reversed(list(d["sources"].items())))
    ),
    "rules in another order": lambda d: d["sources"]["crm"].update(
        accept=dict(reversed(list(d["sources"]["crm"]["accept"].items())))
    ),
    "types in another order": lambda d: d["sources"]["crm"].update(
        types=dict(reversed(list(d["sources"]["crm"]["types"].items())))
    ),
    "options in another order": lambda d: d["sources"]["web"].update(
        options=dict(reversed(list(d["sources"]["web"]["options"].items())))
    ),
    "heads in another order": lambda d: d.update(name=d.pop("name"), users=d.pop("users")),
    "another place": lambda d: d["sources"]["crm"].update(table="test.customers"),
    "another path and format": lambda d: d["sources"]["web"].update(path="/x", format="parquet"),
    "another secret": lambda d: d["sources"]["db"].update(secrets={"password": "file:/x"}),
    "another rule that warns": lambda d: d["sources"]["crm"]["accept"]["b"].update(condition="z"),
    "a rule in its long form": lambda d: d["sources"]["crm"]["accept"].update(
        a={"condition": "x > 1", "severity": "refuse"}
    ),
    "defaults written out": lambda d: (
        d["profile"]["orders"]["count"].update(k=3, by="count(1)", max_age=None, fields={}),
        d["profile"]["first"].update(scale=None),
        d["sources"]["crm"].update(row_id=[], options={}),
        d["identifier"][1].update(compartment_id=None),
    ),
    "blanks and comments in expressions": lambda d: (
        d["profile"]["first"].update(value="  initcap(first_name) -- the name"),
        d["profile"]["orders"]["count"].update(where="amount>1+n"),
        d["identifier"][1]["email_hash"].update(web="lower( /* theirs */ mail )"),
        d["sources"]["crm"]["accept"].update(a="x>1"),
    ),
}  # fmt: skip
CHANGED: dict[str, Any] = {
    "name": "store",
    "time_zone": "UTC",
    "week_starts": "sunday",
    "nulls": "write",
    "empty_sections": "write",
    "identifier/0/compartment_id": "1",
    "identifier/0/user_account_id/crm": "no",
    "identifier/1/hash": "md5",
    "identifier/1/normalise": [],
    "identifier/1/email_hash/web": "mail",
    "profile_keys/compartment_id": 1,
    "profile_keys/user_account_id": "no",
    "sources/crm/key": "no",
    "sources/crm/time": "no",
    "sources/crm/latest_by": ["no asc", "at desc"],
    "sources/crm/types/n": "bigint",
    "sources/crm/accept/a": "x > 2",
    "sources/crm/accept/b/severity": "refuse",
    "sources/web/options/sep": ",",
    "sources/web/row_id": ["y", "x"],
    "users": ["web", "crm"],
    "profile/first/value": "initcap(last_name)",
    "profile/first/default": "??",
    "profile/mail/by": "order",
    "profile/mail/survivor": {"crm": "email", "web": "mail"},
    "profile/orders/count/where": "amount > 1 + m",
    "profile/orders/count/windows": ["lifetime", "30d"],
    "profile/orders/last/latest": 3,
    "profile/orders/last/fields": {"y": "y", "x": "x"},
    "profile/orders/top/k": 3,
    "profile/orders/top/by": "sum(amount)",
    "profile/orders/share/derive": "orders.count.lifetime / orders.count.30d",
    "profile/orders/share/scale": 3,
    "profile": dict(reversed(list(WHOLE["profile"].items()))),
}


@given(st.lists(st.sampled_from(sorted(SAME)), unique=True))
@settings(max_examples=40, deadline=None)
def test_the_hash_does_not_see_what_does_not_matter(names: list[str]) -> None:
    data = copy.deepcopy(WHOLE)
    for name in names:
        SAME[name](data)
    assert hash_of(data) == hash_of(WHOLE)


@given(st.sets(st.sampled_from(sorted(CHANGED)), min_size=1, max_size=3),
       st.lists(st.sampled_from(sorted(SAME)), unique=True, max_size=3))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_hash_sees_every_choice(paths: set[str], names: list[str]) -> None:
    data = copy.deepcopy(WHOLE)
    for name in names:
        SAME[name](data)
    for path in sorted(paths, key=len, reverse=True):
        holder, last = at(data, path)
        holder[last] = CHANGED[path]
    assert hash_of(data) != hash_of(WHOLE)


@pytest.mark.parametrize("path", sorted(CHANGED))
def test_each_choice_alone_changes_the_hash(path: str) -> None:
    data = copy.deepcopy(WHOLE)
    holder, last = at(data, path)
    assert json.dumps(holder[last]) != json.dumps(CHANGED[path])
    holder[last] = CHANGED[path]
    assert hash_of(data) != hash_of(WHOLE)


def test_yaml_model_mapping_and_json_are_one_definition() -> None:
    definition = loader.parse_yaml(yaml.safe_dump(WHOLE, sort_keys=False))
    for text in (definition.model_dump(by_alias=True), definition.model_dump(),
                 definition.model_dump(by_alias=True, exclude_defaults=True),
                 json.loads(definition.model_dump_json(by_alias=True))):  # fmt: skip
        again = sp.parse_definition(text)
        assert again == definition
        assert again.definition_hash == definition.definition_hash
    assert sp.parse_definition(WHOLE) == definition


def test_models_of_python_are_the_same_as_their_yaml() -> None:
    (text,) = [b for b in documents_of("python") if "sp.Definition(" in b]
    names: dict[str, Any] = {}
    exec(text, names)
    assert names["definition"] == loader.parse_yaml(
        """
name: shop
time_zone: Europe/Paris
identifier: {compartment_id: "1606", user_account_id: customer_id}
sources:
  customers: {table: crm.customers, key: customer_id}
  purchases: {table: crm.purchases, key: customer_id, time: purchased_at}
users: customers
profile:
  firstname: {value: first_name}
  purchases:
    count: {from: purchases, count: true, windows: [30d, lifetime]}
    twice: {derive: purchases.count.lifetime * 2}
"""
    )


def documents_of(language: str) -> list[str]:
    import re

    text = (ROOT / "docs" / "definition.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_brands_of_the_document_are_definitions(tmp_path: Path) -> None:
    for block in documents_of("yaml"):
        if block.startswith(("# base.yaml", "# ada.yaml")):
            (tmp_path / block[2 : block.index("\n")]).write_text(block, encoding="utf-8")
    ada = sp.load_definition(tmp_path / "ada.yaml")
    assert (ada.name, ada.sources["customers"].path) == ("ada", "ada/customers")
    assert [".".join(path) for path, _ in ada.properties()] == [
        "firstname", "contact.email", "tier",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["examples/cdnow/profiles.yaml", "tests/contract.yaml"])
def test_the_json_schema_takes_right_definitions(name: str) -> None:
    validator = jsonschema.Draft202012Validator(json_schema.schema())
    validator.check_schema(json_schema.schema())
    validator.validate(yaml.safe_load((ROOT / name).read_text(encoding="utf-8")))
    validator.validate(json.loads(sp.parse_definition(WHOLE).model_dump_json(by_alias=True)))
    validator.validate({"include": "base.yaml", "variables": {"a": 1}, "users": "${a}"})


@pytest.mark.parametrize(
    ("path", "wrong"),
    [("name", "Shop"), ("sources/crm/kye", "id"), ("profile/first/scale", 99),
     ("profile/first/scael", 2), ("identifier/1/hash", "md6"), ("users", 3),
     ("profile/orders/top/k", "many"), ("sources/crm/accept/b/severity", "ignore")],
)  # fmt: skip
def test_the_json_schema_refuses_what_the_loader_refuses(path: str, wrong: Any) -> None:
    data = copy.deepcopy(WHOLE)
    holder, last = at(data, path)
    holder[last] = wrong
    assert not jsonschema.Draft202012Validator(json_schema.schema()).is_valid(data)
    with pytest.raises(DefinitionError):
        sp.parse_definition(data)


def test_every_member_has_a_description_in_the_schema() -> None:
    models = json_schema.schema()["$defs"]
    for model in ("Identifier", "Source", "Rule", "Survivor", "ProfileKeys"):
        for name, member in models[model]["properties"].items():
            assert member.get("description"), f"{model}.{name}"


def test_secrets_are_given_by_reference_and_never_repeated() -> None:
    for member in ({"options": {"password": "hunter2"}}, {"secrets": {"user": "hunter2"}}):
        data = copy.deepcopy(WHOLE)
        data["sources"]["db"].update(member)
        with pytest.raises(DefinitionError) as caught:
            sp.parse_definition(data)
        assert "hunter2" not in str(caught.value)
        assert "env:NAME" in str(caught.value)


@pytest.mark.parametrize("seed", range(3))
def test_any_part_missing_or_of_a_wrong_type_is_one_clear_error(seed: int) -> None:
    import random

    dice = random.Random(seed)
    odd: list[Any] = [None, 3, "x", [], {}, [{}], {"a": 1}, True, "a.b", "$x"]
    for _ in range(150):
        data = copy.deepcopy(WHOLE)
        node: Any = data
        while True:
            key = dice.choice(list(node)) if isinstance(node, dict) else dice.randrange(len(node))
            inner = node[key]
            if not isinstance(inner, (dict, list)) or not inner or dice.random() < 0.3:
                break
            node = inner
        node[key] = dice.choice(odd)
        with contextlib.suppress(DefinitionError):
            sp.parse_definition(data)  # any other error fails
    assert documents.from_mapping(WHOLE, {}).data == WHOLE
