"""What the examples have in common: simulated telemetry of a host, and writing the manifest.

The values are standardised as the agent's `standardised-window` does it: deviation from what is usual, in units of the
usual deviation, cut at 10.
"""

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent

# Name and attributes as the node's dictionary prints them, and the unit.
SERIES = [
    ("system.cpu.utilization{cpu.mode=user}", "1"),
    ("system.cpu.utilization{cpu.mode=system}", "1"),
    ("system.cpu.load_average.1m", "{thread}"),
    ("system.memory.utilization", "1"),
    ("system.linux.pressure{system.resource=cpu,system.pressure.kind=some}", "1"),
    ("system.linux.tcp.established", "{connection}"),
    ("system.linux.tcp.retransmits", "{segment}/s"),
    ("system.linux.tcp.resets{network.io.direction=receive}", "{reset}/s"),
]


def telemetry(points, seed):
    """Deviations [points, 8]: two slow common causes seen by all series, and noise of their own."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(2, len(SERIES)))
    causes = np.zeros((points, 2))
    own = np.zeros((points, len(SERIES)))
    for t in range(1, points):
        causes[t] = 0.95 * causes[t - 1] + 0.3 * rng.normal(size=2)
        own[t] = 0.6 * own[t - 1] + 0.5 * rng.normal(size=len(SERIES))
    values = causes @ mixing + own
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    return np.clip(values, -10, 10).astype(np.float32)


def windows(values, rows):
    """All windows [n, rows, series] of a recording."""
    return np.stack([values[i : i + rows] for i in range(len(values) - rows + 1)])


def numbers(values):
    """A list of numbers in TOML, all digits of a float32."""
    return "[" + ", ".join(repr(float(np.float32(v))) for v in np.asarray(values).ravel()) + "]"


def manifest(name, what, *, rows, kind, foreign, golden, named=True, layout="node-vector", extra=""):
    """Writes NAME.toml. `golden` are pairs of an input [rows, columns] and the score your framework gives it."""
    columns, units = '"all-series"', ""
    if named:
        columns = "{ named = [\n" + "".join(f'  "{series}",\n' for series, _ in SERIES) + "] }"
        units = "units = [" + ", ".join(f'"{unit}"' for _, unit in SERIES) + "]\n"
    text = f"""# {what}
# Written by {name.replace("-", "_")}.py.
name = "{name}"
version = "1.0.0"
format = "onnx"

[input]
rows = {rows}
columns = {columns}
{units}layout = "{layout}"
preprocessing = "standardised-window"
period_ms = 1000
{extra}
[output]
kind = "{kind}"

[decision]
fusion = "mean"
threshold = "alarm-budget"

[foreign]
{foreign}
"""
    for given, score in golden:
        text += f"\n[[golden]]\ninput = {numbers(given)}\noutput = {numbers(score)}\n"
    (HERE / f"{name}.toml").write_text(text)


def report(name):
    size = (HERE / f"{name}.onnx").stat().st_size
    print(f"{name}.onnx: {size} bytes")
    assert size <= 60_000, "an example stays small"
