# SPDX-License-Identifier: MIT
"""The C++ blocks of a page of the documentation, or of a header's comments."""
import re

BLOCK = re.compile(r"^```(?:cpp|c\+\+)\n(.*?)^```(?:\n+```text\n(.*?)^```)?|^<!-- cpp\n(.*?)^-->", re.S | re.M)
FENCED = re.compile(r"^```.*?^```|<!--.*?-->", re.S | re.M)
STATEMENT = re.compile(r"^ {4}(?:#include <.*|\S.*\);\s*(?://.*)?)$", re.M)
INCLUDE_LINE = re.compile(r"^#include .*\n", re.M)


def blocks(text):
    """Of each block: its place in the text, its line, its code, and what the page says that it prints (None: nothing is said)."""
    for match in BLOCK.finditer(text):
        code = match.group(1) if match.group(1) is not None else match.group(3)
        yield match.start(), text.count("\n", 0, match.start()) + 2, code, match.group(2)


def indented(text):
    """Lines of C++ that are indented instead of fenced, which no block holds."""
    text = FENCED.sub(lambda match: "\n" * match.group().count("\n"), text)
    for match in STATEMENT.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group().strip()


def comments(text):
    """The doc comments of a header as a page, line for line."""
    return "".join(line.lstrip()[4:] + "\n" if line.lstrip().startswith("///") else "\n" for line in text.splitlines())


def statements(code):
    """What a function can hold of a block: no #include lines, nothing where `...` stands for the reader's code. Lines keep their numbers."""
    return re.sub(r"^(\s*)\.\.\.(?=\s|$)", r"\1   ", INCLUDE_LINE.sub("\n", code), flags=re.M)


def program(includes, functions, calls):
    """A program that calls functions made of blocks."""
    return ("#include <cstdio>\n#include <exception>\n#include <heed/all.hpp>\n" + "".join(includes) + "using namespace heed;\n" + "".join(functions) +
            "int main() try {\n" + "".join(calls) + "} catch (const std::exception& error) {\n  std::fprintf(stderr, \"%s\\n\", error.what());\n  return 1;\n}\n")
