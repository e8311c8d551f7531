# SPDX-License-Identifier: MIT
"""Corruptions without chance, from their definitions and Python's own library, for tests/data/corruptions_test.cpp: writes corruption_values.hpp beside this
file, or with --check says whether it is up to date."""
import colorsys
import math
import pathlib
import sys

HEIGHT, WIDTH = 7, 6
SEVERITIES = 5


def image():
    """[row][column][channel], 0 to 255, of any kind: the test makes the same."""
    return [[[(37 * y * y + 91 * x + 53 * c * (x + 1) + 11 * y * x) % 256 for c in range(3)] for x in range(WIDTH)] for y in range(HEIGHT)]


def mirrored(i, size):  # d c b | a b c d | c b a
    while not 0 <= i < size:
        i = -i if i < 0 else 2 * (size - 1) - i
    return i


def clamped(i, size):
    return min(max(i, 0), size - 1)


def filtered(x, weights, place):
    """weights: {(down, right): weight}"""
    return [
        [
            [sum(w * x[place(i + dy, HEIGHT)][place(j + dx, WIDTH)][c] for (dy, dx), w in weights.items()) for c in range(3)]
            for j in range(WIDTH)
        ]
        for i in range(HEIGHT)
    ]


def bell(sigma, radius):
    """{(down, right): weight}, two-dimensional at once."""
    raw = {(i, j): math.exp(-(i * i + j * j) / (2 * sigma**2)) for i in range(-radius, radius + 1) for j in range(-radius, radius + 1)}
    return {place: weight / sum(raw.values()) for place, weight in raw.items()}


def gaussian_blur(x, level):
    sigma = [0.4, 0.6, 0.7, 0.8, 1][level]
    return filtered(x, bell(sigma, int(4 * sigma + 0.5)), clamped)


def defocus_blur(x, level):
    radius, sigma = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)][level]
    disk = [(i, j) for i in range(-8, 9) for j in range(-8, 9) if i * i + j * j <= radius**2]
    weights = {}
    for i, j in disk:
        for (di, dj), weight in bell(sigma, 1).items():
            weights[i + di, j + dj] = weights.get((i + di, j + dj), 0) + weight / len(disk)
    return filtered(x, weights, mirrored)


def between(line, at):
    """Linear interpolation of a list of numbers."""
    left = min(int(at), len(line) - 1)
    right = min(left + 1, len(line) - 1)
    return line[left] * (1 - (at - left)) + line[right] * (at - left)


def zoomed(line, factor):
    """One line of numbers: crop the middle, stretch it, keep the middle."""
    size = len(line)
    cropped = math.ceil(size / factor)
    start = (size - cropped) // 2
    crop = line[start : start + cropped]
    grown = math.floor(cropped * factor + 0.5)
    stretched = [between(crop, i * (cropped - 1) / (grown - 1)) for i in range(grown)]
    trim = (grown - size) // 2
    return stretched[trim : trim + size]


def zoom_blur(x, level):
    end = [1.06, 1.11, 1.16, 1.21, 1.26][level]
    pictures = [x]
    step = 0
    while 1 + step / 100 < end - 1e-9:
        channels = []
        for c in range(3):
            rows = [zoomed([x[i][j][c] for j in range(WIDTH)], 1 + step / 100) for i in range(HEIGHT)]
            columns = [zoomed([rows[i][j] for i in range(HEIGHT)], 1 + step / 100) for j in range(WIDTH)]
            channels.append(columns)
        pictures.append([[[channels[c][j][i] for c in range(3)] for j in range(WIDTH)] for i in range(HEIGHT)])
        step += 1
    return [[[sum(p[i][j][c] for p in pictures) / len(pictures) for c in range(3)] for j in range(WIDTH)] for i in range(HEIGHT)]


def each_pixel(x, change):
    return [[list(change(*pixel)) for pixel in row] for row in x]


def limited(v):
    return min(max(v, 0), 1)


def brightness(x, level):
    more = [0.05, 0.1, 0.15, 0.2, 0.3][level]

    def change(*rgb):
        h, s, v = colorsys.rgb_to_hsv(*rgb)
        return colorsys.hsv_to_rgb(h, s, limited(v + more))

    return each_pixel(x, change)


def saturate(x, level):
    factor, more = [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)][level]

    def change(*rgb):
        h, s, v = colorsys.rgb_to_hsv(*rgb)
        return colorsys.hsv_to_rgb(h, limited(factor * s + more), v)

    return each_pixel(x, change)


def contrast(x, level):
    factor = [0.75, 0.5, 0.4, 0.3, 0.15][level]
    means = [sum(x[i][j][c] for i in range(HEIGHT) for j in range(WIDTH)) / (HEIGHT * WIDTH) for c in range(3)]
    return each_pixel(x, lambda *rgb: [means[c] + factor * (rgb[c] - means[c]) for c in range(3)])


def box_line(line, size):
    """One line of numbers to another size: weights of a box around each new pixel's centre, as wide as the pixels of the smaller of the two."""
    step = len(line) / size
    wide = max(step, 1)
    result = []
    for i in range(size):
        centre = (i + 0.5) * step
        inside = [v for j, v in enumerate(line) if -0.5 < (j + 0.5 - centre) / wide <= 0.5]
        result.append(sum(inside) / len(inside))
    return result


def pixelate(x, level):
    share = [0.95, 0.9, 0.85, 0.75, 0.65][level]
    channels = []
    for c in range(3):
        plane = [[x[i][j][c] for j in range(WIDTH)] for i in range(HEIGHT)]
        for height, width in ((int(HEIGHT * share), int(WIDTH * share)), (HEIGHT, WIDTH)):
            plane = [box_line(row, width) for row in plane]
            plane = [list(row) for row in zip(*[box_line(list(column), height) for column in zip(*plane)])]
        channels.append(plane)
    return [[[channels[c][i][j] for c in range(3)] for j in range(WIDTH)] for i in range(HEIGHT)]


def text():
    lines = [
        "// SPDX-License-Identifier: MIT",
        "#pragma once",
        "",
        "// Made by corruption_values.py.",
        "",
        "#include <string_view>",
        "#include <vector>",
        "",
        "namespace reference {",
        "",
        "struct CorruptedImage {",
        "  std::string_view corruption;",
        "  int severity;",
        "  std::vector<double> values;  ///< 0 to 255, before they are rounded down",
        "};",
        "",
        "// clang-format off",
        "inline const std::vector<CorruptedImage> kCorruptedImages = {",
    ]
    x = [[[value / 255 for value in pixel] for pixel in row] for row in image()]
    for corruption in (gaussian_blur, defocus_blur, zoom_blur, brightness, contrast, saturate, pixelate):
        for level in range(SEVERITIES):
            values = [255 * limited(v) for row in corruption(x, level) for pixel in row for v in pixel]
            row = 3 * WIDTH
            rows = [", ".join("%.2f" % v for v in values[i : i + row]) for i in range(0, len(values), row)]
            lines += ['  {"%s", %d, {' % (corruption.__name__, level + 1), *(f"    {row}," for row in rows), "  }},"]
    return "\n".join(lines + ["};", "// clang-format on", "", "}  // namespace reference", ""])


path = pathlib.Path(__file__).with_suffix(".hpp")
if "--check" in sys.argv[1:]:
    if path.read_text() != text():
        sys.exit(f"{path.name} is not what corruption_values.py writes")
    print(f"{path.name}: up to date")
else:
    path.write_text(text())
