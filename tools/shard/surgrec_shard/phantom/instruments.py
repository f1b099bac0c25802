"""Instruments of the four domains, drawn from their entry into the frame to their tip.

Widths are in pixels, angles in radians.
"""

import math

import numpy as np

from surgrec_shard.phantom.canvas import Color, Point, ahead, brighter, heading_of
from surgrec_shard.phantom.sketch import BLACK, GRAY, STEEL, Sketch


def grasper(
    sketch: Sketch,
    entry: Point,
    tip: Point,
    *,
    width_px: float,
    opening: float,
    shaft: Color = BLACK,
) -> None:
    """Draw a laparoscopic grasper: an insulated shaft and two jaws, `opening` radians apart."""
    heading = heading_of(entry, tip)

    neck = ahead(tip, heading, -1.9 * width_px)
    sketch.rod(entry, neck, 1.7 * width_px, width_px, shaft)
    joint = ahead(neck, heading, 0.45 * width_px)
    sketch.rod(
        ahead(neck, heading, -0.25 * width_px), joint, 0.95 * width_px, 0.8 * width_px, STEEL
    )

    for side in (-1, 1):
        jaw(sketch, joint, heading + side * opening / 2, 1.5 * width_px, 0.36 * width_px, side=side)


def jaw(
    sketch: Sketch,
    joint: Point,
    heading: float,
    length: float,
    width: float,
    *,
    side: int,
    color: Color = STEEL,
) -> None:
    """Draw one jaw with its serrated inner edge. `side` is -1 or 1."""
    inner = heading - side * math.pi / 2
    end = ahead(joint, heading, length)
    back = ahead(joint, heading + side * math.pi / 2, width)
    outer = ahead(ahead(joint, heading, 0.7 * length), heading + side * math.pi / 2, 0.75 * width)
    sketch.polygon([joint, end, outer, back], brighter(color, 0.8))
    sketch.line([back, outer, end], 1.0, brighter(color, 1.35))

    along = [ahead(joint, heading, share * length) for share in np.linspace(0.25, 0.95, 9).tolist()]
    teeth = [ahead(point, inner, 0.06 * width * (number % 2)) for number, point in enumerate(along)]
    sketch.line(teeth, 1.0, brighter(color, 0.4))


def hook(
    sketch: Sketch, entry: Point, tip: Point, *, width_px: float, shaft: Color = BLACK
) -> None:
    """Draw a monopolar hook: an insulated shaft, a white collar, an L-shaped wire."""
    heading = heading_of(entry, tip)
    neck = ahead(tip, heading, -1.5 * width_px)
    sketch.rod(entry, neck, 1.7 * width_px, width_px, shaft)

    collar = ahead(neck, heading, 0.5 * width_px)
    sketch.rod(neck, collar, 0.8 * width_px, 0.5 * width_px, (196, 204, 206))
    bent = ahead(tip, heading + math.pi / 2, 0.5 * width_px)
    sketch.line([collar, tip, bent], 0.26 * width_px, brighter(STEEL, 0.75))
    sketch.line([collar, tip, bent], 0.1 * width_px, brighter(STEEL, 1.3))


def suction(sketch: Sketch, entry: Point, tip: Point, *, width_px: float) -> None:
    """Draw a suction and irrigation tube: polished steel with holes near its end."""
    heading = heading_of(entry, tip)
    sketch.rod(entry, tip, 1.5 * width_px, 0.85 * width_px, STEEL, shine=0.7)
    for back in (0.4, 0.8, 1.2):
        hole = ahead(tip, heading, -back * width_px)
        sketch.line([hole, ahead(hole, heading, -0.12 * width_px)], 0.2 * width_px, (30, 30, 34))


def wristed(
    sketch: Sketch,
    entry: Point,
    wrist: Point,
    *,
    bend: float,
    opening: float,
    width_px: float,
    color: Color = STEEL,
) -> Point:
    """Draw a robotic instrument: shaft, bent wrist, two slim jaws. Return the end of the jaws."""
    heading = heading_of(entry, wrist)
    sketch.rod(entry, wrist, 1.5 * width_px, 1.05 * width_px, (88, 84, 82), shine=0.5)
    sketch.rod(ahead(wrist, heading, -0.5 * width_px), wrist, 1.12 * width_px, 1.0 * width_px, GRAY)

    clevis = ahead(wrist, heading + 0.5 * bend, 0.9 * width_px)
    sketch.rod(wrist, clevis, 0.9 * width_px, 0.75 * width_px, color)
    knuckle = ahead(clevis, heading + bend, 0.5 * width_px)
    sketch.rod(clevis, knuckle, 0.75 * width_px, 0.6 * width_px, brighter(color, 0.85))

    for side in (-1, 1):
        pointing = heading + bend + side * opening / 2
        jaw(sketch, knuckle, pointing, 1.3 * width_px, 0.3 * width_px, side=side, color=color)
    return ahead(knuckle, heading + bend, 1.3 * width_px)


