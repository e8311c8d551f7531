# SPDX-License-Identifier: MIT
"""A program that must not compile. Usage: compile_fail.py PROGRAM.cpp -- COMPILER FLAGS...

The program says what the compiler must tell the user, as a regular expression, in one or more lines `// expect: sentence`. The first of them stands in the first
error that the compiler prints: people read no further.
With -DRIGHT it shows the right way and must compile, so that it fails for the stated reason alone. Where flags of the compiler are what is wrong, it names them in a
line `// flags: -f...`, and the right way is to compile without them.
"""
import re
import subprocess
import sys
from pathlib import Path

program = Path(sys.argv[1])
compiler = sys.argv[sys.argv.index("--") + 1:]
expected = re.findall(r"^// expect: (.*)$", program.read_text(), re.M)
flags = " ".join(re.findall(r"^// flags: (.*)$", program.read_text(), re.M)).split()
if not expected:
    sys.exit(f"{program.name}: no line '// expect: sentence'")


def compile_program(*more):
    return subprocess.run(compiler + [*more, "-fsyntax-only", str(program)], text=True, capture_output=True)


right = compile_program("-DRIGHT")
if right.returncode != 0:
    sys.exit(f"{program.name}: must compile with -DRIGHT, but:\n{right.stderr[:3000]}")
wrong = compile_program(*flags)
if wrong.returncode == 0:
    sys.exit(f"{program.name}: compiles, but must not")
missing = [sentence for sentence in expected if not re.search(sentence, wrong.stderr)]
if missing:
    sys.exit(f"{program.name}: the compiler does not say: {missing}. It says:\n{wrong.stderr[:3000]}")
first = next((line for line in wrong.stderr.splitlines() if re.search(r"\berror: ", line)), "")
if not re.search(expected[0], first):
    sys.exit(f"{program.name}: the first error does not say '{expected[0]}', but:\n{first}")
print(f"{program.name}: refused as expected: {first}")
