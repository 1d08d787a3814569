#!/usr/bin/env python3
"""Writes the recording whose scores every machine must compute: cross/recording.py > cross/recording.csv

960 points of a small made-up machine. From 700 to 739 a runaway program takes the processor, writes, sends and opens files; from 870 to
939 a sensor hangs. One series begins late, one has gaps, one never moves. Numbers are written short, so that they mean the same everywhere;
the committed file counts, not what a later Python makes of the seed.
"""

import random

POINTS = 960
FAULT = range(700, 740)
HANGS = range(870, 940)


def noise(state, rho, rng):
    """The next value of a series that remembers: deviation 1."""
    return rho * state + (1 - rho * rho) ** 0.5 * rng.gauss(0, 1)


def main():
    rng = random.Random(20261201)
    series = [
        "cpu.user", "cpu.system", "load1", "memory.used", "memory.cached", "disk.write", "disk.busy", "net.rx", "net.tx", "tcp.retransmits",
        "processes", "files.open", "temperature", "fan", "requests", "latency", "queue", "probe.duration", "late", "swap.used",
    ]
    print("# Made by cross/recording.py; cross/scores.json holds what it is judged to be.")
    print(",".join(series))
    state = {name: rng.gauss(0, 1) for name in series}
    load, leak, hanging = 0.4, 0.0, None
    rho = {"cpu.user": 0.6, "cpu.system": 0.5, "memory.used": 0.95, "disk.write": 0.2, "disk.busy": 0.3, "net.rx": 0.7, "net.tx": 0.6,
           "files.open": 0.8, "fan": 0.4, "requests": 0.75, "latency": 0.3, "queue": 0.5, "probe.duration": 0.1, "late": 0.5}
    for at in range(POINTS):
        for name, memory in rho.items():
            state[name] = noise(state[name], memory, rng)
        s, fault = state, at in FAULT
        leak = min(leak + (35 if fault else 0), 1500) if fault else leak * 0.6
        busy = 0.12 + 0.02 * s["cpu.user"] + 0.004 * s["requests"] + (0.7 if fault else 0)
        load += (4 * busy - load) / 12
        hot = 48 + 6 * load + 0.2 * rng.gauss(0, 1)
        hanging = (hanging if at in HANGS and hanging is not None else hot) if at in HANGS else None
        values = [
            f"{min(max(busy, 0.01), 1):.4f}",
            f"{max(0.05 + 0.008 * s['cpu.system'] + 0.1 * (busy - 0.12), 0.002):.4f}",
            f"{load:.3f}",
            f"{4096 * round((1.6e9 + 1.2e7 * s['memory.used'] + (4e8 if fault else 0)) / 4096)}",
            f"{4096 * round((2.1e9 + 3e5 * at + 2e6 * rng.random()) / 4096)}",
            f"{2e5 * 2.718281828 ** (0.4 * s['disk.write'] + (2.2 if fault else 0)):.0f}",
            f"{min(max(0.03 + 0.008 * s['disk.busy'] + (0.5 if fault else 0), 0.001), 1):.4f}",
            f"{1.5e5 * 2.718281828 ** (0.25 * s['net.rx']):.0f}",
            f"{9e4 * 2.718281828 ** (0.2 * s['net.tx'] + 0.1 * s['net.rx'] + (1.8 if fault else 0)):.0f}",
            f"{1 if rng.random() < 0.01 else 0}",
            f"{142 + rng.choice([-1, 0, 0, 0, 1]) + (6 if fault else 0)}",
            f"{1900 + 6 * s['files.open'] + leak:.0f}",
            f"{hanging if hanging is not None else hot:.3f}",
            f"{2400 + 15 * s['fan']:.0f}",
            f"{80 + 9 * s['requests'] + 5 * ((at % 30) / 30):.2f}",
            f"{0.021 + 0.0015 * s['latency'] + (0.06 if fault else 0):.5f}",
            f"{max(5 + 1.2 * s['queue'] + (20 if fault else 0), 0):.2f}",
            "" if at % 97 in (40, 41, 42) else f"{0.0123 + 0.0006 * s['probe.duration']:.5f}",
            "" if at < 200 else f"{7 + s['late']:.3f}",
            "0",
        ]
        print(",".join(values))


main()
