#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plants bugs in the library and asks whether the tests notice.

    tests/mutants/run.py [--count 150] [--seed 1] [--from 0] [--jobs 2] [--compiler g++] [--only io/,data/npy] [--list]

A mutant is one header with one change, made by one of the operators below at a position drawn by the seed; every room has an equal share. The header's own test, which passes on
the unchanged tree, is compiled against it and run; if it passes, so are the tests of the headers that include it. A mutant is *caught* when a test fails (or hangs, or crashes),
*stillborn* when it does not compile (not counted), and *equivalent* when equivalent.json argues that the change cannot be seen. Anything else
*survived*, and the script fails: the tests have a hole. Lines that choose an order or a size but no value (grains, thread counts, tile sizes),
error messages and descriptions are left alone; checks, and the shards that sums are cut into, are not. Too few compiled mutants are a failure, too. A run can be made in stages: the last line says where the next one begins.
"""
import argparse, concurrent.futures, json, os, pathlib, random, re, shutil, subprocess, sys, tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ["core", "kernels", "layers", "compose", "losses", "optim", "data", "io", "train", "distributed", "testing"]
NUMBER = r"(?:\d+\.\d+|\d+)"
ATOM = r"[A-Za-z_][\w.]*(?:<[\w:]+>)?(?:\[[^\[\]]*\]|\([^()]*\))*"
BALANCED = r"[^()]*(?:\([^()]*(?:\([^()]*\)[^()]*)*\)[^()]*)*"
CLAUSE = rf"!?{ATOM}(?: [<>=!]=? (?:{ATOM}|{NUMBER}))?"
CHECK = r"\b(?:require(?:<\w+>)?|expect)\("

# name, pattern, replacement. Each match of a pattern in code is a candidate.
OPERATORS = [
    ("sign", rf"(?<=[\w\])]) \+ (?={ATOM}|{NUMBER})", " - "),
    ("sign", rf"(?<=[\w\])]) - (?={ATOM}|{NUMBER})", " + "),
    ("dropped factor", rf"(?<=[\w\])]) \* (?:{ATOM}|{NUMBER})", ""),
    ("dropped factor", rf"(?<=[=(,] )(?:{ATOM}) \* (?={ATOM})", ""),
    ("dropped divisor", rf"(?<=[\w\])]) / (?:{ATOM}|{NUMBER})", ""),
    ("dropped term", rf"(?<=[\w\])]) [+-] (?:{ATOM}|{NUMBER})(?=[;,)])", ""),
    ("missing accumulation", r" \+= ", " = "),
    ("sign of accumulation", r" \+= ", " -= "),
    ("shifted index", r"\[([A-Za-z_]\w*)\](?!\s*=[^=])", r"[\1 > 0 ? \1 - 1 : \1]"),
    ("transposed index", r"\.transposed\(\)", ""),
    ("transposed index", r"\((\w+), (\w+)\)(?= \+?= )", r"(\2, \1)"),
    ("wrong bound", r"(?<=[\w)]) < (?=\w)", " <= "),
    ("wrong bound", r"(?<=[\w)]) > (?=[\w.]+\b(?! \?|[\w.(]))", " >= "),
    ("wrong bound", r" <= ", " < "),
    ("wrong bound", r" >= ", " > "),
    ("wrong bound", r"(?<=[\w)]) == (?=[\w(])", " >= "),
    ("off by one", rf"(?<=[\w)]) ([<>]=?|==) (\d+)\b(?!\.)", r" \1 (\2 + 1)"),
    ("off by one", r"(?<=\bfor \()([^;]*) = 0;", r"\1 = 1;"),
    ("dropped check", rf"({CHECK})(?!bool )", r"\1true || "),
    ("dropped clause", rf"(?<=\(){CLAUSE} && ", ""),
    ("dropped clause", rf" (?:&&|\|\|) {CLAUSE}(?=[,)])", ""),
    ("dropped statement", rf"^(\s*)(?!{CHECK})(?:\+\+[\w.]+|[A-Za-z_][\w.:>-]*\({BALANCED}\));$", r"\1;"),
    ("wrong byte order", r"(\w+) << 8 \| ([^;]+);", r"\2 << 8 | \1;"),
    ("wrong shift", r" (<<|>>) (\d+)\b", r" \1 (\2 - 1)"),
    ("wrong comparison", r"(?<=[\w)]) > (?=[\w.]+ \?)", " < "),
    ("wrong mask offset", r"\b((?:\w+\.)*\w*offset\w*)(?= [<>+)-])", r"(\1 + 1)"),
    ("negated condition", rf"\bif \(({BALANCED}; )?({BALANCED})\)", r"if (\1!(\2))"),
    ("swapped arguments", rf"(?<=\w)\(({ATOM}), ({ATOM})(?=[,)])", r"(\2, \1"),
    ("swapped fma", r"P::fma\(([^,()]+), ([^,()]+), ([^,()]+)\)", r"P::fma(\3, \2, \1)"),
    ("maximum for minimum", r"std::max\b", "std::min"),
    ("maximum for minimum", r"\bP::max\b", "P::min"),
    ("wrong flag", r"(?<=, )true(?=[,)])", "false"),
    ("wrong constant", r"\b0\.5\b", "0.25"),
    ("dropped option", r"^(\s*)\.\w+ = options\.\w+,$", r"\1"),
    ("dropped statement", r"^(\s*if \(.*\)) (?!return|throw)\w[\w.:>-]*\(.*\);$", r"\1 {}"),
    ("wrong initializer", r"Initializer::(?:xavier|fan_in)_\w+|Initializer::(?:trunc_)?normal", "Initializer::zeros"),
    ("wrong constant", r"(?<=T\()1(?=\))", "2"),
    ("cut by threads", r"\bk(?:Max|Most)Shards\b(?=[,)])", "heed::thread_count()"),
    ("cut by threads", r"(\bparallel_sum\([^,]+, )(?!Index )", r"\1heed::thread_count() * "),
]
EVERYWHERE = "cut by threads"  # the operator that changes lines of SKIP, too: what makes sums equal with any number of threads
SKIP = re.compile(r"^\s*(#|HEED_COMPILE_|HEED_INSTANTIATE|using |template|static_assert|namespace|struct \w+;|class )|HEED_ASSERT|visitor\.|grain|thread"
                  r"|parallel_for\(|parallel_sum\(|constexpr|kMaxRank|\bdelete\b|requires|prefetch|reserve|release\(")
WORDS = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|//[^\n]*|\[\[[^\]\n]*\]\]")
MESSAGE = re.compile(rf"{CHECK}|\b(?:fail(?:<\w+>)?|error|text)\(")


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def code_part(source):
    """The source without strings, comments, attributes and the words of messages (what follows the condition of a check), same length, so that positions stay."""
    code = WORDS.sub(lambda m: blank(m.group()), source)
    for call in MESSAGE.finditer(code):
        begin, depth = None if re.match(CHECK, call.group()) else call.end(), 1
        for end in range(call.end(), len(code)):
            depth += (code[end] in "([{") - (code[end] in ")]}")
            if depth == 0:
                break
            if depth == 1 and code[end] == "," and begin is None:
                begin = end + 1
        if begin is not None:
            code = code[:begin] + blank(code[begin:end]) + code[end:]
    return code


def candidates(header):
    source, found = header.read_text(), []
    for number, (line, code) in enumerate(zip(source.splitlines(), code_part(source).splitlines())):
        skipped = SKIP.search(code)
        for operator, pattern, replacement in OPERATORS:
            if skipped and operator != EVERYWHERE:
                continue
            for match in re.finditer(pattern, code):
                # What the pattern's groups caught is taken from the line itself, with its strings.
                changed = line[: match.start()] + re.sub(r"\\(\d)", lambda g: line[slice(*match.span(int(g[1])))], replacement) + line[match.end():]
                if changed != line:
                    found.append((operator, number, line, changed))
    return found


def name_of(header):
    return str(header.relative_to(ROOT / "include" / "heed").with_suffix(""))


def tests_for(header):
    """The header's own test and those of its room that include it, then the same of the headers that include it, then of those that include these, nearest first."""
    texts = {path: path.read_text() for path in sorted((ROOT / "include" / "heed").glob("*/*.hpp"))}
    room = {path: path.read_text() for path in sorted((ROOT / "tests" / header.parent.name).glob("*_test.cpp"))}
    seen, level, tests = {header}, [header], []
    while level and len(tests) < 6:
        tests += [test for test in (ROOT / "tests" / (name_of(path) + "_test.cpp") for path in level) if test.exists()]
        needles = [f"<heed/{name_of(path)}.hpp>" for path in level]
        tests += [path for path, text in room.items() if any(needle in text for needle in needles) and path not in tests]
        level = [path for path, text in texts.items() if path not in seen and any(needle in text for needle in needles)]
        seen.update(level)
    return tests[:6]


