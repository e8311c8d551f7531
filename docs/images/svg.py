# SPDX-License-Identifier: MIT
"""What the scripts that draw pictures share: colours that follow the reader's choice of light or dark, texts, and how a file is written."""
import os
import xml.sax.saxutils

STYLE = """
  svg { --ground: #ffffff; --ink: #1f2328; --faint: #d8dee4; --soft: #59636e; --blue: #0a6aa1; --orange: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #0d1117; --ink: #e6edf3; --faint: #30363d; --soft: #9198a1; --blue: #58b4f0; --orange: #f0883e }
  }
  text { font: 13px system-ui, sans-serif; fill: var(--ink) } .ground { fill: var(--ground) } .soft { fill: var(--soft) }
  .heading { font-weight: 600 } .mid { text-anchor: middle } .end { text-anchor: end } .grid { stroke: var(--faint) }
"""


def label(x, y, words, kind=""):
    """A text whose base line begins (kind "mid": is centred, "end": ends) at (x, y)."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{xml.sax.saxutils.escape(words)}</text>'


def picture(width, height, title, parts, style=""):
    """The text of an SVG file; `style` is CSS of its own."""
    size = f'width="{width}" height="{height}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size} role="img">',
                      f"<title>{xml.sax.saxutils.escape(title)}</title>", f"<style>{STYLE}{style}</style>", f'<rect class="ground" {size}/>', *parts, "</svg>"]) + "\n"


def write(path, text):
    """All or nothing."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    print(f"{path}: {len(text)} bytes")
