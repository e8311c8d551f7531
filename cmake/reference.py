#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the reference of the headers: reference.py OUTPUT, whose index.html is the start. It needs Doxygen; without, it says so and ends with 77.

Whatever Doxygen warns of is an error: a public thing without a comment, a comment that it cannot read. It reads a copy of the headers: without the inline namespace and
the overloads that the compiler refuses; and what every layer has gets its comment from CONTRACT there, unless it has one of its own.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# A call that leaves a view of what is gone by then does not compile, and its reason is the compiler's error.
REFUSED = re.compile(r"^ *(?:template <[^\n]*>\n(?: *requires[^\n]*\n)?)? *HEED_REFUSED\([^;]*;", re.M)

# The contract of a layer (core/layer.hpp): a member's declaration, as far as it is the same in all, and what it means.
CONTRACT = [(re.compile(pattern), meaning) for pattern, meaning in [
    (r"using scalar = ", "What the layer computes in: its parameters and activations."),
    (r"static constexpr int input_rank = ", "The rank of x; kAnyRank: any, read as rows x features."),
    (r"static constexpr bool mixes_tokens = ", "Whether y of one token depends on others: such a layer needs a `decode` to write token after token."),
    (r"struct Cache\b", "What a training pass keeps for backward. The caller owns it; its memory is used again in the next step."),
    (r"using Cache = ", "What a training pass keeps for backward. The caller owns it; its memory is used again in the next step."),
    (r"using Options = ", "What the constructor takes."),
    (r"Shape output_shape\(const Shape& in\) const", "The shape of y for an x of the shape `in`. Throws ShapeError where the layer cannot take such an x."),
    (r"\S.* forward\((?!.*Cache)[^)]*\) const", "Inference: y of x, in the shapes above. It changes nothing. Throws ShapeError as output_shape does."),
    (r"\S.* forward\(.*Cache& \w+\) const", "The training pass: y of x. The cache takes what backward needs; x must live, unchanged, until backward returns. "
        "Throws ShapeError as output_shape does."),
    (r"\S.* backward\(.*Cache& \w+\)", "With f = sum(dy * y): adds df/dparameter to the gradients and returns df/dx in the shape of x. It follows one forward(x, cache). "
        "Throws ShapeError if dy has not the shape of y, std::invalid_argument if the cache was not filled."),
    (r"const \w+& options\(\) const", "The options that the layer was made with."),
    (r"\S+ rebind\(\) const", "The same layer over another scalar, as `check_gradients` needs it."),
    (r"\S.* forward_then\(", "This layer and the next in one pass, with the bits of both one after the other (see Sequential)."),
    (r"\S.* backward_then\(", "Back through both layers of `forward_then`: adds to the gradients of both and returns that of x."),
    (r"static constexpr bool fuses_with", "Whether `forward_then` is for a layer of type Next behind this one."),
]]
# A reader's and a writer's way to the same thing: the second needs no comment.
PAIR = re.compile(r"^ *([\w:<>, ]+[&*]) (\w+)\(\) (?:\{|;)[^\n]*\n *(?=const \1 \2\(\) const)", re.M)
HEAD = re.compile(r" *(template <.*>|requires\b.*|\[\[nodiscard\]\])$")


def commented(lines, number):
    above = lines[number - 1].strip() if number > 0 else ""
    return above.startswith("///") or "///<" in lines[number]


def of_header(text):
    """What Doxygen reads of a header, line for line."""
    text = REFUSED.sub(lambda match: re.sub(r"[^\n]", "", match.group()), text).replace("::inline HEED_ABI", "")
    text = text.replace("class TensorView : public TensorView<const T, Rank> {", "class TensorView {")  # to Doxygen a class that is its own base
    text = PAIR.sub(lambda match: match.group() + "/** The same, to read. */ ", text)
    lines = text.split("\n")
    for number, line in enumerate(lines):
        declared = line.strip()
        meaning = next((meaning for pattern, meaning in CONTRACT if line.startswith("  ") and pattern.match(declared)), None)
        if not meaning:
            continue
        first = number
        while HEAD.match(lines[first - 1]):
            first -= 1
        if not commented(lines, first) and "///<" not in line:
            lines[first] = f"/** {meaning} */ {lines[first]}"
    return "\n".join(lines)


def of_markdown(text):
    """The derivations are left out, since their formulas are not Doxygen's: links to them become their paths."""
    return re.sub(r"\[([^\]]*)\]\((layers|losses)/([^)]*)\)", r"\1 (`docs/\2/\3`)", text)


def main():
    if not shutil.which("doxygen"):
        print("SKIPPED: no doxygen (Debian, Ubuntu: the package doxygen)")
        return 77
    output = Path(sys.argv[1]).resolve()
    source = output / "source"
    shutil.rmtree(output, ignore_errors=True)
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for path in [*pages, *sorted((ROOT / "include").rglob("*.hpp"))]:
        # Two pages called README.md would both be the main page.
        copy = source / str(path.relative_to(ROOT)).replace("docs/README.md", "docs/book.md")
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        copy.write_text(of_header(text) if path.suffix == ".hpp" else of_markdown(text), encoding="utf-8")
    config = (ROOT / "include/heed/core/config.hpp").read_text(encoding="utf-8")
    version = ".".join(re.findall(r"^#define HEED_VERSION_\w+ (\d+)", config, re.M))
    ran = subprocess.run(["doxygen", str(ROOT / "docs/Doxyfile")], cwd=source, env=os.environ | {"HEED_VERSION": version, "HEED_OUTPUT": str(output)},
                         check=False, stderr=subprocess.PIPE, text=True)
    warnings = ran.stderr.replace(str(source) + "/", "")
    print(warnings, end="")
    print(f"reference: {output / 'index.html'}" if ran.returncode == 0 else "reference: what Doxygen warns of above is an error")
    return ran.returncode


sys.exit(main())
