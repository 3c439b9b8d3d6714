"""Rules of CONTRIBUTING.md that a formatter and clang-tidy do not know. Each finding: file:line: rule: what to do.

usage: house_rules.py [FILE...]     without files: every file that git knows or would add. Status 1 on a finding.
"""
import pathlib
import re
import subprocess
import sys

CODE = (".h", ".cc", ".cu")
LINES = 600


def at(pattern, rule, sentence, only=CODE, folders=("comm/", "trainer/", "launcher/", "proto/", "tests/"), but=()):
    return re.compile(pattern, re.M), rule, sentence, only, folders, but


PATTERNS = [
    at(r"^\s*#\s*define\s+(?!RONDO_|HWY_TARGET_INCLUDE\b)(\w+)", "macro", "a macro of ours begins with RONDO_"),  # foreach_target.h asks for the other one
    at(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b", "unfinished", "finish it, or write down elsewhere what is open"),
    at(r"\bDISABLED_\w+", "disabled test", "mend the test or remove it"),
    at(r"^using namespace (?!std::\w*literals|std::chrono_literals)", "namespace", "name what is used; no using-directive", only=(".h",)),
    at(r"\batomic_thread_fence\b", "fence", "the thread sanitizer cannot see fences: use acquire and release on an atomic"),
    at(r"\.detach\(\)", "detached thread", "a thread has an owner that joins it", but=("trainer/", "tests/trainer/", "tests/parity/")),  # tensors have detach()
    at(r"\b(throw\b|std::abort|std::exit|\bexit\(|std::cout|std::cerr|\bprintf\()", "comm is silent",
       "comm never throws, prints, exits or aborts: return a Status", folders=("comm/",), but=("comm/base/check", "comm/include/rondo/comm/check.h", "comm/bench/")),
    at(r"\b(sleep_for|sleep_until|usleep|nanosleep)\b", "sleep", "no sleep as synchronisation: wait for the event, with a deadline", folders=("comm/", "trainer/", "launcher/"),
       but=("comm/watch/robust_mutex.cc",)),  # there the thread sanitizer knows no other timed wait
]


def strip_comments(text):
    """Comments become blanks; lines keep their numbers."""
    blank = lambda match: re.sub(r"[^\n]", " ", match.group(0)) if match.group(0).startswith("/") else match.group(0)
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def findings(path, text):
    code = path.endswith(CODE)
    if code or path.endswith((".py", ".sh", ".cmake")) or path == "dev":
        count = text.count("\n")
        if count > LINES:
            yield LINES + 1, "length", f"{count} lines, at most {LINES}: split by concept"
    if not code:
        return
    if path.endswith(".h"):
        if not text.startswith("//"):
            yield 1, "header", "a header opens with what it is and why it exists (///)"
        if "#pragma once" not in text and not path.endswith("-inl.h"):  # those are included once for each instruction set
            yield 1, "header", "#pragma once is missing"
    bare = strip_comments(text)
    for pattern, rule, sentence, only, folders, but in PATTERNS:
        if not path.endswith(only) or not path.startswith(folders) or (but and path.startswith(but)):
            continue
        for match in pattern.finditer(text if rule == "unfinished" else bare):
            yield text.count("\n", 0, match.start()) + 1, rule, f"{match.group(0).strip()}: {sentence}"


def main(arguments):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True, text=True).stdout.split("\n")
    bad = 0
    for path in arguments or sorted(p for p in listed if pathlib.Path(p).is_file()):
        if not path.endswith(CODE + (".py", ".sh", ".cmake")) and path != "dev":
            continue
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
        for line, rule, sentence in findings(path, text):
            print(f"{path}:{line}: {rule}: {sentence}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