def eigen_flags():
    for folder in ("/usr/include/eigen3", "/usr/local/include/eigen3", "/opt/homebrew/include/eigen3"):
        if os.path.isdir(folder):
            return ["-isystem", folder]
    return subprocess.run(["pkg-config", "--cflags", "eigen3"], capture_output=True, text=True).stdout.split()


def compiler(options, level):
    # An index beyond an array or a container ends the program: without that, such a mutant would be undefined and might pass.
    return [options.compiler, "-std=c++20", level, "-fopenmp", "-w", "-fsanitize=bounds", "-fsanitize-undefined-trap-on-error", "-D_GLIBCXX_ASSERTIONS"]


def compile_ahead(options, folder):
    """What every test includes and no mutant changes, compiled once: a third of the time of a small test."""
    options.ahead = {}
    for level in ("-O0", "-O1"):
        header = options.ahead[level] = folder / f"ahead{level}.hpp"
        header.write_text('#include <filesystem>\n#include <Eigen/Core>\n#include "catch.hpp"\n')
        subprocess.run([*compiler(options, level), "-I", str(ROOT / "tests"), *eigen_flags(), "-x", "c++-header", str(header), "-o", f"{header}.gch"], check=True)


def build(test, overlay, level, options, catch_main, program):
    """Compiles a test against the tree with `overlay` (a folder, or None) in front. Returns the compiler's run."""
    front = ["-include", str(options.ahead[level])] + (["-I", str(overlay)] if overlay else [])
    return subprocess.run([*compiler(options, level), *front, "-I", str(ROOT / "include"), "-I", str(ROOT / "tests"), *eigen_flags(), str(test), str(catch_main),
                           *options.libraries, "-o", str(program)], capture_output=True, text=True)


