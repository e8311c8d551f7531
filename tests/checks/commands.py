# SPDX-License-Identifier: MIT
"""What pages tell people to type is there: presets, targets, programs and scripts, and the options of the examples and scripts."""
import json
import re

import tree

CMAKE = "".join(text for path, text in tree.text_files() if path.name == "CMakeLists.txt" or path.suffix == ".cmake")
# heed_fuzz_${subject} is any heed_fuzz_...
TARGETS = [re.sub(r"\$\{\w+\}", r"\\w+", name)
           for name in re.findall(r"\b(?:add_executable|add_library|add_custom_target|heed_example|set\(program)[ (](\w[\w${}]*)", CMAKE)]
PRESETS = {preset["name"] for preset in json.loads((tree.ROOT / "CMakePresets.json").read_text())["configurePresets"]}
PATH = re.compile(r"(?:benchmarks|cmake|docs|examples|tests)/[\w./-]+")
PROGRAM = re.compile(r"build/([\w-]+)/bin/(\w+)(?![\w<])")


def commands(text):
    """Of each the number of its line and its words: code between && and |, without the comment behind it."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fence = "" if fence else line
        elif fence in ("", "```sh"):
            for code in [line] if fence or line.startswith("    ") else re.findall(r"`([^`]+)`", line):
                for command in re.split(r"&&|\|", re.sub(r"\s\s+#.*", "", code)):
                    yield number, command.replace("$ ", "").split()


def options(word):
    """The options of an example, by its name or path, or of a script; None for other programs."""
    name = re.sub(r"^(?:build/[\w-]+/bin/|examples/)|/run$", "", word)
    if any((tree.ROOT / "examples" / name).glob("*.cpp")):
        sources = [path.read_text() for folder in (name, "program") for path in (tree.ROOT / "examples" / folder).glob("*.?pp")]
        return {"--help", *re.findall(r'(?<=[",])--[\w-]+(?=[",])', "".join(sources))}
    return set(re.findall(r"--[\w-]+", (tree.ROOT / word).read_text())) if PATH.fullmatch(word) and (tree.ROOT / word).is_file() else None


faults, count = [], 0
for page, text in tree.text_files():
    for number, words in commands(text) if page.suffix == ".md" else []:
        command = " ".join(words)
        programs = [match for match in PROGRAM.finditer(command) if match[1] not in ("python", "eigen")]  # Pythons of tests/run
        presets = re.findall(r"--preset ([\w-]+)", command) + [match[1] for match in programs]
        targets = re.findall(r"--target (\w+)", command) + [match[2] for match in programs]
        missing = [f"preset {name}" for name in presets if name not in PRESETS]
        missing += [f"target {name}" for name in targets if not any(re.fullmatch(target, name) for target in TARGETS)]
        missing += [word for word in words if PATH.fullmatch(word) and not (tree.ROOT / word).exists()]
        if command.startswith("--") and page.parent.parent.name == "examples":
            command = f"{page.parent.name} {command}"  # an option of the example whose page it is
        start = next((match.start() for match in programs), 0)  # not those of mpirun
        program, *rest = command[start:].split() or [""]
        known = options(program) if program else None
        given = re.findall(r"(?<!\S)--[a-z][\w-]*", " ".join(rest)) if known is not None else []
        count += len(given)
        missing += [f"option {option} of {program}" for option in given if option not in known]
        faults += [f"{tree.name_of(page)}:{number}: there is no {what}" for what in missing]

tree.finish("commands", faults, f"{count} options")
