-- The profiles in one SQL script, as DuckDB's own documentation would have it written:
-- one GROUP BY a source, joins, COPY to JSON lines. Order of lines is left to the engine.
SET preserve_insertion_order = false;

COPY (
    WITH by_customer AS (
        SELECT
            o_custkey,
            count(*) FILTER (o_orderdate >= DATE '1998-07-04') AS count_30d,
            count(*) FILTER (o_orderdate >= DATE '1998-05-05') AS count_90d,
            count(*) FILTER (o_orderdate >= DATE '1997-08-03') AS count_365d,
            count(*) FILTER (o_orderdate >= DATE '1996-08-03') AS count_730d,
            count(*) AS count_all,
            sum(o_totalprice) FILTER (o_orderdate >= DATE '1998-07-04') AS amount_30d,
            sum(o_totalprice) FILTER (o_orderdate >= DATE '1998-05-05') AS amount_90d,
            sum(o_totalprice) FILTER (o_orderdate >= DATE '1997-08-03') AS amount_365d,
            sum(o_totalprice) FILTER (o_orderdate >= DATE '1996-08-03') AS amount_730d,
            sum(o_totalprice) AS amount_all,
            max(o_totalprice) FILTER (o_orderdate >= DATE '1998-07-04') AS largest_30d,
            max(o_totalprice) FILTER (o_orderdate >= DATE '1998-05-05') AS largest_90d,
            max(o_totalprice) FILTER (o_orderdate >= DATE '1997-08-03') AS largest_365d,
            max(o_totalprice) FILTER (o_orderdate >= DATE '1996-08-03') AS largest_730d,
            max(o_totalprice) AS largest_all,
            max_by(
                {id: o_orderkey, "date": o_orderdate, amount: o_totalprice,
                 status: o_orderstatus, clerk: o_clerk},
                {d: o_orderdate, id: o_orderkey},
                3
            ) AS last,
            count(*) FILTER (o_orderpriority = '1-URGENT') AS urgent,
            count(*) FILTER (o_orderpriority = '2-HIGH') AS high,
            count(*) FILTER (o_orderpriority = '3-MEDIUM') AS medium,
            count(*) FILTER (o_orderpriority = '4-NOT SPECIFIED') AS unspecified,
            count(*) FILTER (o_orderpriority = '5-LOW') AS low
        FROM read_parquet($data || '/orders/*.parquet')
        WHERE o_orderdate < DATE '1998-08-03'
        GROUP BY o_custkey
    ),
    scores AS (
        SELECT
            c_custkey,
            list(
                {model: model, score: score, "at": epoch_ms(scored_at)}
                ORDER BY scored_at DESC, model DESC
            )[:4] AS scores
        FROM read_parquet($data || '/scores/*.parquet')
        WHERE scored_at < TIMESTAMPTZ '1998-08-03 00:00:00+00'
        GROUP BY c_custkey
    ),
    newsletters AS (
        SELECT
            c_custkey,
            list(
                {name: newsletter, subscribed: subscribed, frequency: frequency,
                 "at": epoch_ms(updated_at)}
                ORDER BY updated_at DESC, newsletter DESC
            )[:2] AS newsletters
        FROM read_parquet($data || '/newsletters/*.parquet')
        WHERE updated_at < TIMESTAMPTZ '1998-08-03 00:00:00+00'
        GROUP BY c_custkey
    )
    SELECT
        'UPSERT' AS operation,
        '1606' AS compartment_id,
        c.c_custkey::VARCHAR AS user_account_id,
        'FORCE_REPLACE' AS update_strategy,
        {
            "$compartment_id": 1606,
            "$user_account_id": c.c_custkey::VARCHAR,
            name: c_name, address: c_address, phone: c_phone, nation: c_nationkey,
            segment: c_mktsegment, balance: c_acctbal, about: c_comment,
            orders: {
                count: {
                    "30d": coalesce(count_30d, 0), "90d": coalesce(count_90d, 0),
                    "365d": coalesce(count_365d, 0), "730d": coalesce(count_730d, 0),
                    lifetime: coalesce(count_all, 0)
                },
                amount: {
                    "30d": amount_30d, "90d": amount_90d, "365d": amount_365d,
                    "730d": amount_730d, lifetime: amount_all
                },
                largest: {
                    "30d": largest_30d, "90d": largest_90d, "365d": largest_365d,
                    "730d": largest_730d, lifetime: largest_all
                },
                last: last,
                by_priority: {
                    urgent: coalesce(urgent, 0), high: coalesce(high, 0),
                    medium: coalesce(medium, 0), unspecified: coalesce(unspecified, 0),
                    low: coalesce(low, 0)
                }
            },
            scores: scores,
            newsletters: newsletters
        } AS user_profile
    FROM read_parquet($data || '/customer/*.parquet') c
    LEFT JOIN by_customer o ON o.o_custkey = c.c_custkey
    LEFT JOIN scores s ON s.c_custkey = c.c_custkey
    LEFT JOIN newsletters n ON n.c_custkey = c.c_custkey
) TO '$output/profiles.ndjson' (FORMAT json);
