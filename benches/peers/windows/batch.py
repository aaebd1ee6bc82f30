"""One batch engine over the columns of the windows bench: CPU seconds of each repetition, and the digest.

batch.py FOLDER ENGINE THREADS REPETITIONS, where THREADS 0 leaves their number to the engine. Prints one
line: version, rows, count, sum of sums, sum of mins, sum of maxs, then the CPU seconds of each repetition.
"""
import os
import sys
import time

folder, engine, threads, repetitions = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if threads:
    # Read when the engine is imported.
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    os.environ["RAYON_NUM_THREADS"] = str(threads)

import numpy as np

WINDOW_MS = 10_000
QUERY = (
    "select {window} as w, key, count(*) as c, sum(cast(value as double)) as s, "
    "min(value) as mn, max(value) as mx from events group by 1, 2"
)


def columns():
    read = lambda name, kind: np.fromfile(f"{folder}/{name}", kind)
    return {"ts": read("at", np.int64), "key": read("key", np.uint32), "value": read("value", np.float32)}


def digest(rows):
    total = lambda name: float(np.sum(np.asarray(rows[name]), dtype=np.float64))
    return len(rows["c"]), int(total("c")), total("s"), total("mn"), total("mx")


def polars(how):
    import polars as pl

    value = pl.col("value")
    query = (
        pl.DataFrame(columns())
        .lazy()
        .group_by((pl.col("ts") // WINDOW_MS).alias("w"), "key")
        .agg(c=pl.len(), s=value.cast(pl.Float64).sum(), mn=value.min(), mx=value.max())
    )
    return pl.__version__, lambda: query.collect(engine=how)


def duckdb():
    import duckdb
    import pyarrow as pa

    connection = duckdb.connect()
    if threads:
        connection.execute(f"set threads={threads}")
    connection.register("arrow", pa.table(columns()))
    connection.execute("create table events as select * from arrow")
    query = QUERY.format(window=f"ts // {WINDOW_MS}")
    return duckdb.__version__, lambda: connection.execute(query).fetchnumpy()


def datafusion():
    import datafusion
    import pyarrow as pa

    parts = threads or os.cpu_count() or 1
    config = datafusion.SessionConfig().with_target_partitions(parts)
    context = datafusion.SessionContext(config)
    batches = pa.table(columns()).to_batches(max_chunksize=8192)
    share = -(-len(batches) // parts)
    partitions = [batches[at : at + share] for at in range(0, len(batches), share)]
    context.register_record_batches("events", partitions)
    query = QUERY.format(window=f"ts / {WINDOW_MS}")
    return datafusion.__version__, lambda: pa.Table.from_batches(context.sql(query).collect())


ENGINES = {
    "polars-streaming": lambda: polars("streaming"),
    "polars-memory": lambda: polars("in-memory"),
    "duckdb": duckdb,
    "datafusion": datafusion,
}
version, run = ENGINES[engine]()
seconds = []
for _ in range(repetitions):
    begin = time.process_time()
    rows = run()
    seconds.append(time.process_time() - begin)
print(version, *digest(rows), *seconds)
