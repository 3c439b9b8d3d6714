"""Puts one seeded defect after the other into a copy of the tree; the test named for it must fail, and pass without it.

usage: python mutate.py [--check] [--list] [--copy FOLDER] [NAME...]
"""
import argparse
import os
import pathlib
import signal
import subprocess
import sys

from defects import DEFECTS

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
SECONDS = 200  # for a test; its own deadlines are shorter


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only: the text that each defect replaces is there once")
    parser.add_argument("--list", action="store_true", help="print the names, and nothing else")
    parser.add_argument("--copy", type=pathlib.Path, default=TREE / "build/mutate", help="where the copy is; it keeps what it has built")
    parser.add_argument("name", nargs="*", help="default: all")
    return parser.parse_args()


def stale(defect):
    """Why the defect no longer fits the tree, or nothing."""
    count = (TREE / defect.file).read_text().count(defect.old)
    return "" if count == 1 else f"{defect.file} has the text to replace {count} times: {defect.old}"


def check(defects):
    names = [defect.name for defect in defects]
    problems = [f"{name}: two defects have this name" for name in sorted(set(names)) if names.count(name) > 1]
    problems += [f"{defect.name}: {why}" for defect in defects if (why := stale(defect))]
    for problem in problems:
        print(problem)
    print(f"mutations: {len(defects)} defects, {len(problems)} problems")
    return not problems


def write_if_different(file, content):
    """Leaves the time of an equal file alone, so that nothing is built for it."""
    if not file.exists() or file.read_bytes() != content:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def copy_tree(folder):
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TREE, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        source = TREE / name
        if source.is_file():
            write_if_different(folder / name, source.read_bytes())
            (folder / name).chmod(source.stat().st_mode)


def build(folder, programs):
    return subprocess.run(["./dev", "build", "--preset", "ci", *programs], cwd=folder, capture_output=True, text=True)


def run(folder, defect):
    """(passed, what it said)"""
    command = [folder / "build/ci/bin" / defect.program, f"--gtest_filter={defect.test}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True) as test:
        try:
            said, _ = test.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(test.pid, signal.SIGKILL)
            return False, "it hangs"
    failed = [line.split("] ", 1)[1].split(" (")[0] for line in said.splitlines() if line.startswith("[  FAILED  ]") and line.endswith("ms)")]
    if test.returncode == 0 and "[  PASSED  ] 0 tests" in said:
        return False, "no such test"
    return test.returncode == 0, ", ".join(dict.fromkeys(failed)) or f"it ends with status {test.returncode}"


def seed(folder, defect):
    """(caught, how)"""
    file = folder / defect.file
    sound = file.read_bytes()
    file.write_text(sound.decode().replace(defect.old, defect.new))
    try:
        built = build(folder, [defect.program])
        if built.returncode != 0:
            return False, "it does not compile: " + next((line for line in built.stdout.splitlines() if "error:" in line), "see ./dev build")
        passed, said = run(folder, defect)
        return not passed, f"{defect.test} passes" if passed else said
    finally:
        file.write_bytes(sound)


def main():
    options = arguments()
    known = [defect.name for defect in DEFECTS]
    if options.list:
        print(*known, sep="\n")
        return 0
    if unknown := set(options.name) - set(known):
        sys.exit(f"mutate: there is no defect {', '.join(sorted(unknown))}; --list names them")
    chosen = [defect for defect in DEFECTS if not options.name or defect.name in options.name]
    if not check(chosen):
        return 1
    if options.check:
        return 0
    copy_tree(options.copy)
    built = build(options.copy, sorted({defect.program for defect in chosen}))
    if built.returncode != 0:
        sys.exit(f"mutate: the tree without a defect does not build:\n{built.stdout[-2000:]}{built.stderr[-2000:]}")
    sound = {(defect.program, defect.test): run(options.copy, defect) for defect in chosen}
    width = max(len(defect.name) for defect in chosen)
    caught = 0
    for defect in chosen:
        passed, said = sound[defect.program, defect.test]
        good, how = seed(options.copy, defect) if passed else (False, f"{defect.test} fails without a defect: {said}")
        caught += good
        print(f"{defect.name:{width}}  {'caught' if good else 'NOT CAUGHT'}  {how}", flush=True)
    build(options.copy, sorted({defect.program for defect in chosen}))  # the copy is sound again
    print(f"mutate: {caught} of {len(chosen)} defects caught")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
