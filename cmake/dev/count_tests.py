"""Reads CTest's JUnit report: prints why tests were skipped, what failed, and one line that counts. Status 1 on failure."""
import re
import sys
import xml.etree.ElementTree as xml

passed, failed, skipped = 0, [], []
for path in sys.argv[1:]:
    for case in xml.parse(path).getroot().iter("testcase"):
        mark = case.find("skipped")
        message = mark.get("message", "") if mark is not None else ""
        if case.get("status") == "run":
            passed += 1
        elif message.startswith("SKIP_"):
            # GoogleTest prints "file:line: Skipped" and the reason on the line after it.
            reason = re.search(r"Skipped\s*\n(.*)", case.findtext("system-out") or "")
            skipped.append((case.get("name"), reason.group(1).strip() if reason else "no reason given"))
        else:  # failed, or its program was not built
            failed.append(f"{case.get('name')}{': ' + message if message else ''}")

for name, reason in skipped:
    print(f"skipped: {name}: {reason}")
for name in failed:
    print(f"failed: {name}")
print(f"tests: {passed} passed, {len(failed)} failed, {len(skipped)} skipped")
sys.exit(1 if failed or passed == 0 else 0)
