"""Parquet files of every type as other libraries write them, and what these libraries say of ours.

    tables.py write LIBRARY FILE          writes the table below
    tables.py same LIBRARY FILE OTHER     whether the library finds equal columns and rows in two files
    tables.py query FILE SQL              the rows that DuckDB answers, fields between TABs; the file is `t`

LIBRARY is duckdb, duckdb-v2, polars, pyarrow or pyarrow-v2: the last of each kind use the later encodings.
Which of them there are says `tables.py has`.
"""

import datetime as dt
import decimal
import importlib.util
import os
import sys

# DuckDB would take times with a zone as in that of the machine.
os.environ["TZ"] = "UTC"

D = decimal.Decimal
UTC = dt.timezone.utc
FIRST = {
    "i8": -128, "i16": -(2**15), "i32": -(2**31), "i64": -(2**63),
    "u8": 255, "u16": 2**16 - 1, "u32": 2**32 - 1, "u64": 2**64 - 1,
    "f32": 0.5, "f64": -1e300, "flag": True,
    "d9": D("-1234567.89"), "d18": D("12345678901234.5678"), "d38": D("-9999999999999999999999999999.0123456789"),
    "day": dt.date(1969, 12, 31), "clock": dt.time(23, 59, 59, 999999),
    "ms": dt.datetime(1969, 12, 31, 23, 59, 59, 999000), "us": dt.datetime(2026, 1, 31, 12, 0, 0, 1),
    "utc": dt.datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC),
    "text": "é, \"b\"\n", "bytes": b"\xff\x00", "ints": [1, None, -(2**63)], "texts": ["", "x", None],
    "lists": [[1], [], None, [None, 2]], "pair": {"a": 7, "b": None},
}
ZERO = {
    "i8": 0, "i16": 0, "i32": 0, "i64": 0, "u8": 0, "u16": 0, "u32": 0, "u64": 0,
    "f32": -0.25, "f64": 0.1, "flag": False,
    "d9": D("0.00"), "d18": D("0.0001"), "d38": D("0E-10"),
    "day": dt.date(1, 1, 1), "clock": dt.time(0), "ms": dt.datetime(1970, 1, 1), "us": dt.datetime(1, 1, 1),
    "utc": dt.datetime(1970, 1, 1, tzinfo=UTC),
    "text": "", "bytes": b"", "ints": [], "texts": [], "lists": [[]], "pair": {"a": None, "b": "x"},
}
ROWS = [FIRST, {name: None for name in FIRST}, ZERO]


def arrow():
    import pyarrow as pa

    types = {
        "i8": pa.int8(), "i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(),
        "u8": pa.uint8(), "u16": pa.uint16(), "u32": pa.uint32(), "u64": pa.uint64(),
        "f32": pa.float32(), "f64": pa.float64(), "flag": pa.bool_(),
        "d9": pa.decimal128(9, 2), "d18": pa.decimal128(18, 4), "d38": pa.decimal128(38, 10),
        "day": pa.date32(), "clock": pa.time64("us"),
        "ms": pa.timestamp("ms"), "us": pa.timestamp("us"), "utc": pa.timestamp("us", "UTC"),
        "text": pa.string(), "bytes": pa.binary(), "ints": pa.list_(pa.int64()), "texts": pa.list_(pa.string()),
        "lists": pa.list_(pa.list_(pa.int64())), "pair": pa.struct({"a": pa.int32(), "b": pa.string()}),
    }
    return pa.Table.from_pylist(ROWS, pa.schema(types))


def polars():
    import polars as pl

    ints = {f"{kind}{bits}": f"{name}{bits}" for kind, name in (("i", "Int"), ("u", "UInt")) for bits in (8, 16, 32, 64)}
    types = {column: getattr(pl, name) for column, name in ints.items()}
    types |= {
        "f32": pl.Float32, "f64": pl.Float64, "flag": pl.Boolean,
        "d9": pl.Decimal(9, 2), "d18": pl.Decimal(18, 4), "d38": pl.Decimal(38, 10),
        "day": pl.Date, "clock": pl.Time,
        "ms": pl.Datetime("ms"), "us": pl.Datetime("us"), "utc": pl.Datetime("us", "UTC"),
        "text": pl.String, "bytes": pl.Binary, "ints": pl.List(pl.Int64), "texts": pl.List(pl.String),
        "lists": pl.List(pl.List(pl.Int64)), "pair": pl.Struct({"a": pl.Int32, "b": pl.String}),
    }
    return pl.DataFrame(ROWS, schema={name: types[name] for name in FIRST})


