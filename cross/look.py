#!/usr/bin/env python3
"""Answers small questions of cross/test.sh. Exit code 0: yes, 1: no (and why, on standard error), 2: another form.

    look.py ports N                 prints N ports on loopback that are free now
    look.py doctor ARCH             tacit-agent doctor --json: the machine begins with ARCH, and the sources see it
    look.py sample                  tacit-agent sample --json: numbers for the series that every machine has
    look.py held FOLDER FILE        writes the numbers of all messages in an outbox to FILE, and prints how many: events, the rest
    look.py more FOLDER N [FILE]    the outbox holds at least N events more than FILE
    look.py kept FILE FOLDER        the outbox still holds everything in FILE
    look.py sent FILE FOLDER        the outbox holds nothing of FILE any more
    look.py arrived FILE LOG        everything in FILE is in LOG (mosquitto_sub -F '%t %x'); prints how many
    look.py ordered LOG             in LOG each stream counts 1, 2, 3 … without a gap, leaving out what came twice; prints how many
    look.py stored FILE DATABASE    the collector counts all of FILE as stored; prints how many events it has
    look.py online NODE             tacit nodes --json: the node is connected
"""

import json
import math
import pathlib
import socket
import sqlite3
import sys
import zlib

# agent/src/outbox/record.rs: crc, length, stream, number, time, lane, topic, payload.
HEADER = b"TACITOB1"
PREFIX, FIXED = 8, 26


def complain(*words):
    print("look.py:", *words, file=sys.stderr)
    return False


def ports(count):
    held = [socket.socket() for _ in range(int(count))]
    for one in held:
        one.bind(("127.0.0.1", 0))
    print(*(one.getsockname()[1] for one in held))
    return True


def doctor(arch):
    report = json.load(sys.stdin)
    if not report["identity"]["arch"].startswith(arch):
        return complain("the machine says that it is", report["identity"]["arch"])
    states = {s["source"]: s for s in report["sources"]}
    for source in ("cpu", "memory", "load", "network"):
        if states.get(source, {}).get("state") != "data":
            return complain(source, "sees nothing:", states.get(source))
    return report["series"] >= 30 or complain(report["series"], "series")


def sample():
    series = json.load(sys.stdin)
    known = {}
    for one in series:
        known.setdefault(one["name"], []).append(one["value"])
    for name in ("system.cpu.utilization", "system.memory.usage"):
        values = known.get(name, [])
        if not any(isinstance(v, (int, float)) and math.isfinite(v) and v >= 0 for v in values):
            return complain(name, "has no value:", values)
    return len(series) >= 30 or complain(len(series), "series")


def records(folder):
    """(stream, number, lane) of each whole record of an outbox."""
    for file in sorted(pathlib.Path(folder).glob("*.seg")):
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            # Everything in it was acknowledged meanwhile.
            continue
        at = len(HEADER)
        while data[: len(HEADER)] == HEADER and at + PREFIX + FIXED <= len(data):
            crc, length = (int.from_bytes(data[at + i : at + i + 4], "little") for i in (0, 4))
            if length < FIXED or at + PREFIX + length > len(data) or zlib.crc32(data[at + 4 : at + PREFIX + length]) != crc:
                break
            number = int.from_bytes(data[at + 16 : at + 24], "little")
            yield data[at + 8 : at + 16].hex(), number, data[at + 32]
            at += PREFIX + length


def events(messages):
    return sum(1 for _, _, lane in messages if lane == 0)


def read(file):
    with open(file, encoding="utf-8") as text:
        return [tuple(one) for one in json.load(text)]


def held(folder, file):
    messages = sorted(set(records(folder)))
    pathlib.Path(file).write_text(json.dumps(messages), encoding="utf-8")
    print(f"{events(messages)} events, {len(messages) - events(messages)} other messages")
    return True


def more(folder, count, *before):
    known = events(read(before[0])) if before else 0
    return events(set(records(folder))) >= known + int(count)


def arrivals(log):
    """(stream, number) of each numbered message, in the order of arrival."""
    with open(log, encoding="utf-8") as lines:
        for line in lines:
            topic, _, payload = line.strip().partition(" ")
            if topic.rsplit("/", 1)[-1] not in ("event", "summary", "links", "report"):
                continue
            head = json.loads(bytes.fromhex(payload))["head"]
            yield head["stream"], head["seq"]


def missing(wanted, there):
    """Messages of the first that are not in the second, lanes aside."""
    return sorted({(stream, number) for stream, number, *_ in wanted} - {(stream, number) for stream, number, *_ in there})


def ordered(log):
    newest = {}
    total = 0
    for stream, number in arrivals(log):
        last = newest.get(stream, 0)
        if number > last + 1:
            return complain(f"number {number} of stream {stream} came after {last}")
        if number == last + 1:
            newest[stream] = number
            total += 1
    print(f"{total} messages of {len(newest)} streams")
    return total > 0


def stored(file, database):
    base = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    contiguous = {bytes(stream).hex(): number for stream, number in base.execute("SELECT stream, contiguous FROM stream")}
    for stream, number, _ in read(file):
        if contiguous.get(stream, 0) < number:
            return complain(f"number {number} of stream {stream} is not stored; up to {contiguous.get(stream, 0)} is")
    count = base.execute("SELECT count(*) FROM event").fetchone()[0]
    print(f"{count} events in the database")
    return count > 0


def main():
    what, *rest = sys.argv[1:]
    if what in ("ports", "doctor", "sample", "held", "more", "ordered", "stored"):
        return globals()[what](*rest)
    if what == "kept":
        gone = missing(read(rest[0]), records(rest[1]))
        return not gone or complain("these are gone:", gone[:5])
    if what == "sent":
        wanted = {tuple(one[:2]) for one in read(rest[0])}
        return not any((stream, number) in wanted for stream, number, _ in records(rest[1]))
    if what == "arrived":
        wanted = read(rest[0])
        late = missing(wanted, arrivals(rest[1]))
        if late:
            return complain(len(late), "of", len(wanted), "have not arrived, as", late[0])
        print(f"{len(wanted)} messages, {events(wanted)} of them events")
        return True
    if what == "online":
        nodes = json.load(sys.stdin)["nodes"]
        return any(one["node"] == rest[0] and one["presence"] == "online" for one in nodes)
    sys.exit(f"look.py: what is {what}?")


try:
    sys.exit(0 if main() else 1)
except (KeyError, TypeError, ValueError, IndexError, OSError, sqlite3.Error) as error:
    print(f"look.py {' '.join(sys.argv[1:])}: {error!r}", file=sys.stderr)
    sys.exit(2)
