"""Runs the TPC-H queries in DuckDB, for scale: over plain Parquet, and over an encrypted database of its own.

Arguments: the folder with NAME.parquet and queries.json, and the number of repetitions. Prints one JSON object with the median
milliseconds of each query; the first repetition is thrown away.
"""

import json
import os
import statistics
import sys
import time

# The folder of this script has the name of the module.
sys.path = [entry for entry in sys.path if os.path.abspath(entry or ".") != os.path.dirname(os.path.abspath(__file__))]
import duckdb  # noqa: E402

TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]


def measure(connection, queries, repetitions):
    times = [[] for _ in queries]
    for repetition in range(repetitions + 1):
        for place, query in enumerate(queries):
            began = time.perf_counter()
            connection.sql(query).fetchall()
            if repetition > 0:
                times[place].append((time.perf_counter() - began) * 1e3)
    return [statistics.median(one) for one in times]


def main():
    folder, repetitions = sys.argv[1], int(sys.argv[2])
    with open(os.path.join(folder, "queries.json"), encoding="utf-8") as file:
        queries = json.load(file)
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "2GB"})
    files = {table: os.path.join(folder, table + ".parquet").replace("'", "''") for table in TABLES}
    for table, file in files.items():
        connection.sql(f"create view {table} as from read_parquet('{file}')")
    parquet = measure(connection, queries, repetitions)

    # The encryption of the wheel itself; DuckDB's own preference, OpenSSL in its httpfs extension, is a download.
    connection.sql("set force_mbedtls_unsafe = 'true'")
    database = os.path.join(folder, "encrypted.duckdb").replace("'", "''")
    connection.sql(f"attach '{database}' as sealed (encryption_key '{os.urandom(32).hex()}')")
    for table, file in files.items():
        connection.sql(f"create table sealed.{table} as from read_parquet('{file}')")
    connection.sql("checkpoint sealed")
    connection.sql("use sealed")
    encrypted = measure(connection, queries, repetitions)
    json.dump({"version": duckdb.__version__, "parquet": parquet, "encrypted": encrypted}, sys.stdout)


main()