DUCKDB_TYPES = {
    "i8": "TINYINT", "i16": "SMALLINT", "i32": "INTEGER", "i64": "BIGINT",
    "u8": "UTINYINT", "u16": "USMALLINT", "u32": "UINTEGER", "u64": "UBIGINT",
    "f32": "FLOAT", "f64": "DOUBLE", "flag": "BOOLEAN",
    "d9": "DECIMAL(9,2)", "d18": "DECIMAL(18,4)", "d38": "DECIMAL(38,10)", "day": "DATE", "clock": "TIME",
    "ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "utc": "TIMESTAMPTZ", "text": "VARCHAR", "bytes": "BLOB",
    "ints": "BIGINT[]", "texts": "VARCHAR[]", "lists": "BIGINT[][]", "pair": "STRUCT(a INTEGER, b VARCHAR)",
}


def duckdb():
    import duckdb

    return duckdb.connect()


def write(library, path):
    if library.startswith("duckdb"):
        con = duckdb()
        columns = ", ".join(f"{name} {DUCKDB_TYPES[name]}" for name in FIRST)
        con.execute(f"CREATE TABLE t ({columns})")
        later = library.endswith("-v2")
        for row in ROWS:
            # DuckDB stores integers of 32 bits, and differences between them, in 64 where they are larger, which the
            # format forbids and most readers refuse (apache/parquet-format#231).
            row = {**row, "i32": -(2**30), "u32": 2**30} if later and row is FIRST else row
            con.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(row))})", list(row.values()))
        options = ", PARQUET_VERSION V2, COMPRESSION zstd" if later else ""
        con.execute(f"COPY t TO '{path}' (FORMAT parquet{options})")
    elif library == "polars":
        polars().write_parquet(path)
    else:
        import pyarrow.parquet as pq

        later = {"version": "2.6", "data_page_version": "2.0", "compression": "gzip", "use_dictionary": False,
                 "write_page_checksum": True}
        # Integers as differences, text as what it shares with the text before, floats byte by byte.
        deltas = ["i32", "i64", "u32", "u64"]
        later["column_encoding"] = {name: "DELTA_BINARY_PACKED" for name in deltas}
        later["column_encoding"] |= {"text": "DELTA_BYTE_ARRAY", "bytes": "DELTA_LENGTH_BYTE_ARRAY"}
        later["column_encoding"] |= {name: "BYTE_STREAM_SPLIT" for name in ("f32", "f64")}
        pq.write_table(arrow(), path, **(later if library.endswith("-v2") else {"store_schema": False}))


def same(library, path, other):
    if library.startswith("duckdb"):
        con = duckdb()
        sides = [con.execute(f"DESCRIBE FROM '{file}'").fetchall() for file in (path, other)]
        assert sides[0] == sides[1], "\n".join(map(str, zip(*sides)))
        for one, two in ((path, other), (other, path)):
            # `ALL` counts rows; a position tells that they are in order.
            rows = "SELECT *, file_row_number FROM read_parquet('{}', file_row_number = true)"
            lacking = con.execute(f"{rows.format(one)} EXCEPT ALL {rows.format(two)}").fetchall()
            assert not lacking, f"{one} has what {two} has not: {lacking}"
    elif library == "polars":
        import polars as pl

        tables = [pl.read_parquet(file) for file in (path, other)]
        assert tables[0].schema == tables[1].schema, f"{tables[0].schema}\n{tables[1].schema}"
        assert tables[0].equals(tables[1]), f"{tables[0].rows()}\n{tables[1].rows()}"
    else:
        import pyarrow.parquet as pq

        tables = [pq.read_table(file).replace_schema_metadata(None) for file in (path, other)]
        assert tables[0].schema.equals(tables[1].schema), f"{tables[0].schema}\n{tables[1].schema}"
        assert tables[0].equals(tables[1]), f"{tables[0].to_pylist()}\n{tables[1].to_pylist()}"


def query(path, sql):
    con = duckdb()
    con.execute(f"CREATE VIEW t AS FROM '{path}'")
    for row in con.execute(sql).fetchall():
        print(*row, sep="\t")


def has():
    print(*(name for name in ("duckdb", "polars", "pyarrow") if importlib.util.find_spec(name)))


{"write": write, "same": same, "query": query, "has": has}[sys.argv[1]](*sys.argv[2:])
