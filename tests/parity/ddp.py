"""Rondo against PyTorch's DistributedDataParallel over Gloo: same initial weights and inputs, then the same numbers.

Trains each case in PyTorch and by `rondo run parity_worker`, compares, runs the tests that show the other behaviours, and
prints two tables: the cases with their distances, and a row for each behaviour.

usage: python ddp.py [--case NAME] [--json FILE] [--write-golden] [--programs]
"""
import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parent.parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", help="only this one, without the behaviours; may be repeated")
    parser.add_argument("--json", type=pathlib.Path, help="write both tables there")
    parser.add_argument("--write-golden", action="store_true", help="write tests/parity/golden anew, and nothing else")
    parser.add_argument("--programs", action="store_true", help="print which test programs the table needs, and nothing else")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the files of the cases here")
    parser.add_argument("--build", type=pathlib.Path, default=TREE / "build/ci", help="the build folder with the tests and the worker")
    return parser.parse_args()


def write_golden(folder):
    from oracle import cases, ddp_side

    chosen = cases.golden_cases()
    ddp_side.compute(chosen, folder)
    golden = HERE / "golden"
    for old in golden.glob("*.safetensors"):
        old.unlink()
    for case in chosen:
        (golden / f"{case.name}.safetensors").write_bytes((folder / f"{case.name}.safetensors").read_bytes())
    size = sum(file.stat().st_size for file in golden.iterdir())
    print(f"parity: {len(chosen)} golden files, {size} bytes")


def run_cases(only, folder, programs):
    from oracle import cases, compare, ddp_side

    chosen = [case for case in cases.all_cases() if not only or case.name in only]
    if unknown := set(only or []) - {case.name for case in chosen}:
        sys.exit(f"parity: there is no case {', '.join(sorted(unknown))}")
    ddp_side.compute(chosen, folder)
    return [(case, compare.check(case, folder, programs)) for case in chosen]


def main():
    options = arguments()
    sys.path.insert(0, str(HERE))
    from oracle import rows, table

    if options.programs:
        print(*rows.PROGRAMS, sep="\n")
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.write_golden:
            write_golden(folder)
            return 0
        results = run_cases(options.case, folder, options.build / "bin")

    lines = [(result.name, case.against, str(case.world), result.wanted, result.result, result.why) for case, result in results]
    table.print_aligned(("CASE", "AGAINST", "RANKS", "WANTED", "RESULT", "DISTANCE, OR WHY"), lines)
    verdicts = []
    if not options.case:
        by_name = {result.name: result for _, result in results}
        ctests = table.run_ctest(options.build, table.ctest_patterns(rows.ROWS))
        verdicts = [(row, *table.judge(row, by_name, ctests)) for row in rows.ROWS]
        for part in dict.fromkeys(row.part for row in rows.ROWS):
            print()
            of_part = [(row.behaviour, table.short(row.tests), result, why) for row, result, why in verdicts if row.part == part]
            table.print_aligned((part.upper(), "TEST", "RESULT", "WHY"), of_part)
    if options.json:
        options.json.write_text(json.dumps({
            "cases": [dataclasses.asdict(result) | {"against": case.against, "ranks": case.world} for case, result in results],
            "behaviours": [{"part": row.part, "behaviour": row.behaviour, "tests": row.tests, "result": result, "why": why} for row, result, why in verdicts],
        }, indent=1))
    counted = [result.result for _, result in results]
    shown = [result for _, result, _ in verdicts]
    print(f"\nparity: {counted.count('passed')} of {len(counted)} cases passed; "
          + ", ".join(f"{shown.count(word)} behaviours {word}" for word in dict.fromkeys(shown)))
    return 0 if counted.count("passed") == len(counted) and not {"failed", "skipped", "not run"} & set(shown) else 1


if __name__ == "__main__":
    sys.exit(main())