def keratome(sketch: Sketch, entry: Point, tip: Point, *, width_px: float) -> None:
    """Draw a slit knife: a handle and a diamond-shaped blade."""
    heading = heading_of(entry, tip)
    root = ahead(tip, heading, -4.2 * width_px)
    sketch.rod(entry, root, 1.6 * width_px, 1.1 * width_px, GRAY)

    shoulder = ahead(tip, heading, -1.7 * width_px)
    sketch.rod(root, shoulder, 0.7 * width_px, 0.9 * width_px, STEEL, shine=0.5)
    sides = [ahead(shoulder, heading + side * math.pi / 2, 0.75 * width_px) for side in (-1, 1)]
    sketch.polygon(
        [sides[0], tip, sides[1], ahead(shoulder, heading, -0.6 * width_px)], (214, 214, 212)
    )
    sketch.line([shoulder, tip], 1.0, (150, 150, 150))


def forceps(sketch: Sketch, entry: Point, tip: Point, *, width_px: float, opening: float) -> None:
    """Draw fine forceps: a slender shaft and two long blades that nearly meet."""
    heading = heading_of(entry, tip)
    neck = ahead(tip, heading, -3.2 * width_px)
    sketch.rod(entry, neck, 1.3 * width_px, 0.8 * width_px, STEEL, shine=0.6)
    for side in (-1, 1):
        root = ahead(neck, heading + side * math.pi / 2, 0.22 * width_px)
        end = ahead(tip, heading + side * math.pi / 2, opening * width_px)
        sketch.rod(root, end, 0.36 * width_px, 0.2 * width_px, STEEL, shine=0.4)


def handpiece(
    sketch: Sketch, entry: Point, tip: Point, *, width_px: float, sleeve: Color, side_port: bool
) -> None:
    """Draw a phaco or aspiration handpiece: a silicone sleeve around a metal tip.

    The tip has a port on its side, or is open at its end.
    """
    heading = heading_of(entry, tip)
    neck = ahead(tip, heading, -1.5 * width_px)
    sketch.rod(entry, neck, 1.9 * width_px, 1.05 * width_px, sleeve, shine=0.5)

    sketch.rod(
        ahead(neck, heading, -0.3 * width_px),
        tip,
        0.62 * width_px,
        0.55 * width_px,
        STEEL,
        shine=0.6,
    )
    mouth = ahead(tip, heading, -0.45 * width_px if side_port else -0.08 * width_px)
    sketch.line([mouth, ahead(mouth, heading, 0.1 * width_px)], 0.25 * width_px, (28, 28, 36))


def chopper(sketch: Sketch, entry: Point, tip: Point, *, width_px: float) -> None:
    """Draw the instrument of the second hand: a thin rod with a bent end."""
    heading = heading_of(entry, tip)
    sketch.rod(entry, tip, 0.8 * width_px, 0.38 * width_px, STEEL, shine=0.6)
    sketch.line([tip, ahead(tip, heading + 1.3, 0.55 * width_px)], 0.25 * width_px, STEEL)


def snare(
    sketch: Sketch, channel: Point, tip: Point, middle: Point, *, radius_px: float, width_px: float
) -> None:
    """Draw a polypectomy snare: a sheath from the scope's channel, and a loop about `middle`."""
    sketch.rod(channel, tip, 1.25 * width_px, 0.85 * width_px, (176, 160, 120))

    across = heading_of(tip, middle)
    loop = []
    for turn in np.linspace(-math.pi, math.pi, 25).tolist():
        along = ahead(middle, across, radius_px * math.cos(turn))
        loop.append(ahead(along, across + math.pi / 2, 0.6 * radius_px * math.sin(turn)))

    for wire in (loop, [tip, loop[0]]):
        sketch.line(wire, 3.0, GRAY)
        sketch.line(wire, 1.0, STEEL)


def needle(sketch: Sketch, held: Point, *, turn: float, radius_px: float) -> None:
    """Draw a curved needle, held near its blunt end and turned by `turn` radians."""
    middle = ahead(held, turn + math.pi, radius_px)
    arc = [ahead(middle, turn + angle, radius_px) for angle in np.linspace(-0.6, 2.2, 18).tolist()]
    sketch.line(arc, 4.0, (70, 70, 72))
    sketch.line(arc, 2.0, STEEL)
