"""check_docs.py CHECK: one promise about the documents, run from the top of the tree. Status 1 and a sentence each when broken."""
import pathlib
import re
import subprocess
import sys

DOCUMENTS = ["README.md", "ARCHITECTURE.md", "GLOSSARY.md", "CONTRIBUTING.md"]


def read(path):
    return pathlib.Path(path).read_text(encoding="utf-8")


def source_files():
    """(path, text) of the sources that are shipped: tests may say what they like."""
    for path in sorted(p for folder in ("comm", "trainer", "launcher") for p in pathlib.Path(folder).rglob("*")):
        if path.suffix in (".h", ".cc"):
            yield str(path), path.read_text(encoding="utf-8")


def files_named_by_the_data_way_exist():
    """ARCHITECTURE.md opens with the data's way; each `path` between its first two headings is a file or a folder."""
    opening = read("ARCHITECTURE.md").split("\n## ")[1]
    named = re.findall(r"`((?:comm|trainer|launcher|proto)/[\w./]+)`", opening)
    if len(named) < 8:
        yield f"ARCHITECTURE.md's opening names {len(named)} places; the data's way has more"
    for path in named:
        if not pathlib.Path(path).exists():
            yield f"ARCHITECTURE.md names {path}, which does not exist"


def links_lead_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", read(document)):
            if not pathlib.Path(target).exists():
                yield f"{document} links to {target}, which does not exist"


def verbs_named_exist():
    offered = set(re.findall(r"^  ([a-z]+) ", subprocess.run(["./dev"], capture_output=True, text=True, check=True).stdout, re.M))
    handled = set(re.findall(r"[a-z]+", " ".join(re.findall(r"^  ([a-z| ]+)\)", read("dev"), re.M)))) - {"help"}
    if offered != handled:
        yield f"`./dev` offers {sorted(offered)} and knows {sorted(handled)}"
    for document in DOCUMENTS:
        for verb in re.findall(r"\./dev ([a-z]+)", read(document)):
            if verb not in offered:
                yield f"{document} says ./dev {verb}; there is no such verb"


def environment_variables_are_listed():
    listed = set(re.findall(r"`(RONDO_[A-Z_]+)`", read("ARCHITECTURE.md")))
    for path, text in source_files():
        for name in sorted(set(re.findall(r'"(RONDO_[A-Z_]+)"', text)) - listed):
            yield f"{path} uses {name}, which ARCHITECTURE.md does not list"


def threads_are_listed():
    """Each thread has a name (start_thread of comm/base/thread.h); ARCHITECTURE.md lists it."""
    listed = read("ARCHITECTURE.md")
    for path, text in source_files():
        for name in re.findall(r'\bstart_thread\(\s*"([^"]+)"', text):
            if f"`{name}`" not in listed:
                yield f"{path} starts a thread named {name}, which ARCHITECTURE.md does not list"


if __name__ == "__main__":
    check = globals()[re.sub(r"(?<!^)([A-Z])", r"_\1", sys.argv[1]).lower()]
    findings = list(check())
    print("\n".join(findings) or "nothing found")
    sys.exit(1 if findings else 0)
