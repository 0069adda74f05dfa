"""Sums up a CSV of bicycle hire (day, station, rides, minutes) in parts. Standard library only.

dataset.py shards FILE COUNT     the ranges of lines to work on, as a JSON list of "first-last"
dataset.py part FILE RANGE       the sums of a range by station, as JSON; lines with a gap are counted, not summed
dataset.py merge FOLDER          the sums of all the parts *.json below FOLDER, as CSV
"""

import csv
import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path


def shards(file: str, count: int) -> list[str]:
    """About equal ranges of the lines after the head, both ends included."""
    total = len(Path(file).read_text().splitlines()) - 1
    count = max(1, min(count, total))
    ends = [total * number // count for number in range(count + 1)]
    return [f"{first + 1}-{last}" for first, last in pairwise(ends)]


def part(file: str, lines: str) -> dict[str, object]:
    """The sums of one range."""
    first, last = map(int, lines.split("-"))
    rides: Counter[str] = Counter()
    minutes: Counter[str] = Counter()
    skipped = 0
    with Path(file).open(newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), 1):
            if not first <= number <= last:
                continue
            if not row["rides"]:
                skipped += 1
                continue
            rides[row["station"]] += int(row["rides"])
            minutes[row["station"]] += int(row["minutes"])
    return {"lines": last - first + 1, "skipped": skipped, "rides": rides, "minutes": minutes}


def merge(folder: str) -> None:
    """Print the sums by station, the busiest first."""
    rides: Counter[str] = Counter()
    minutes: Counter[str] = Counter()
    for file in Path(folder).rglob("*.json"):
        found = json.loads(file.read_text())
        rides.update(found["rides"])
        minutes.update(found["minutes"])
    print("station,rides,minutes,minutes_per_ride")
    for station, count in rides.most_common():
        print(f"{station},{count},{minutes[station]},{minutes[station] / count:.2f}")


match sys.argv[1:]:
    case ["shards", file, count]:
        print(json.dumps(shards(file, int(count))))
    case ["part", file, lines]:
        print(json.dumps(part(file, lines)))
    case ["merge", folder]:
        merge(folder)
    case _:
        raise SystemExit(__doc__)
