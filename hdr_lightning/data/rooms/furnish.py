"""Which things stand where: random but plausible interiors."""

import numpy as np

from hdr_lightning.data.rooms.materials import Material
from hdr_lightning.data.rooms.scene import (
    FLOOR,
    FRONT,
    LEFT,
    RIGHT,
    WHITE,
    Ball,
    Box,
    Camera,
    Color,
    Lamp,
    Outdoors,
    Patch,
    Point,
    Room,
    Window,
)

WOODS: tuple[Color, ...] = ((0.30, 0.17, 0.08), (0.45, 0.29, 0.16), (0.12, 0.065, 0.035), (0.55, 0.42, 0.28))
WALLS: tuple[Color, ...] = (
    (0.80, 0.79, 0.76), (0.76, 0.75, 0.72), (0.68, 0.65, 0.60), (0.62, 0.64, 0.65), (0.70, 0.66, 0.57),
    (0.46, 0.51, 0.48), (0.62, 0.54, 0.48), (0.22, 0.27, 0.34),
)  # fmt: skip
CLOTHS: tuple[Color, ...] = (
    (0.45, 0.44, 0.42), (0.12, 0.16, 0.24), (0.50, 0.36, 0.22), (0.28, 0.08, 0.07), (0.10, 0.22, 0.18),
    (0.62, 0.58, 0.50), (0.55, 0.38, 0.06), (0.08, 0.08, 0.09),
)  # fmt: skip
METAL = Material("paint", ((0.10, 0.10, 0.11),))
SCREEN = Material("paint", ((0.012, 0.012, 0.014),))


