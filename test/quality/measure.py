#!/usr/bin/env python3
"""measure.py RESULTS FINDINGS: two measures of `tocsin replay` that the scorers do not have.

Calibration: the share of normal rows (label 0, of the scored part, not within five rows after a label, after the first
eighth of the file) with a score above s, times 10^s, for s = 1 to 4: 1 is what a score says of itself.
False pages: findings that touch no labelled row, nor one within half an hour before, for each series and week.

Prints one line: four ratios, normal rows, false pages a week, all pages a week.
"""
import csv
import datetime
import glob
import json
import os
import sys


def seconds(text):
    try:
        return float(text)
    except ValueError:
        text = text.replace("Z", "+00:00")
        at = datetime.datetime.fromisoformat(text)
        return at.replace(tzinfo=at.tzinfo or datetime.timezone.utc).timestamp()


def main(results, findings, interval):
    by_file = {}
    with open(findings, encoding="utf-8") as f:
        for line in f:
            finding = json.loads(line)
            by_file.setdefault(finding["file"], []).append(finding)
    above, rows, false, pages, weeks = [0] * 4, 0, 0, 0, 0.0
    for path in sorted(glob.glob(os.path.join(results, "**", "*.csv"), recursive=True)):
        with open(path, encoding="utf-8") as f:
            table = list(csv.DictReader(f))
        times = [seconds(r["timestamp"]) if "timestamp" in r else interval * float(r["step"]) for r in table]
        labels = [r.get("label", "0") if r.get("split", "1") != "0" else "" for r in table]
        bad = [t for t, l in zip(times, labels) if l not in ("", "0", "0.0")]
        recent = -10
        for i, (row, label) in enumerate(zip(table, labels)):
            if label in ("", "0", "0.0"):
                if label and i - recent > 5 and i >= len(table) / 8:
                    rows += 1
                    for s in range(4):
                        above[s] += float(row["anomaly_score"]) > s + 1
            else:
                recent = i
        scored = [t for t, l in zip(times, labels) if l]
        if not scored:
            continue
        weeks += (scored[-1] - scored[0]) / (7 * 86400)
        for finding in by_file.get(os.path.relpath(path, results), []):
            start = seconds(finding["start"])
            end = seconds(finding.get("end") or finding["start"])
            if scored[0] <= start <= scored[-1]:
                pages += 1
                false += not any(start - 1800 <= t <= end for t in bad)
    ratios = " ".join(f"{above[s] / rows * 10 ** (s + 1):.2f}" for s in range(4))
    print(f"{ratios} {rows} {false / weeks:.2f} {pages / weeks:.2f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0)
