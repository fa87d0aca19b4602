"""Accepted rows of the users' sources -> the spine: one row a user, its identifier and own values.

A user is a key with an accepted row in any of the sources in `users`. Own values come from the
user's one row in each source; of several that know a value the definition says which survives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from spark_profiles.core import addresses
from spark_profiles.definition import sql, values
from spark_profiles.definition.model import OwnValue, Survivor
from spark_profiles.rows import columns, keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from spark_profiles.definition.model import Definition, Identifier

MISSING, CONTESTED = "identifier_missing", "identifier_contested"
ACCOUNT_CONTESTED = "account_contested"
"""Several users have one account inside the profile: to the platform an account is one person, so
their profiles may become one, or two persons one user point."""
UNUSABLE = "unusable"
"""Why there is no profile of a key that has rows in the users' sources, but none to be used."""


def spine(
    definition: Definition,
    own_rows: Mapping[str, DataFrame],
    types: Mapping[str, Mapping[str, DataType]],
) -> DataFrame:
    """One row is a user, refused ones too.

    Args:
        definition: names the sources of users, identifiers and own values.
        own_rows: for each of `sources`, its one row a user, with sp_key, sp_at and sp_is_used.
        types: source -> expression -> its type.

    Returns:
        sp_key, sp_first (the first source of `users` with a row of the user to be used), sp_refusal
        (null, or why there is no profile: such users are there, but nothing is known of them that
        could be sent), identifier (struct; one kind a row), sp_account ($user_account_id or null),
        sp_address (text, see `core.addresses`; null without identifier), sp_last_modified_ts and
        sp_creation_ts (epoch milliseconds) where they are to be written, and a column for each own
        value.
    """
    wanted = _Wanted(definition, types)
    whole: DataFrame | None = None
    for name in sources(definition):
        rows = own_rows[name].selectExpr("sp_key", *wanted.columns(name))
        how = "full" if name in definition.spine else "left"
        whole = rows if whole is None else whole.join(rows, on="sp_key", how=how)
    assert whole is not None  # noqa: S101  a definition has users
    has = " ".join(f"when {name}_has then '{name}'" for name in definition.spine)
    claimed = whole.selectExpr("sp_key", f"case {has} end as sp_first", *wanted.survivors())
    return _judged(definition, claimed)


def sources(definition: Definition) -> list[str]:
    """The sources that give own values: those of `users` in their order, then the others."""
    named = [*definition.spine]
    for identifier in definition.identifiers:
        named += _texts(definition, identifier.claim)
    if definition.profile_keys.user_account_id is not None:
        named += _texts(definition, definition.profile_keys.user_account_id)
    for own in definition.profile_keys.instants.values():
        named += _texts(definition, own)
    for _, prop in definition.properties():
        if isinstance(prop, Survivor):
            named += prop.survivor
    return list(dict.fromkeys(named))


def is_certain(definition: Definition) -> bool:
    """Whether the first identifier is the user's key itself: never missing, and nobody else's."""
    first = definition.identifiers[0]
    if first.kind != "user_account_id":
        return False
    keys_of = {name: definition.sources[name].key for name in definition.spine}
    return _are_same(_texts(definition, first.claim), keys_of)


def _has_own_account(definition: Definition) -> bool:
    """Whether no two users can have one account inside, or it is known of the identifier already.

    There is none, it is the key, or it is the only identifier.
    """
    account = definition.profile_keys.user_account_id
    if account is None:
        return True
    texts = _texts(definition, account)
    first, *others = definition.identifiers
    of_keys = {name: definition.sources[name].key for name in definition.spine}
    of_identifier = _texts(definition, first.claim)
    is_identifier = first.kind == "user_account_id" and not others
    return _are_same(texts, of_keys) or (is_identifier and _are_same(texts, of_identifier))


def _are_same(texts: Mapping[str, str], others: Mapping[str, str]) -> bool:
    return list(texts) == list(others) and all(
        sql.same(text, others[name]) for name, text in texts.items()
    )


