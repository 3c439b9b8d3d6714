"""soak_figures.py LOG...: merges the samples that tests printed (print_samples of tests/support/soak.h), a line a metric."""
import json
import math
import sys

samples = {}
for path in sys.argv[1:]:
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            if line.startswith('{"metric"'):
                found = json.loads(line)
                samples.setdefault(found["metric"], []).extend(found["samples"])

for metric, values in samples.items():
    values.sort()
    at = lambda share: values[max(1, math.ceil(share * len(values))) - 1] if values else 0
    print(f"{metric} n {len(values)} p50 {at(0.5):.1f} p99 {at(0.99):.1f} max {at(1):.1f}")
