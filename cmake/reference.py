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

# What layers (the contract in core/layer.hpp), losses, optimisers and data sets share: a declaration, as far as it is the same in all, and what it means.
CONTRACT = [(re.compile(pattern), meaning) for pattern, meaning in [
    (r"using input_scalar = ", "What x is made of: whole numbers for an Embedding in front, else `scalar`."),
    (r"DecodeState decode_state\(", "The state for `decode`: room for `capacity` tokens in each of so many sequences, none of them there yet."),
    (r"(using|struct) DecodeState\b", "What inference token by token keeps of the tokens before (see Decoder)."),
    (r"using scalar = ", "What the layer computes in: its parameters and activations."),
    (r"static constexpr int input_rank = ", "The rank of x; kAnyRank: any, read as rows x features."),
    (r"static constexpr bool mixes_tokens = ", "Whether y of one token depends on others: such a layer needs a `decode` to write token after token."),
    (r"struct Cache\b", "What a training pass keeps for backward. The caller owns it; its memory is used again in the next step."),
    (r"using Cache = ", "What a training pass keeps for backward. The caller owns it; its memory is used again in the next step."),
    (r"Index size\(\) const \{ return (?:dataset_->size|size_;|static_cast<Index>\(indices)", "The number of examples."),
    (r"Shape image_shape\(\) const", "{height, width, channels} of every image."),
    (r"int classes\(\) const", "Labels are 0 ... classes() - 1."),
    (r"int label\(Index example\) const", "The class of example 0 ... size() - 1."),
    (r"std::vector<std::string> class_names\(\) const", "The classes' names, empty if they have none."),
    (r"typename [\w<>]+::Cache \w+", "The child's own."),
    (r"DropoutKey \w+", "What was dropped, to be drawn again in backward."),
    (r"Parameter<T>& weight\(\) \{", "The weight, in the shape above."),
    (r"Parameter<T>& bias\(\) \{", "The bias, in the shape above; empty without one."),
    (r"bool bias = true;", "Whether a bias is added."),
    (r"void with_activation\(const Use& use\) const", "Calls `use` with the activation of the kernels."),
    (r"static constexpr int kHighestRank", "The highest rank of x."),
    (r"static constexpr bool kCentered", "Whether the mean is taken off."),
    (r"static constexpr bool kLog", "Whether y is the logarithm of the weights."),
    (r"HEED_INLINE (static )?Packet<Isa, T> apply\(", "f(x), element by element."),
    (r"HEED_INLINE (static )?Packet<Isa, T> derivative\(", "df/dx at x, element by element."),
    (r"using Options = ", "What the constructor takes."),
    (r"using Rules = ", "Changes of the options for parameters by name."),
    (r"struct (\w+)Options \{", r"What \1 is made with."),
    (r"explicit \w+\(const \w+& options(?: = \{\})?\)", "Throws std::invalid_argument for options that are out of range or do not go together. "
        "Initial weights come from the stream of the calling thread (SeedScope)."),
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
# Variables that share a comment, which Doxygen would give to one of them.
SEVERAL = re.compile(r"^( +)([^/(\n]*,[^/\n]*); *///< ([^\n]*)$(?!\n *///<)", re.M)
LIST = re.compile(r"[\w<>:, ]+, \w+;$")
# Behind a class template; its constructor says the same.
DEDUCTION_GUIDE = re.compile(r"^template <[^\n]*>\n(\w+)\([^;]*\)\s*-> \1<[^;]*;", re.M)
# Declarations of a member in one line, for pairs that differ by const: one to read, one to write. The second needs no comment.
MEMBER = re.compile(r"  (?:virtual )?(?:const )?([\w:<>, ]+[&*]?) (\w+|operator\[\])\(([^)]*)\)( const)?(?: \{|;)")
HEAD = re.compile(r" *(template <.*>|requires\b.*|\[\[nodiscard\]\])$")


def commented(lines, number):
    above = lines[number - 1].strip() if number > 0 else ""
    return above.startswith("///") or "///<" in lines[number]


def one_by_one(declaration, comment):
    """"Index rows = 0, columns" as "Index rows = 0;" and "Index columns;", each behind the comment."""
    first, *rest = re.split(r",\s*(?![^<{]*[>}])", declaration)
    kind = re.match(r"(.*?)\w+(\[.*\])?( = .*)?$", first)[1]
    return " ".join(f"/** {comment} */ {variable};" for variable in [first, *(kind + name for name in rest)])


def of_header(text):
    """What Doxygen reads of a header, line for line."""
    text = REFUSED.sub(lambda match: re.sub(r"[^\n]", "", match.group()), text).replace("::inline HEED_ABI", "")
    text = text.replace("class TensorView : public TensorView<const T, Rank> {", "class TensorView {")  # to Doxygen a class that is its own base
    text = DEDUCTION_GUIDE.sub(lambda match: re.sub(r"[^\n]", "", match.group()), text)
    lines = SEVERAL.sub(lambda match: match[1] + one_by_one(match[2], match[3]), text).split("\n")
    before = None
    for number, line in enumerate(lines):
        member = MEMBER.match(line)
        if member:
            if before and before.groups()[:3] == member.groups()[:3] and before[4] != member[4] and not commented(lines, number):
                lines[number] = f"/** The same, to {'read' if member[4] else 'write'}. */ {line}"
            before = member
        declared = line.strip()
        meaning = next((match.expand(meaning) for match, meaning in ((pattern.match(declared), meaning) for pattern, meaning in CONTRACT) if match), None)
        if not meaning:
            continue
        first = number
        while HEAD.match(lines[first - 1]):
            first -= 1
        if not commented(lines, first) and "///<" not in line:
            lines[first] = one_by_one(line.rstrip(";"), meaning) if LIST.match(declared) else f"/** {meaning} */ {lines[first]}"
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