def refused(users: DataFrame) -> DataFrame:
    """The users that cannot be named to the platform; one row is a user."""
    return users.where(F.col("sp_refusal") != UNUSABLE).select("sp_key", "sp_refusal")


def _texts(definition: Definition, own: str | Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(definition.spine, own) if isinstance(own, str) else dict(own)


class _Wanted:
    """Which expressions are asked of which source, and how the one value is made of them."""

    def __init__(self, definition: Definition, types: Mapping[str, Mapping[str, DataType]]) -> None:
        self._types = types
        self._definition = definition
        # Name -> (source -> column in the joined row) and whether the newest row decides.
        self._among: dict[str, tuple[dict[str, str], bool]] = {}
        self._asked: dict[str, dict[str, str]] = {}
        for number, identifier in enumerate(definition.identifiers):
            self._ask(f"sp_id{number}", identifier.claim, as_key=identifier.kind != "email_hash")
        account = definition.profile_keys.user_account_id
        if account is not None:
            self._ask("sp_account", account, as_key=True)
        for name, own in definition.profile_keys.instants.items():
            self._ask(f"sp_{name}", own, as_millis=True)
        for number, (_, prop) in enumerate(definition.properties()):
            if isinstance(prop, OwnValue):
                self._ask(values.column(number), prop.value)
            elif isinstance(prop, Survivor):
                self._ask(values.column(number), prop.survivor, newest=prop.by == "newest")

    def _ask(
        self,
        name: str,
        own: str | Mapping[str, str],
        *,
        as_key: bool = False,
        as_millis: bool = False,
        newest: bool = False,
    ) -> None:
        named = {}
        for source, text in _texts(self._definition, own).items():
            named[source] = f"{source}_{name}"
            value = f"({text}\n)"
            if as_key:
                value = keys.text(value, self._types[source][text])
            if as_millis:
                value = columns.epoch_millis(value, self._types[source][text])
            self._asked.setdefault(source, {})[named[source]] = value
        self._among[name] = (named, newest)

    def columns(self, source: str) -> list[str]:
        """What is selected of the one row of a user in the source."""
        facts = {f"{source}_has": "true", f"{source}_at": "sp_at", **self._asked.get(source, {})}
        return [f"case when sp_is_used then {value} end as {name}" for name, value in facts.items()]

    def survivors(self) -> list[str]:
        """The one value of each, under its name."""
        return [
            f"{_newest(named) if newest else _first(named)} as {name}"
            for name, (named, newest) in self._among.items()
        ]


def _first(named: Mapping[str, str]) -> str:
    """The first known value."""
    return f"coalesce({', '.join(named.values())})"


def _newest(named: Mapping[str, str]) -> str:
    """The known value whose row is newest; of equally new ones the first in order."""
    order = list(named)
    cases = []
    for place, name in enumerate(order):
        known = [f"{named[name]} is not null"]
        for other_place, other in enumerate(order):
            if other != name:
                later = f"{name}_at {'>=' if place < other_place else '>'} {other}_at"
                known.append(f"({named[other]} is null or {later})")
        cases.append(f"when {' and '.join(known)} then {named[name]}")
    return f"case {' '.join(cases)} end"


def _judged(definition: Definition, users: DataFrame) -> DataFrame:
    """With the identifier of each user, and why it cannot be used."""
    texts = [_identifier(i, f"sp_id{n}") for n, i in enumerate(definition.identifiers)]
    which = " ".join(f"when {text} is not null then {n}" for n, text in enumerate(texts))
    rest = [name for name in users.columns if not name.startswith("sp_id")]
    account = [] if "sp_account" in rest else ["cast(null as string) as sp_account"]
    told = [f"{text} as sp_id{n}" for n, text in enumerate(texts)]
    named = users.selectExpr(*rest, *account, f"case {which} end as sp_which", *told)
    refusal = F.lit(None).cast("string") if is_certain(definition) else _refusal(definition)
    if not _has_own_account(definition):
        refusal = F.coalesce(refusal, _account_refusal())
    refusal = F.when(F.col("sp_first").isNull(), F.lit(UNUSABLE)).otherwise(refusal)
    struct = _struct(definition.identifiers)
    kept = [name for name in rest if name != "sp_account"]
    judged = named.select(
        *kept, "sp_account", struct.alias("identifier"), refusal.alias("sp_refusal")
    )
    return judged.withColumn("sp_address", F.expr(_address(definition)))


def _address(definition: Definition) -> str:
    """SQL of the platform address of a user, see `core.addresses`."""
    kinds = dict.fromkeys(identifier.kind for identifier in definition.identifiers)
    outer = any(identifier.compartment_id is not None for identifier in definition.identifiers)
    inner = definition.profile_keys.compartment_id
    return addresses.sql(
        {kind: f"identifier.{kind}" for kind in kinds},
        outer_compartment="identifier.compartment_id" if outer else "cast(null as string)",
        compartment="cast(null as string)" if inner is None else f"'{inner}'",
        account="sp_account",
    )


def _identifier(identifier: Identifier, value: str) -> str:
    """The identifier as the platform is told it; null where there is none."""
    if identifier.kind != "email_hash":
        return value
    text = f"cast({value} as string)"
    for step in identifier.normalise:
        text = keys.trim(text) if step == "trim" else f"lower({text})"
    text = f"case when length({keys.trim(text)}) > 0 then {text} end"
    if identifier.hash == "none":
        return text
    if identifier.hash in ("md5", "sha1"):
        return f"{identifier.hash}({text})"
    return f"sha2({text}, {identifier.hash.removeprefix('sha')})"


def _chosen(numbers: Sequence[int]) -> Column:
    return F.coalesce(*[F.when(F.col("sp_which") == n, F.col(f"sp_id{n}")) for n in numbers])


def _struct(identifiers: Sequence[Identifier]) -> Column:
    """One member for each kind in use; in each row those of one identifier are not null."""
    members = []
    compartments = [
        F.when(F.col("sp_which") == n, F.lit(identifier.compartment_id))
        for n, identifier in enumerate(identifiers)
        if identifier.compartment_id is not None
    ]
    if compartments:
        members.append(F.coalesce(*compartments).alias("compartment_id"))
    for kind in ("user_account_id", "email_hash", "user_agent_id"):
        numbers = [n for n, identifier in enumerate(identifiers) if identifier.kind == kind]
        if numbers:
            members.append(_chosen(numbers).alias(kind))
    return F.struct(*members)


def _refusal(definition: Definition) -> Column:
    """Why a user cannot be named: no identifier, or one that another user claims as well."""
    identifiers = definition.identifiers
    value = _chosen(range(len(identifiers)))
    # The same text in another compartment, or of another kind, is another identifier.
    space = F.coalesce(
        *[
            F.when(F.col("sp_which") == n, F.lit(f"{i.kind} {i.compartment_id or ''}"))
            for n, i in enumerate(identifiers)
        ]
    )
    # Users without identifier are spread by their key, so that they do not meet in one task.
    claim = Window.partitionBy(space, F.coalesce(value, F.col("sp_key").cast("string")))
    claimants = F.count(F.lit(1)).over(claim)
    return F.when(F.col("sp_which").isNull(), F.lit(MISSING)).when(claimants > 1, F.lit(CONTESTED))


def _account_refusal() -> Column:
    """Why a user cannot have the account inside the profile: another user has it as well."""
    # Users without account are spread by their key, so that they do not meet in one task.
    account = F.concat(F.lit("account "), "sp_account")
    key = F.concat(F.lit("key "), F.col("sp_key").cast("string"))
    # Who is refused for lack of an identifier claims nothing.
    claim = F.when(F.col("sp_which").isNotNull(), 1)
    claimants = F.count(claim).over(Window.partitionBy(F.coalesce(account, key)))
    return F.when(F.col("sp_account").isNotNull() & (claimants > 1), F.lit(ACCOUNT_CONTESTED))
