# %% [markdown]
# # A first profile, in a notebook
#
# Develop a definition over DataFrames, look at the profiles, the refused rows and the lines.
# Nothing is written and nothing is sent. Each part is one cell (Databricks, Jupyter and VS Code
# read this file as a notebook).

# %%
import datetime as dt

import spark_profiles as sp
from spark_profiles.engine import session

spark = session.current_session("first profile")  # on a cluster: the session that is there

# %% [markdown]
# Two small tables, with the dirt of real ones.

# %%
utc = dt.timezone.utc
customers = spark.createDataFrame(
    [
        ("c1", dt.datetime(2026, 1, 5, tzinfo=utc), "ada"),
        ("c1", dt.datetime(2026, 2, 7, tzinfo=utc), "Ada"),
        (" c2 ", dt.datetime(2026, 1, 5, tzinfo=utc), "grace"),
        (None, dt.datetime(2026, 1, 5, tzinfo=utc), "nobody"),
    ],
    "customer_id string, updated_at timestamp, first_name string",
)
purchases = spark.createDataFrame(
    [
        (1, "c1", dt.date(2026, 3, 1), "10.00"),
        (1, "c1", dt.date(2026, 3, 1), "10.00"),
        (2, "c1", dt.date(2026, 3, 20), "0.05"),
        (3, "c2", dt.date(2026, 3, 21), "ten"),
    ],
    "purchase_id int, customer_id string, purchased_on date, amount string",
)

# %% [markdown]
# The definition has the shape of the profile. It can also be a YAML file: `sp.load_definition`.

# %%
definition = sp.parse_definition(
    {
        "name": "first",
        "time_zone": "Europe/Paris",
        "identifier": {"compartment_id": "1606", "user_account_id": "trim(customer_id)"},
        "profile_keys": {"compartment_id": 1606, "user_account_id": "trim(customer_id)"},
        "sources": {
            "customers": {
                "table": "customers",
                "key": "customer_id",
                "time": "updated_at",
                "latest_by": ["updated_at desc"],
            },
            "purchases": {
                "table": "purchases",
                "key": "customer_id",
                "time": "purchased_on",
                "row_id": ["purchase_id"],
                "types": {"amount": "decimal(10,2)"},
            },
        },
        "users": "customers",
        "profile": {
            "firstname": {"value": "initcap(first_name)"},
            "purchases": {
                "count": {"from": "purchases", "count": True, "windows": ["30d", "lifetime"]},
                "amount": {"from": "purchases", "sum": "amount", "windows": ["lifetime"]},
            },
        },
    }
)
plan = sp.plan(
    spark,
    definition,
    as_of="2026-03-31",
    tables={"customers": customers, "purchases": purchases},
)

# %% [markdown]
# One row a user, nested as it will be sent.

# %%
plan.profiles.show(truncate=False)

# %% [markdown]
# Where every row went, and why some were refused.

# %%
plan.counts.show()
plan.refused.show(truncate=False)

# %% [markdown]
# The lines of the import files.

# %%
plan.lines.select("operation", "identifier", "payload").show(truncate=False)