class Baseline:
    """The unchanged tests: each must pass by itself, and says how it is compiled (-O1 only where a test runs for longer than it compiles)
    and how long a mutant of its header may take."""

    def __init__(self, options, catch_main, folder):
        self.options, self.catch_main, self.folder = options, catch_main, folder
        self.known, self.locks, self.lock = {}, {}, threading.Lock()

    def measure(self, test):
        program = self.folder / ("baseline_" + str(test.relative_to(ROOT)).replace("/", "_"))
        start = time.monotonic()
        made = build(test, None, "-O0", self.options, self.catch_main, program)
        built = time.monotonic()
        if made.returncode != 0 or subprocess.run([str(program)], capture_output=True, cwd=self.folder).returncode != 0:
            raise SystemExit(f"{test.relative_to(ROOT)} fails on the unchanged tree: a mutant that it catches would prove nothing")
        program.unlink()
        return built - start, time.monotonic() - built

    def of(self, test):
        """(optimisation level, seconds that a mutant may take)"""
        with self.lock:
            lock = self.locks.setdefault(test, threading.Lock())
        with lock:
            if test not in self.known:
                build_seconds, seconds = self.measure(test)
                self.known[test] = "-O0" if seconds < build_seconds else "-O1", 30 + 5 * seconds
            return self.known[test]


