"""Which folder may include which: read from the #include lines, because linking alone does not catch it.

The arrows (ARCHITECTURE.md, "Folders"):
    comm <- trainer, comm <- launcher, proto <- launcher, proto <- trainer/observe; none back.
    Inside comm: base <- mpi <- {bootstrap, memory, schedule, kernels} <- watch <- transport <- store <- group <- collective;
    sim stands on base, schedule and transport; bench on all, and nothing on it. Other folders reach comm only through
    rondo/comm/... .
    LibTorch only in trainer and its tests, Protobuf only in launcher, proto and trainer/observe, gRPC only in
    launcher/control, and no file sees LibTorch together with Protobuf, gRPC, fmt or spdlog, by itself or through what it includes.

usage: layers.py [FILE...]     without files: every source file that git knows or would add. Status 1 on a finding.
"""
import pathlib
import re
import subprocess
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)

# Parts of comm and the parts whose private headers each may include besides its own.
_FLOOR = {"base"}
_MIDDLE = _FLOOR | {"mpi", "bootstrap", "memory", "schedule", "kernels"}
_LINKS = _MIDDLE | {"watch", "transport", "store"}
COMM_PARTS = {
    "base": set(),
    "mpi": _FLOOR, "bootstrap": _FLOOR | {"mpi"}, "memory": _FLOOR, "schedule": _FLOOR, "kernels": _FLOOR,
    "watch": _MIDDLE,
    "transport": _MIDDLE | {"watch"},          # what fake ranks share instead of a network holds their job page
    "store": _MIDDLE | {"watch", "transport"},  # the served store speaks the wire format
    "group": _LINKS,
    "collective": _LINKS | {"group"},
    "sim": {"base", "schedule", "transport"},
    "bench": _FLOOR | {"group", "kernels"},  # a program on the public headers; it asks these what was chosen
}

FOREIGN = {  # library -> how its headers begin
    "LibTorch": ("torch/", "ATen/", "c10/", "caffe2/"),
    "gRPC": ("grpc/", "grpcpp/", "proto/control.grpc.pb.h"),
    "Protobuf": ("google/protobuf/", "proto/"),
    "fmt": ("fmt/",),
    "spdlog": ("spdlog/",),
}
FOREIGN_ALLOWED = {
    "LibTorch": ("trainer/", "tests/trainer/", "tests/parity/", "tests/consumer/"),
    "Protobuf": ("launcher/", "proto/", "trainer/observe/", "tests/launcher/", "tests/proto/", "tests/trainer/observe/"),
    "gRPC": ("launcher/control/", "launcher/remote/", "tests/launcher/control/", "tests/launcher/remote/"),
}
TORCH_H_ALLOWED = ("trainer/recipes/", "trainer/examples/", "tests/")  # 30 s of compiling for every file that takes it
PUBLIC_FOLDERS = {"comm/include/": "comm", "trainer/include/": "trainer", "launcher/include/": "launcher"}


def foreign(target):
    return next((library for library, heads in FOREIGN.items() if target.startswith(heads)), None)


def home(target):
    """The top-level folder that an include of ours belongs to, or None for anything else."""
    if target.startswith("rondo/comm/"):
        return "comm"
    if target.startswith("rondo/"):
        return "trainer"
    first = target.split("/")[0]
    return first if first in ("comm", "trainer", "launcher", "proto", "tests") and "/" in target else None


def findings(path, text):
    """Broken arrows of one file by itself: (line, sentence)."""
    top = path.split("/")[0]
    for match in INCLUDE.finditer(text):
        line, target = text.count("\n", 0, match.start(2)) + 1, match.group(2)
        to = home(target)
        if to and (sentence := arrow(path, top, target, to)):
            yield line, sentence
        library = foreign(target)
        if library in FOREIGN_ALLOWED and not path.startswith(FOREIGN_ALLOWED[library]):
            yield line, f"{library} ({target}) belongs to {', '.join(FOREIGN_ALLOWED[library])} only"
        if target in ("torch/torch.h", "torch/extension.h") and not path.startswith(TORCH_H_ALLOWED):
            yield line, f"{target} costs 30 s a file: include the narrow header that is needed"


