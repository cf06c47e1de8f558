"""Word count with DuckDB on two threads: word_count.py GLOB FOLDER. Files whose names end in .parquet have a column `line`."""
import os
import sys

import duckdb

source, folder = sys.argv[1:]
os.makedirs(folder)
connection = duckdb.connect()
connection.execute("set threads=2; set preserve_insertion_order=false")
if source.endswith(".parquet"):
    lines = f"(select line from read_parquet('{source}'))"
else:
    lines = (
        f"(select column0 as line from read_csv('{source}', header=false, auto_detect=false, delim=E'\\x01', quote='',"
        " escape='', columns={'column0': 'VARCHAR'}, max_line_size=1000000, strict_mode=false, null_padding=false))"
    )
connection.execute(
    "copy (select word || chr(9) || count from (select word, count(*) as count from"
    f" (select unnest(string_split(line, ' ')) as word from {lines}) where word <> '' group by word))"
    f" to '{folder}/part-0' (format csv, header false, delimiter E'\\x01', quote '', escape '')"
)
