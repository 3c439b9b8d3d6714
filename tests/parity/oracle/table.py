"""One row a behaviour: what shows it, and what came of running that."""
import fnmatch
import re
import subprocess
import tempfile
import xml.etree.ElementTree as xml


def run_ctest(build, patterns):
    """Test of CTest -> passed, failed or skipped."""
    if not patterns:
        return {}
    regex = "|".join(re.escape(pattern).replace(r"\*", ".*") for pattern in patterns)
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        subprocess.run(["ctest", "--test-dir", build, "-R", f"^({regex})$", "--output-junit", report.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            tests = xml.parse(report.name).getroot().iter("testcase")
        except xml.ParseError:  # CTest found nothing to run
            return {}
        words = {"run": "passed", "fail": "failed"}
        return {test.get("name"): words.get(test.get("status"), "skipped") for test in tests}


def ctest_patterns(rows):
    return sorted({test for row in rows for test in row.tests if not test.startswith("case ")})


def judge(row, cases, ctests):
    """(result, why) of a row from the results of its tests."""
    if not row.tests:
        return tuple(row.without.split(": ", 1)) if ": " in row.without else (row.without, "")
    found, missing = [], []
    for test in row.tests:
        if test.startswith("case "):
            result = cases.get(test.removeprefix("case "))
            found += [(test, result.result, result.why)] if result else [(test, "not run", "")]
        else:
            names = fnmatch.filter(ctests, test)
            found += [(name, ctests[name], "") for name in names]
            missing += [] if names else [test]
    for bad in ("failed", "skipped", "not run", "not built"):
        for test, result, why in found:
            if result == bad:
                return bad, f"{test}: {why}" if why else test
    if missing:
        return "failed", f"there is no test {missing[0]}"
    return "passed", f"{len(found)} tests" if len(found) > 1 else ""


def print_aligned(head, lines):
    """The last column is as long as it likes."""
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head) - 1)]
    for line in [head, *lines]:
        print("  ".join([*(text.ljust(width) for text, width in zip(line, widths)), line[-1]]).rstrip())


def short(tests):
    """The first test by its own name, and how many more there are."""
    if not tests:
        return "-"
    first = tests[0] if tests[0].startswith("case ") else tests[0].split(".", 1)[-1]
    return first if len(tests) == 1 else f"{first} + {len(tests) - 1}"