def run_mutant(mutant, options, catch_main, folder, baseline):
    header, (operator, number, line, changed) = mutant
    overlay = folder / f"{name_of(header).replace('/', '_')}_{number}_{abs(hash((operator, changed))) % 10**8}"
    target = overlay / "heed" / header.relative_to(ROOT / "include" / "heed")
    target.parent.mkdir(parents=True)
    lines = header.read_text().splitlines()
    lines[number] = changed
    target.write_text("\n".join(lines) + "\n")
    program = overlay / "test"
    try:
        for position, test in enumerate(tests_for(header)):
            level, timeout = baseline.of(test)
            made = build(test, overlay, level, options, catch_main, program)
            if made.returncode != 0 and position == 0:
                return mutant, "stillborn", made.stderr.splitlines()[0] if made.stderr else ""
            if made.returncode != 0:
                return mutant, "caught", f"{test.relative_to(ROOT)}, which does not compile"
            try:
                if subprocess.run([str(program), "--abort"], capture_output=True, timeout=timeout, cwd=overlay).returncode != 0:
                    return mutant, "caught", str(test.relative_to(ROOT))
            except subprocess.TimeoutExpired:
                return mutant, "caught", f"{test.relative_to(ROOT)}, which does not end"
    finally:
        shutil.rmtree(overlay, ignore_errors=True)
    return mutant, "survived", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, help="compiled mutants wanted (150, or with --only as many of them as there are)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", type=int, default=0, dest="first", help="position in the seed's queue to begin at")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    parser.add_argument("--only", default="", help="headers whose name contains one of these, with commas between")
    parser.add_argument("--list", action="store_true", help="count the candidates and stop")
    options = parser.parse_args()
    wanted, needed = options.count or 150, options.count or (1 if options.only else 150)
    options.libraries = []
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # tests side by side: a thread that waits lets others run

    headers = [h for room in ROOMS for h in sorted((ROOT / "include" / "heed" / room).glob("*.hpp")) if any(word in name_of(h) for word in options.only.split(",")) and tests_for(h)]
    pools = {h: candidates(h) for h in headers}
    pools = {h: c for h, c in pools.items() if c}
    if options.list or not pools:
        for header, found in pools.items():
            print(f"{len(found):5d}  {name_of(header)}")
        print(f"{sum(map(len, pools.values())):5d}  candidates")
        return 0 if pools else 1
    equivalents = {(e["header"], e["line"].strip(), e["changed"].strip()): e["reason"]
                   for e in json.loads((ROOT / "tests" / "mutants" / "equivalent.json").read_text())}

    # Rooms in turn, so that each has its share; within a room headers in turn, so that each is hit before any is hit twice; within a header operators in turn,
    # so that the common ones do not crowd out the rest.
    draw = random.Random(options.seed)

    def shuffled(items):
        return draw.sample(items, len(items))

    def grouped(items, key):
        groups = {}
        for item in items:
            groups.setdefault(key(item), []).append(item)
        return shuffled(list(groups.values()))

    def in_turn(queues):
        return [queue[i] for i in range(max(map(len, queues))) for queue in queues if i < len(queue)]

    def queue_of(header):
        return [(header, candidate) for candidate in in_turn([shuffled(found) for found in grouped(pools[header], lambda c: c[0])])]

    queue = in_turn([in_turn([queue_of(header) for header in room]) for room in grouped(list(pools), lambda h: h.parent)])

    counts = {"caught": 0, "survived": 0, "equivalent": 0, "stillborn": 0}
    survivors = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        catch_main = folder / "catch_main.o"
        subprocess.run([options.compiler, "-std=c++20", "-O1", "-c", str(ROOT / "tests" / "main.cpp"), "-o", str(catch_main)], check=True)
        if "catch_all" in subprocess.run([options.compiler, "-std=c++20", "-M", str(ROOT / "tests" / "main.cpp"), "-I", str(ROOT / "tests")],
                                         capture_output=True, text=True).stdout or os.path.isdir("/usr/include/catch2/internal"):
            options.libraries = [] if os.path.exists("/usr/include/catch2/catch.hpp") else ["-lCatch2Main", "-lCatch2"]
        compile_ahead(options, folder)
        baseline = Baseline(options, catch_main, folder)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            position, running = options.first, set()
            while True:
                compiled = counts["caught"] + counts["survived"] + counts["equivalent"]
                while position < len(queue) and len(running) < options.jobs and compiled + len(running) < wanted:
                    running.add(pool.submit(run_mutant, queue[position], options, catch_main, folder, baseline))
                    position += 1
                if not running:
                    break
                done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    (header, (operator, number, line, changed)), verdict, by = future.result()
                    reason = equivalents.get((name_of(header), line.strip(), changed.strip()))
                    if verdict == "survived" and reason:
                        verdict, by = "equivalent", reason
                    counts[verdict] += 1
                    if verdict == "survived":
                        survivors.append(f"{name_of(header)}:{number + 1} ({operator})\n    - {line.strip()}\n    + {changed.strip()}")
                    if verdict != "stillborn":
                        print(f"{verdict:10s} {name_of(header)}:{number + 1} {operator}: {changed.strip()[:90]}  [{by}]", flush=True)
    compiled = counts["caught"] + counts["survived"] + counts["equivalent"]
    print(f"\n{compiled} compiled mutants: {counts['caught']} caught, {counts['equivalent']} argued equivalent, {counts['survived']} survived"
          f" ({counts['stillborn']} more did not compile)")
    changed = counts["caught"] + counts["survived"]
    print(f"caught of those that change what a program does: {100 * counts['caught'] / max(1, changed):.1f} %")
    print(f"the next stage: --seed {options.seed} --from {position}" + (f" --only {options.only}" if options.only else ""))
    for survivor in survivors:
        print("survived:", survivor)
    if compiled < wanted:
        print(f"only {compiled} of the {wanted} mutants asked for could be made")
    return 1 if survivors or compiled < needed else 0


if __name__ == "__main__":
    sys.exit(main())
