#!/usr/bin/env python3
"""Answers small questions about what the programs print as JSON (standard input). Exit code 0: yes, 1: no, 2: another form.

    look.py online NODE               the node is connected                       tacit nodes --json
    look.py points NODE               prints how many points it had learned from when it started
    look.py only                      prints the name of the one node there is
    look.py event WORDS               some event has these words                  tacit events --json
    look.py sources FILE1 FILE2       prints which sources the second sees less   tacit-agent doctor --json, twice
"""

import json
import sys


def node(name):
    for one in json.load(sys.stdin)["nodes"]:
        if one["node"] == name:
            return one
    return None


def states(file):
    with open(file, encoding="utf-8") as text:
        report = json.load(text)
    seen = {f"source {s['source']}": (s["state"], s.get("reason") or "") for s in report["sources"]}
    for group in ("context", "access"):
        seen.update({f"{group} {f['what']}": ("data" if f["good"] else "absent", f["detail"]) for f in report[group]})
    return seen


def main():
    what, *rest = sys.argv[1:]
    if what == "online":
        one = node(rest[0])
        return one is not None and one["presence"] == "online"
    if what == "points":
        one = node(rest[0])
        print(max((m["points"] for m in one["birth"]["models"]), default=0) if one else -1)
        return one is not None
    if what == "only":
        names = [one["node"] for one in json.load(sys.stdin)["nodes"]]
        print(" ".join(names))
        return len(names) == 1
    if what == "event":
        return any(rest[0] in json.dumps(e, ensure_ascii=False) for e in json.load(sys.stdin)["events"])
    if what == "sources":
        more, less = states(rest[0]), states(rest[1])
        for name, (state, _) in more.items():
            now, reason = less.get(name, ("missing", ""))
            if state == "data" and now != "data":
                print(f"{name}\t{now}\t{reason}")
        return True
    sys.exit(f"look.py: what is {what}?")


try:
    sys.exit(0 if main() else 1)
except (KeyError, TypeError, ValueError, IndexError) as error:
    print(f"look.py {' '.join(sys.argv[1:])}: {error!r}", file=sys.stderr)
    sys.exit(2)
