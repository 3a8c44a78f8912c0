"""Read what an offline run of W&B would send."""

import json
import struct
import time


def wandb_records(path):
    """Read the log of an offline run: blocks of 32 KiB with chunks of (checksum, length, type), as in LevelDB."""
    from wandb.proto import wandb_internal_pb2

    data, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record = (b"" if kind in (1, 2) else record) + data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(record)


def wandb_log(folder):
    """The records of the run in a folder, as soon as the process that writes them is done."""
    (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    for _ in range(150):
        records = list(wandb_records(path))
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            break
        time.sleep(0.2)
    return records


def named(item):
    return item.key or "/".join(item.nested_key)


def logged(records):
    """By name, the last value of each thing in the history."""
    return {named(item): json.loads(item.value_json) for record in records for item in record.history.item}


def config_of(records):
    updates = [update for record in records for update in (*record.config.update, *record.run.config.update)]
    return {named(item): json.loads(item.value_json) for item in updates}