def arrow(path, top, target, to):
    if top == "tests":
        # Tests mirror the tree: they see the inside of what they test and what that sees.
        mirrored = path.split("/")[1]
        seen = {"comm": {"comm"}, "trainer": {"trainer", "comm", "proto"}, "launcher": {"launcher", "comm", "proto"}, "support": {"comm"}}
        if to not in seen.get(mirrored, {"comm", "trainer", "launcher", "proto"}) | {"tests"}:
            return f"tests/{mirrored} must not include {target}"
        return None
    if to == "tests":
        return f"{top} must not include from tests ({target})"
    if top == to:
        return comm_arrow(path, target) if top == "comm" else recipe_arrow(path, target)
    if to == "comm" and top in ("trainer", "launcher"):
        return None if target.startswith("rondo/comm/") else f"{top} reaches comm only through rondo/comm/..., not {target}"
    if to == "proto" and (top == "launcher" or path.startswith("trainer/observe/")):
        return None
    return f"{top} must not include {target}: there is no arrow from {to} to {top}"


def comm_arrow(path, target):
    if target.startswith("rondo/comm/"):
        return None
    part, other = path.split("/")[1], target.split("/")[1]
    if part == "include":
        return f"a public header must not include the private {target}"
    if part not in COMM_PARTS:
        return f"comm/{part} is not in the list of parts: name it in cmake/layers.py and ARCHITECTURE.md"
    if other != part and other not in COMM_PARTS[part]:
        return f"comm/{part} must not include {target}: there is no arrow from {other} to {part}"
    return None


def recipe_arrow(path, target):
    if target.startswith("trainer/recipes/") and not path.startswith("trainer/recipes/"):
        return f"recipes hold what `rondo train` runs: nothing includes them, and {path} includes {target}"
    return None


def resolve(target, including, known):
    candidates = [target, str(pathlib.PurePosixPath(including).parent / target)] + [folder + target for folder in PUBLIC_FOLDERS]
    return next((c for c in candidates if c in known), None)


def mixed(path, includes, known):
    """LibTorch and one of its enemies in what `path` sees, with the way to each."""
    seen, ways, queue = {path}, {}, [(path, [path])]
    while queue:
        at, way = queue.pop()
        for target in includes.get(at, []):
            if (library := foreign(target)) and library not in ways:
                ways[library] = way + [target]
            following = resolve(target, at, known)
            if following and following not in seen:
                seen.add(following)
                queue.append((following, way + [following]))
    if "LibTorch" in ways:
        for enemy in ("Protobuf", "gRPC", "fmt", "spdlog"):
            if enemy in ways:
                yield f"LibTorch ({' -> '.join(ways['LibTorch'][1:])}) meets {enemy} ({' -> '.join(ways[enemy][1:])}) in one translation unit"


def main(arguments):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", "*.h", "*.cc", "*.cu"], check=True, capture_output=True, text=True).stdout.split()
    texts = {p: pathlib.Path(p).read_text(encoding="utf-8", errors="replace") for p in listed if pathlib.Path(p).exists()}
    includes = {p: [m.group(2) for m in INCLUDE.finditer(text)] for p, text in texts.items()}
    bad = 0
    for path in arguments or sorted(texts):
        for line, sentence in findings(path, texts.get(path, "")):
            print(f"{path}:{line}: arrow: {sentence}")
            bad += 1
        if path.endswith((".cc", ".cu")):
            for sentence in mixed(path, includes, texts):
                print(f"{path}:1: arrow: {sentence}")
                bad += 1
    if not arguments:
        print(f"layers: {len(texts)} files, {bad} broken arrows")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
