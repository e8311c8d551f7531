#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the reference of the headers: reference.py OUTPUT, whose index.html is the start. It needs Doxygen; without, it says so and ends with 77.

What Doxygen warns of is an error: a public thing without a comment, or a comment that it cannot read. It reads a copy of the headers, without the inline
namespace and the overloads that the compiler refuses; what layers, losses, optimisers and data sets share gets its comment from CONTRACT there, unless it has
one of its own.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
JUDGE = "1.9.4"  # Debian 12's Doxygen: others read some C++ differently, so of them warnings are shown and no errors

# A call that leaves a view of what is gone by then does not compile, and its reason is the compiler's error.
REFUSED = re.compile(r"^ *(?:template <[^\n]*>\n(?: *requires[^\n]*\n)?)? *HEED_REFUSED\([^;]*;", re.M)

# What layers (the contract in core/layer.hpp), losses, optimisers and data sets share: a declaration, as far as it is the same in all, and what it means.
CONTRACT = [(re.compile(pattern), meaning) for pattern, meaning in [
    (r"using input_scalar = ", "What x is made of: whole numbers for an Embedding in front, else `scalar`."),
    (r"DecodeState decode_state\(", "The state for `decode`: room for `capacity` tokens in each of so many sequences, none of them there yet."),
    (r"(using|struct) DecodeState\b", "What inference token by token keeps of the tokens before (see Decoder)."),
    (r"using scalar = ", "The numbers that it holds and computes with."),
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
        "Initial weights, if there are any, come from the stream of the calling thread (SeedScope)."),
    (r"Shape output_shape\(const Shape& in\) const", "The shape of y for an x of the shape `in`. Throws ShapeError where the layer cannot take such an x."),
    (r"\S.* forward\((?!.*Cache)[^)]*\) const", "Inference: y of x, in the shapes above. It changes nothing. Throws ShapeError as output_shape does."),
    (r"\S.* forward\(.*Cache& \w+\) const", "The training pass: y of x. The cache takes what backward needs; x must live, unchanged, until backward returns. "
        "Throws ShapeError as output_shape does."),
    (r"\S.* backward\(.*Cache& \w+\)", "With f = sum(dy * y): adds df/dparameter to the gradients and returns df/dx in the shape of x. "
        "It follows one forward(x, cache). Throws ShapeError if dy has not the shape of y, std::invalid_argument if the cache was not filled."),
    (r"const \w+& options\(\) const", "The options that the layer was made with."),
    (r"\S+ rebind\(\) const", "The same layer over another scalar, as `check_gradients` needs it."),
    (r"\S.* forward_then\(", "This layer and the next in one pass, with the bits of both one after the other (see Sequential)."),
    (r"\S.* backward_then\(", "Back through both layers of `forward_then`: adds to the gradients of both and returns that of x."),
    (r"static constexpr bool fuses_with", "Whether `forward_then` is for a layer of type Next behind this one."),
]]
# Variables that share a comment, which Doxygen would give to one of them.
SEVERAL = re.compile(r"^( +)([^/(\n]*,[^/\n]*); *///< ([^\n]*)$(?!\n *///<)", re.M)
BACKWARD = re.compile(r"\S.* backward\(")
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


def of_header(text, room):
    """What Doxygen reads of a header, line for line. What it declares belongs to the group of its room."""
    if room:  # in the place of the blank line
        text = re.sub(r"^(namespace heed\S* .*\{)\n\n", rf"\1 /** @addtogroup {room}\n@{{ */\n", text, flags=re.M)
        text = re.sub(r"^(\}  // namespace heed)", r"/** @} */ \1", text, flags=re.M)
    text = text.replace("et al. ", "et al.\\ ")  # no end of a sentence
    text = REFUSED.sub(lambda match: re.sub(r"[^\n]", "", match.group()), text).replace("::inline HEED_ABI", "")
    text = text.replace("class TensorView : public TensorView<const T, Rank> {", "class TensorView {")  # to Doxygen a class that is its own base
    text = re.sub(r"using (\w+)::(\w+)::\2;", r"explicit \1(const \1Options& options);", text)  # the constructor that a layer takes over
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
        if BACKWARD.match(declared) and commented(lines, first):
            lines[first - 1] += ("\n" if lines[first - 1].startswith("  ///     ") else " ") + meaning
        elif not commented(lines, first):
            lines[first] = one_by_one(line.rstrip(";"), meaning) if LIST.match(declared) else f"/** {meaning} */ {lines[first]}"
    return "\n".join(lines)


def of_page(text, names):
    """What Doxygen reads of a page of docs/: links to what is not in the reference (derivations, examples) become paths."""
    text = text.replace("](README.md)", "](book.md)")
    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)#]*)([^)]*)\)", lambda link: link[0] if link[2] in names else f"{link[1]} (`{link[2]}`)", text)


def rooms():
    """A group for each room of the table in docs/architecture.md, under what the table says of it."""
    table = re.findall(r"^\| `(\w+)/` \| (.*) \|$", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"), re.M)
    return "".join(f"/** @defgroup {room} {room}\n{words} */\n" for room, words in table)


def main():
    if not shutil.which("doxygen"):
        print("SKIPPED: no doxygen (Debian, Ubuntu: the package doxygen)")
        return 77
    output = Path(sys.argv[1]).resolve()
    output.mkdir(parents=True, exist_ok=True)
    pages = {path.name: path for path in (ROOT / "docs").glob("*.md")}
    pages["book.md"] = pages.pop("README.md")  # of two pages called README.md both would be the main page
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        shutil.copytree(ROOT / "docs/images", source / "docs/images")
        (source / "docs" / "rooms.dox").write_text(rooms(), encoding="utf-8")
        (source / "README.md").write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
        for name, path in pages.items():
            (source / "docs" / name).write_text(of_page(path.read_text(encoding="utf-8"), pages), encoding="utf-8")
        for path in (ROOT / "include").rglob("*.hpp"):
            copy = source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            room = path.parent.name if path.parent.name != "heed" else ""
            copy.write_text(of_header(path.read_text(encoding="utf-8"), room), encoding="utf-8")
        # A page begins with all that is said of its subject, and not with a sentence of it.
        subprocess.run(["doxygen", "-l", "DoxygenLayout.xml"], cwd=source, check=True)
        layout = (source / "DoxygenLayout.xml").read_text(encoding="utf-8")
        details = '<detaileddescription title=""/>'
        layout = layout.replace(details, "").replace('<briefdescription visible="yes"/>', details)
        (source / "DoxygenLayout.xml").write_text(layout, encoding="utf-8")
        config = (ROOT / "include/heed/core/config.hpp").read_text(encoding="utf-8")
        version = ".".join(re.findall(r"^#define HEED_VERSION_\w+ (\d+)", config, re.M))
        ran = subprocess.run(["doxygen", str(ROOT / "docs/Doxyfile")], cwd=source, env=os.environ | {"HEED_VERSION": version, "HEED_OUTPUT": str(output)},
                             check=False, stderr=subprocess.PIPE, text=True)
    print(ran.stderr.replace(f"{source}/", ""), end="")
    version = subprocess.run(["doxygen", "--version"], check=True, capture_output=True, text=True).stdout.split()[0]
    if not (output / "index.html").exists():
        print(f"reference: Doxygen {version} ended with {ran.returncode} and made no pages")
        return 1
    print(f"reference: {output / 'index.html'}")
    if ran.returncode != 0 and version == JUDGE:
        print("reference: what Doxygen warns of above is an error")
        return 1
    return 0


sys.exit(main())
