"""``make bench``: every figure in one table. ``python -m bench NAME …`` runs single parts."""

import argparse
import importlib
import os
import platform
from typing import Any

PARTS = (
    "tracker_accuracy",
    "adaptive_traces",
    "traced_bodies",
    "compositor",
    "decoding",
    "hops",
    "receiving",
    "graph_latency",
    "control_latency",
    "ticks",
    "driver_ticks",
    "safety_gate",
    "bridge_overhead",
    "footprint",
    "policy_decoding",
    "policy_small",
    "policy_st4vla",
    "policy_ssm_vla",
    "policy_cuda",
    "training_step",
    "training_memory",
)
# Run only when asked for: one takes half an hour, one is for making decisions, two need root.
LONG_PARTS = ("soak", "executors", "two_computers", "pulled_plug")


def text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="NAME",
        help=f"one of {', '.join(PARTS + LONG_PARTS)}; default: all but the last four",
    )
    chosen = parser.parse_args().parts or PARTS
    unknown = set(chosen) - set(PARTS + LONG_PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS + LONG_PARTS)}")
    print(f"{platform.machine()}, {os.cpu_count()} cores\n")
    for part in chosen:
        load = os.getloadavg()[0]
        rows = importlib.import_module(f"bench.{part}").rows()
        for row in rows:
            if "missing" in row:
                print(f"not run: {row['missing']}\n")
        rows = [row for row in rows if "missing" not in row]
        if not rows:
            continue
        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = [columns] + [[text(row.get(column, "")) for column in columns] for row in rows]
        widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
        print(f"## {part} (load {load:.1f} before it)\n")
        for number, line in enumerate(cells):
            print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |", flush=True)
            if number == 0:
                print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        print(flush=True)


if __name__ == "__main__":
    main()
