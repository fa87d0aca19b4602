"""Includes and variables: what wins, what is kept, and that errors point to the right file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from spark_profiles.definition import loader
from spark_profiles.errors import DefinitionError

if TYPE_CHECKING:
    from pathlib import Path

    from spark_profiles.definition.model import Definition

BASE = """\
variables: {compartment: 1606, country: FR, folder: "${brand}/${country}"}
name: ${brand}
time_zone: Europe/Paris
identifier: {compartment_id: "${compartment}", user_account_id: customer_id}
profile_keys: {compartment_id: "${compartment}", user_account_id: customer_id}
sources:
  customers:
    path: ${folder}/customers
    format: parquet
    key: customer_id
    accept: {in_country: "country = '${country}'", named: name is not null}
users: customers
profile:
  firstname: {value: first_name}
  price: {value: "concat('$${', '}')"}
  contact: {email: {value: email}, phone: {value: phone, default: none}}
"""
ADA = """\
include: base.yaml
variables: {brand: ada, compartment: 1701}
sources:
  customers: {accept: {named: ~}}
profile:
  contact: {phone: ~, fax: {value: fax}}
  firstname: {value: initcap(first_name)}
  tier: {value: tier}
"""


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def load(folder: Path, name: str = "ada", **options: Any) -> Definition:
    return loader.load_definition(folder / f"{name}.yaml", **options)


def problems_of(folder: Path, name: str = "ada") -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load(folder, name)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_brand_says_only_what_differs(tmp_path: Path) -> None:
    ada = load(write(tmp_path, base=BASE, ada=ADA))
    flat = """\
name: ada
time_zone: Europe/Paris
identifier: {compartment_id: "1701", user_account_id: customer_id}
profile_keys: {compartment_id: 1701, user_account_id: customer_id}
sources:
  customers:
    {path: ada/FR/customers, format: parquet, key: customer_id,
     accept: {in_country: "country = 'FR'"}}
users: customers
profile:
  firstname: {value: initcap(first_name)}
  price: {value: "concat('$${', '}')"}
  contact: {email: {value: email}, fax: {value: fax}}
  tier: {value: tier}
"""
    assert ada == loader.parse_yaml(flat)
    assert ada.definition_hash == loader.parse_yaml(flat).definition_hash
    # The order of properties is that of the base, new ones last: it is the order of the bytes.
    assert [".".join(path) for path, _ in ada.properties()] == [
        "firstname", "price", "contact.email", "contact.fax", "tier",
    ]  # fmt: skip


def test_of_several_includes_the_later_wins_and_the_file_over_all(tmp_path: Path) -> None:
    write(
        tmp_path,
        base=BASE,
        north="include: base.yaml\nvariables: {country: NO, brand: north}\n",
        blue="time_zone: UTC\nvariables: {brand: blue}\n",
        ada="include: [north.yaml, blue.yaml]\nvariables: {compartment: 7}\n",
    )
    ada = load(tmp_path)
    assert (ada.name, ada.time_zone, ada.profile_keys.compartment_id) == ("blue", "UTC", 7)
    assert ada.sources["customers"].path == "blue/NO/customers"
    given = load(tmp_path, variables={"brand": "given", "compartment": 8})
    assert (given.name, given.profile_keys.compartment_id) == ("given", 8)


def test_errors_point_into_the_file_that_says_it(tmp_path: Path) -> None:
    wrong_base = BASE.replace("email: {value: email}", "email: {valeu: email}")
    wrong_ada = ADA.replace("tier: {value: tier}", "tier: {value: tier, scael: 2}")
    (found, more) = problems_of(write(tmp_path, base=wrong_base, ada=wrong_ada))
    assert found.startswith("ada.yaml:8 profile.tier.scael: unknown key")
    assert more.startswith("base.yaml:16 profile.contact.email.valeu: 'email'; expected a property")
    assert more.endswith("did you mean value?")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ada": "include: bse.yaml\n"}, "ada.yaml:1 include: no file 'bse.yaml'"),
        ({"base": "include: ada.yaml\n" + BASE}, "base.yaml:1 include: ada.yaml includes itself"),
        ({"ada": ADA.replace("brand: ada", "brnad: ada")}, "base.yaml:2 name: no variable 'brand'"),
        (
            {"ada": ADA.replace("brand: ada", 'brand: "${folder}"')},
            "base.yaml:1 variables.folder: stands for itself: folder -> brand -> folder",
        ),
        (
            {"ada": ADA.replace("brand: ada", "brand: [ada]")},
            "ada.yaml:2 variables.brand: no plain",
        ),
        ({"ada": 'include: "${x}.yaml"\n' + ADA[19:]}, "ada.yaml:1 include: '${x}.yaml'; expected"),
    ],
)
def test_what_cannot_be_included_or_filled_in_is_said(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    write(tmp_path, **{"base": BASE, "ada": ADA, **change})
    assert [problem for problem in problems_of(tmp_path) if problem.startswith(said)]


def test_the_environment_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("brand", "env")
    write(tmp_path, base=BASE, ada=ADA.replace("brand: ada, ", ""))
    assert any("no variable 'brand'" in problem for problem in problems_of(tmp_path))


def test_merge_keys_and_anchors_of_yaml_work_and_a_circle_of_them_is_said() -> None:
    text = BASE.replace(
        "variables:", "variables: {brand: a, compartment: 1, folder: f, country: F}\n#"
    )
    text = text.replace("firstname: {", "firstname: &it {scale: 2, ").replace(
        "email: {value: email}", "email: {<<: *it, value: email}"
    )
    assert loader.parse_yaml(text).profile["contact"]["email"].scale == 2  # type: ignore[index,union-attr,call-overload]
    with pytest.raises(DefinitionError, match="contains itself"):
        loader.parse_yaml(text + "  more: &more {again: *more}\n")