class Furnisher:
    """Fills one room. Every number comes from one random generator, so a seed is a room."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def choice(self, colors: tuple[Color, ...]) -> Color:
        shade = self.rng.uniform(0.85, 1.12) * self.rng.uniform(0.96, 1.04, 3)
        r, g, b = np.asarray(colors[self.rng.integers(len(colors))]) * shade
        return float(r), float(g), float(b)

    def material(self, pattern: str, *palettes: tuple[Color, ...], scale: float = 0.1) -> Material:
        return Material(pattern, tuple(self.choice(p) for p in palettes), scale, int(self.rng.integers(1 << 20)))

    def furnish(self) -> Room:
        """Build a room, hang its walls, set its furniture, light it."""
        self.room = self._shell()
        self._windows()
        self._walls()
        plan = self.rng.choice(["living", "bedroom", "dining", "kitchen", "study"])
        {
            "living": self._living,
            "bedroom": self._bedroom,
            "dining": self._dining,
            "kitchen": self._kitchen,
            "study": self._study,
        }[str(plan)]()
        if self.chance(0.7):
            self._plant(*self._corner(0.4))
        self._ceiling_light()
        return self.room

    # -- the empty room -------------------------------------------------------------------------------------------

    def _shell(self) -> Room:
        width, height, depth = self.between(3.4, 6.0), self.between(2.5, 3.1), self.between(4.2, 7.0)
        wall = self.material("paint", WALLS)
        accent = self.material("paint", WALLS) if self.chance(0.25) else wall
        floor = [
            self.material("planks", WOODS, scale=self.between(0.10, 0.22)),
            self.material("planks", WOODS, scale=self.between(0.10, 0.22)),
            self.material("tiles", WALLS, WALLS if self.chance(0.3) else ((0.7, 0.68, 0.62),), scale=0.45),
            self.material("fabric", CLOTHS),
        ][self.rng.integers(4)]
        ceiling = Material("paint", ((0.85, 0.85, 0.84),))
        side = self.between(-1, 1)
        camera = Camera(
            (width * (0.5 + 0.32 * side), self.between(1.15, 1.6), self.between(0.25, 0.6)),
            yaw=-0.55 * side + self.between(-0.15, 0.15),
            tangent=self.between(0.75, 1.05),
            shift=self.between(-0.15, 0.05),
        )
        azimuth, elevation = self.between(-2.6, 2.6), self.between(0.35, 1.0)
        sun = (
            float(np.sin(azimuth) * np.cos(elevation)),
            float(np.sin(elevation)),
            float(np.cos(azimuth) * np.cos(elevation)),
        )
        warmth = self.between(0.0, 1.0)
        outdoors = Outdoors(
            seed=int(self.rng.integers(1 << 20)),
            glare=float(np.exp(self.between(0.2, 1.9))),
            clouds=self.between(0.2, 0.9),
            skyline=self.between(0.0, 0.35),
            sky=(0.82 + 0.22 * warmth, 0.98, 1.22 - 0.24 * warmth),
            sun=sun if self.chance(0.55) else None,
        )
        return Room((width, height, depth), [wall, wall, floor, ceiling, wall, accent], outdoors, camera)

    def _span(self, face: int) -> float:
        return self.room.size[2] if face in (LEFT, RIGHT) else self.room.size[0]

    def _windows(self) -> None:
        walls = [face for face, share in ((FRONT, 0.75), (LEFT, 0.45), (RIGHT, 0.45)) if self.chance(share)]
        for face in walls or [FRONT]:
            span, top = self._span(face), self.room.size[1] - self.between(0.2, 0.45)
            sill = self.between(0.05, 0.25) if self.chance(0.25) else self.between(0.6, 1.0)
            count = 2 if span > 4.2 and self.chance(0.5) else 1
            panes = (int(self.rng.integers(1, 4)), int(self.rng.integers(1, 3)))
            first = 0.3 * span if face in (LEFT, RIGHT) else 0.0
            share = (span - first) / count
            width = min(self.between(1.1, 2.4), share - 0.7)
            for number in range(count):
                middle = first + share * (number + 0.5)
                window = Window(face, (middle - width / 2, sill), (middle + width / 2, top), panes)
                self.room.windows.append(window)
            if self.chance(0.55):
                self._curtains(face, [first + share * (n + 0.5) for n in range(count)], width, sill, top)
            elif sill > 0.5 and self.chance(0.6):
                self._radiator(face, first + share * 0.5, width, sill)

    def _curtains(self, face: int, middles: list[float], width: float, sill: float, top: float) -> None:
        cloth = self.material("folds", (*CLOTHS, (0.75, 0.73, 0.68)), scale=self.between(0.07, 0.12))
        bottom = 0.04 if self.chance(0.7) else max(0.04, sill - 0.15)
        hang = self.between(0.22, 0.4)
        for middle in middles:
            for side in (-1, 1):
                edge = middle + side * (width / 2 + hang / 2 - 0.06)
                self._against(face, edge, hang, 0.09, bottom, top + 0.1, cloth)

    def _radiator(self, face: int, middle: float, width: float, sill: float) -> None:
        fins = Material("fins", ((0.80, 0.80, 0.78),), 0.05)
        self._against(face, middle, 0.8 * width, 0.1, 0.12, max(0.3, sill - 0.12), fins)

    def _walls(self) -> None:
        board = self.material("paint", ((0.82, 0.82, 0.80),))
        for face in (LEFT, RIGHT, FRONT):
            self.room.patches.append(Patch(face, (0.0, 0.0), (self._span(face), self.between(0.07, 0.13)), board))
        blind = [face for face in (LEFT, RIGHT, FRONT) if all(w.face != face for w in self.room.windows)]
        for face in blind:
            door = self.chance(0.45)
            if door:
                at = self._span(face) * self.between(0.6, 0.75)
                wood = self.material("panels", ((0.78, 0.77, 0.74), *WOODS))
                self.room.patches.append(Patch(face, (at - 0.52, 0.0), (at + 0.52, 2.12), board))
                self.room.patches.append(Patch(face, (at - 0.44, 0.0), (at + 0.44, 2.04), wood))
            if self.chance(0.85):
                self._pictures(face, self._span(face) * (0.33 if door else 0.5))

    def _pictures(self, face: int, middle: float) -> None:
        count = int(self.rng.integers(1, 4))
        width, height = self.between(0.35, 0.9) / count**0.5, self.between(0.4, 0.8) / count**0.3
        frame = self.material("wood", WOODS) if self.chance(0.5) else SCREEN
        for number in range(count):
            u, v = middle + (number - (count - 1) / 2) * (width + 0.14), 1.6 + self.between(-0.03, 0.03)
            rings = ((0.0, frame), (0.025, WHITE), (0.085, self.material("art", CLOTHS, WALLS, WALLS, scale=0.22)))
            for inset, material in rings:
                low = (u - width / 2 + inset, v - height / 2 + inset)
                self.room.patches.append(Patch(face, low, (u + width / 2 - inset, v + height / 2 - inset), material))

    # -- pieces ---------------------------------------------------------------------------------------------------

    def _box(self, low: Point, high: Point, material: Material, front: Material | None = None) -> None:
        self.room.boxes.append(Box(low, high, material, front, casts=min(high[0] - low[0], high[2] - low[2]) > 0.08))

    def _against(
        self,
        face: int,
        middle: float,
        length: float,
        depth: float,
        bottom: float,
        top: float,
        material: Material,
        front: Material | None = None,
    ) -> bool:
        """Set a box against a wall, its long side along it, unless it would stand in front of a window.

        Returns:
            Whether it stands there.
        """
        width, _, far = self.room.size
        a, b = middle - length / 2, middle + length / 2
        for window in self.room.windows:
            overlap = min(b, window.high[0]) - max(a, window.low[0])
            if window.face == face and overlap > 0.3 and top > window.low[1] + 0.35:
                return False
        if face == LEFT:
            self._box((0.0, bottom, a), (depth, top, b), material, front)
        elif face == RIGHT:
            self._box((width - depth, bottom, a), (width, top, b), material, front)
        else:
            self._box((a, bottom, far - depth), (b, top, far), material, front)
        return True

    def _corner(self, inset: float) -> tuple[float, float]:
        width, _, depth = self.room.size
        return (inset if self.chance(0.5) else width - inset), depth - inset

    def _table(self, x: float, z: float, length: float, width: float, height: float, wood: Material) -> None:
        self._box((x - length / 2, height - 0.045, z - width / 2), (x + length / 2, height, z + width / 2), wood)
        for sx in (-1, 1):
            for sz in (-1, 1):
                px, pz = x + sx * (length / 2 - 0.07), z + sz * (width / 2 - 0.07)
                self._box((px - 0.03, 0.0, pz - 0.03), (px + 0.03, height - 0.045, pz + 0.03), wood)
        self._clutter(x, z, 0.7 * length, 0.6 * width, height)

    def _chair(self, x: float, z: float, back: int, material: Material) -> None:
        self._box((x - 0.21, 0.42, z - 0.21), (x + 0.21, 0.47, z + 0.21), material)
        for sx in (-1, 1):
            for sz in (-1, 1):
                px, pz = x + sx * 0.18, z + sz * 0.18
                self._box((px - 0.02, 0.0, pz - 0.02), (px + 0.02, 0.42, pz + 0.02), material)
        bz = z + back * 0.19
        self._box((x - 0.21, 0.47, bz - 0.02), (x + 0.21, 0.92, bz + 0.02), material)

    def _clutter(self, x: float, z: float, length: float, width: float, top: float) -> None:
        """Books, vases and bowls on a surface."""
        for _ in range(int(self.rng.integers(1, 6))):
            px, pz = x + self.between(-0.5, 0.5) * length, z + self.between(-0.5, 0.5) * width
            kind = self.rng.integers(3)
            if kind == 0:
                high = self.between(0.03, 0.12)
                book = self.material("paint", CLOTHS)
                self._box((px - 0.11, top, pz - 0.08), (px + 0.11, top + high, pz + 0.08), book)
            elif kind == 1:
                radius = self.between(0.04, 0.09)
                vase = self.material("paint", (*CLOTHS, *WALLS))
                self.room.balls.append(Ball((px, top + 1.5 * radius, pz), radius, vase, tall=1.5))
                if self.chance(0.5):
                    leaves = self.material("leaves", ((0.04, 0.12, 0.03),), ((0.15, 0.30, 0.08),))
                    self.room.balls.append(Ball((px, top + 4 * radius, pz), 1.6 * radius, leaves, tall=1.2))
            else:
                radius = self.between(0.03, 0.06)
                fruit = self.material("paint", ((0.6, 0.2, 0.03), (0.45, 0.05, 0.03), (0.5, 0.42, 0.05)))
                for n in range(3):
                    center = (px + radius * 1.9 * (n - 1), top + radius, pz + radius * (n % 2))
                    self.room.balls.append(Ball(center, radius, fruit))

    def _plant(self, x: float, z: float) -> None:
        if any(b.low[0] - 0.2 < x < b.high[0] + 0.2 and b.low[2] - 0.2 < z < b.high[2] + 0.2 for b in self.room.boxes):
            return
        pot = self.material("paint", ((0.45, 0.20, 0.12), (0.75, 0.74, 0.72), (0.08, 0.08, 0.08)))
        self._box((x - 0.14, 0.0, z - 0.14), (x + 0.14, 0.3, z + 0.14), pot)
        leaves = self.material("leaves", ((0.03, 0.10, 0.02),), ((0.16, 0.32, 0.08),))
        for n in range(int(self.rng.integers(3, 7))):
            spot = (x + self.between(-0.18, 0.18), 0.55 + 0.17 * n, z + self.between(-0.18, 0.18))
            self.room.balls.append(Ball(spot, self.between(0.12, 0.24), leaves))

    def _light(self, at: Point, strength: float) -> None:
        warm = self.between(0.45, 0.75)
        self.room.lamps.append(Lamp(at, (strength, strength * (0.55 + 0.4 * warm), strength * warm * 0.75)))

    def _lamp_on_stand(self, x: float, z: float, bottom: float, top: float) -> None:
        self._box((x - 0.012, bottom, z - 0.012), (x + 0.012, top, z + 0.012), METAL)
        lit = self.chance(0.65)
        glow = (14.0, 9.5, 5.5) if lit else None
        self.room.balls.append(Ball((x, top + 0.1, z), 0.14, WHITE, tall=0.9, glow=glow))
        if lit:
            self._light((x, top + 0.1, z), self.between(0.25, 0.7))

    def _ceiling_light(self) -> None:
        width, height, depth = self.room.size
        lit = self.chance(0.5)
        glow = (20.0, 15.0, 10.0) if lit else None
        if self.chance(0.5):
            drop = self.between(0.35, 0.8)
            x, z = width / 2 + self.between(-0.4, 0.4), depth * self.between(0.45, 0.65)
            self._box((x - 0.006, height - drop, z - 0.006), (x + 0.006, height, z + 0.006), METAL)
            spot = (x, height - drop, z)
            self.room.balls.append(Ball(spot, self.between(0.12, 0.22), WHITE, tall=self.between(0.6, 1.0), glow=glow))
            if lit:
                self._light((spot[0], spot[1] - 0.05, spot[2]), self.between(0.4, 1.1))
            return
        for x in (0.3, 0.7):
            for z in (0.35, 0.75):
                at = (x * width, height - 0.005, z * depth)
                self.room.balls.append(Ball(at, 0.055, WHITE, tall=0.3, glow=glow))
                if lit:
                    self._light((at[0], at[1] - 0.05, at[2]), self.between(0.12, 0.3))

    # -- rooms ----------------------------------------------------------------------------------------------------

    def _side(self) -> int:
        """A side wall, if possible one without a window."""
        blind = [face for face in (LEFT, RIGHT) if all(w.face != face for w in self.room.windows)]
        return int(self.rng.choice(blind or [LEFT, RIGHT]))

    def _facing(self, face: int, distance: float) -> float:
        """The x that lies `distance` off a side wall."""
        return distance if face == LEFT else self.room.size[0] - distance

    def _sofa(self, face: int, middle: float, length: float) -> None:
        cloth = self.material("fabric", CLOTHS)
        self._against(face, middle, length, 0.88, 0.10, 0.44, cloth)
        self._against(face, middle, length, 0.26, 0.44, 0.84, cloth)
        for end in (-1, 1):
            self._against(face, middle + end * (length / 2 + 0.08), 0.18, 0.88, 0.08, 0.62, cloth)
        for end in (-1, 1):
            pillow = self.material("fabric", CLOTHS)
            at = middle + end * length * self.between(0.2, 0.38)
            x, z = (self._facing(face, 0.36), at) if face != FRONT else (at, self.room.size[2] - 0.36)
            self.room.balls.append(Ball((x, 0.62, z), 0.2, pillow, tall=0.95))

    def _rug_at(self, x: float, z: float, length: float, width: float) -> None:
        rug = self.material("rug", CLOTHS, WALLS, scale=self.between(0.2, 0.7))
        low, high = (x - length / 2, z - width / 2), (x + length / 2, z + width / 2)
        self.room.patches.append(Patch(FLOOR, low, high, rug))

    def _living(self) -> None:
        depth = self.room.size[2]
        face, middle = self._side(), depth * self.between(0.52, 0.62)
        other = RIGHT if face == LEFT else LEFT
        self._sofa(face, middle, self.between(1.7, 2.3))
        x = self._facing(face, 1.65)
        self._rug_at(x, middle, self.between(1.6, 2.2), self.between(2.2, 3.0))
        self._table(x, middle, 0.6, 1.1, 0.42, self.material("wood", WOODS))
        cabinet = self.material("drawers", (*WOODS, (0.7, 0.69, 0.66)), scale=0.25)
        self._against(other, middle, 1.8, 0.42, 0.05, 0.55, cabinet)
        self._against(other, middle, 1.25, 0.08, 0.62, 1.32, SCREEN)
        if self.chance(0.7):
            shelf = self.material("books", WOODS, scale=0.04)
            self._against(other, depth - 0.6, 1.0, 0.32, 0.0, 2.0, shelf)
        self._lamp_on_stand(self._facing(face, 0.35), min(depth - 0.3, middle + 1.55), 0.0, 1.5)

    def _bedroom(self) -> None:
        depth = self.room.size[2]
        face, middle = self._side(), depth * self.between(0.55, 0.65)
        cloth, wood = self.material("fabric", ((0.72, 0.71, 0.69), *CLOTHS)), self.material("wood", WOODS)
        self._against(face, middle, 1.7, 0.08, 0.0, 1.15, wood)
        self._against(face, middle, 1.6, 2.0, 0.08, 0.34, wood)
        self._against(face, middle, 1.62, 1.98, 0.34, 0.56, cloth)
        throw = self.material("fabric", CLOTHS)
        x0, x1 = sorted((self._facing(face, 1.3), self._facing(face, 2.0)))
        self._box((x0, 0.30, middle - 0.83), (x1, 0.58, middle + 0.83), throw)
        for end in (-1, 1):
            x = self._facing(face, 0.36)
            self.room.balls.append(Ball((x, 0.64, middle + end * 0.4), 0.3, WHITE, tall=0.45))
            z = middle + end * 1.12
            if z < depth - 0.25:
                self._against(face, z, 0.45, 0.42, 0.0, 0.48, wood)
                self._lamp_on_stand(self._facing(face, 0.22), z, 0.48, 0.78)
        other = RIGHT if face == LEFT else LEFT
        wardrobe = self.material("drawers", ((0.74, 0.73, 0.70), *WOODS), scale=0.6)
        self._against(other, depth - 0.95, 1.7, 0.58, 0.0, 2.15, wardrobe)
        self._rug_at(self._facing(face, 2.1), middle, 1.4, 2.2)

    def _dining(self) -> None:
        width, _, depth = self.room.size
        x, z = width / 2 + self.between(-0.3, 0.3), depth * self.between(0.52, 0.6)
        length = self.between(1.3, 1.9)
        self._rug_at(x, z, length + 1.2, 2.4)
        self._table(x, z, length, 0.9, 0.75, self.material("wood", WOODS))
        seat = self.material("wood", WOODS) if self.chance(0.6) else self.material("fabric", CLOTHS)
        for n in range(2 if length < 1.6 else 3):
            offset = (n - (0.5 if length < 1.6 else 1.0)) * 0.6
            self._chair(x + offset, z - 0.62, -1, seat)
            self._chair(x + offset, z + 0.62, 1, seat)
        face = self._side()
        if self._against(face, depth * 0.6, 1.6, 0.45, 0.0, 0.85, self.material("drawers", WOODS, scale=0.28)):
            self._clutter(self._facing(face, 0.22), depth * 0.6, 0.2, 1.2, 0.85)

    def _kitchen(self) -> None:
        width, _, depth = self.room.size
        face = self._side()
        fronts = self.material("drawers", ((0.78, 0.77, 0.74), (0.18, 0.24, 0.26), *WOODS), scale=0.36)
        top = self.material("paint", ((0.08, 0.08, 0.085), (0.6, 0.58, 0.55), (0.45, 0.29, 0.16)))
        tiles = self.material("tiles", WALLS, scale=self.between(0.1, 0.2))
        length, middle = 0.68 * depth, depth * 0.64
        self.room.patches.append(Patch(face, (middle - length / 2, 0.9), (middle + length / 2, 1.5), tiles))
        self._against(face, middle, length, 0.60, 0.08, 0.87, fronts)
        if self._against(face, middle, length + 0.02, 0.63, 0.87, 0.91, top):
            self._clutter(self._facing(face, 0.3), middle, 0.3, 0.9 * length, 0.91)
        if all(w.face != face for w in self.room.windows):
            self._against(face, middle, length, 0.35, 1.5, 2.2, fronts)
        if width > 4.2:
            x = self._facing(face, 2.2)
            self._box((x - 0.4, 0.0, middle - 0.8), (x + 0.4, 0.87, middle + 0.8), fronts)
            self._box((x - 0.45, 0.87, middle - 0.85), (x + 0.45, 0.92, middle + 0.85), top)
            self._clutter(x, middle, 0.5, 1.2, 0.92)

    def _study(self) -> None:
        depth = self.room.size[2]
        face = self._side()
        other = RIGHT if face == LEFT else LEFT
        middle, x = depth * 0.6, self._facing(face, 0.38)
        wood = self.material("wood", WOODS)
        self._table(x, middle, 0.72, 1.6, 0.74, wood)
        self._against(face, middle, 0.62, 0.16, 0.84, 1.22, SCREEN)
        self._chair(self._facing(face, 1.0), middle, 1, self.material("fabric", CLOTHS))
        self._lamp_on_stand(x, middle + 0.65, 0.74, 1.15)
        shelf = self.material("books", (*WOODS, (0.75, 0.74, 0.72)), scale=0.035)
        self._against(other, depth * 0.62, self.between(1.2, 2.2), 0.32, 0.0, self.between(1.4, 2.2), shelf)
        self._rug_at(self.room.size[0] / 2, middle, 1.8, 2.4)
