"""Small files of every format, and large ones in name only."""

import struct
import zlib

import imagecodecs
import numpy as np
import OpenEXR
import tifffile
from PIL import ExifTags, Image, ImageCms

from hdr_lightning.data.files import Photo, write_photo


def noise(*shape, seed=0, dtype=np.uint16):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def exif(orientation=1):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    tags[ExifTags.Base.Model] = "Pinhole"
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FNumber] = 8.0
    return tags


def swapped_profile():
    """An RGB profile that is not sRGB: sRGB's tables with the red and green primaries exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    entries = {bytes(data[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(count)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return (
        bytes(data)
        .replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
        .replace(b"sRGB built-in", b"swap built-in")
    )


def cmyk_profile():
    """A printer on white paper, by hand (ICC.1, lut8Type): each ink takes light away; two steps an ink between."""
    nodes = [[c, m, y, k] for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    lab = []
    for c, m, y, k in nodes:
        light = (1 - k) * (1 - np.array([0.8 * c, 0.6 * m, 0.2 * y]))
        lab += [round(255 * light.mean()), round(128 + 60 * (m - c) * (1 - k)), round(128 + 60 * (y - c) * (1 - k))]
    table = (
        b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * n for n in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    )
    table += bytes(range(256)) * 4 + bytes(lab) + bytes(range(256)) * 3
    text = b"by hand\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags, body, offset = b"", b"", 128 + 4 + 3 * 12
    for name, data in ((b"A2B0", table), (b"desc", described), (b"wtpt", white)):
        data += bytes(-len(data) % 4)
        tags += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", offset + len(body), b"\0" * 4, 0x02100000, b"prtr", b"CMYK", b"Lab ") + bytes(12)
    head += b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + struct.pack(">I", 3) + tags + body


def write_exr(path, channels, **header):
    options = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(options, channels, num_threads=0).write(str(path))


def write_dng(path, mosaic, orientation=1, **options):
    """A RAW file of a camera without colour errors: its primaries are those of sRGB, and its white is white."""
    from_xyz = [3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570]
    tags = [
        (271, "s", 0, "Obscura", True),
        (272, "s", 0, "Pinhole", True),
        (274, "H", 1, orientation, True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, (0, 1, 1, 2), True),  # red, green; green, blue
        (50706, "B", 4, (1, 4, 0, 0), True),
        (50708, "s", 0, "Obscura Pinhole", True),
        (50714, "H", 1, 0, True),
        (50717, "H", 1, 65535, True),
        (50721, "2i", 9, [part for value in from_xyz for part in (round(value * 10000), 10000)], True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),  # D65
    ]
    tifffile.imwrite(path, mosaic, photometric=32803, extratags=tags, metadata=None, **options)


def write_samples(folder):
    """One small file of each kind; gives their paths."""
    pixels = noise(40, 50, 3, dtype=np.uint8)
    deep, light = noise(40, 50, 3), noise(40, 50, 3).astype(np.float32) / 1000
    icc = imagecodecs.cms_profile("adobergb")
    beside = {"exif": exif(6).tobytes(), "icc_profile": icc}
    for suffix in ("jpg", "png", "tif", "webp"):
        Image.fromarray(pixels).save(folder / f"a.{suffix}", **beside)
    Image.fromarray(pixels).save(folder / "progressive.jpg", progressive=True)
    Image.fromarray(pixels).save(folder / "lzw.tif", compression="tiff_lzw")
    Image.fromarray(pixels).save(folder / "jpeg.tif", compression="jpeg")
    Image.fromarray(noise(40, 50, 4, dtype=np.uint8)).save(folder / "clear.webp", lossless=True)
    for name, file_format in (("deep.png", "PNG"), ("deep.tif", "TIFF")):
        write_photo(folder / name, Photo(deep, file_format, exif().tobytes(), icc, b"<x/>", deep[..., 0].copy()))
    tifffile.imwrite(folder / "tiled.tif", deep, photometric="rgb", tile=(16, 16), compression="lzw")
    tifffile.imwrite(folder / "float.tif", light, photometric="rgb", compression="zlib", predictor=True)
    write_exr(folder / "zip.exr", {"RGB": light})
    write_exr(
        folder / "piz.exr", {"RGBA": (noise(40, 50, 4) // 2).astype(np.float16)}, compression=OpenEXR.PIZ_COMPRESSION
    )
    write_dng(folder / "camera.dng", noise(64, 96))
    return sorted(folder.iterdir())


def write_bombs(folder, side=60000):
    """Small files whose headers speak of billions of pixels; gives their paths."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    zeros = zlib.compress(bytes(1 << 24), 9)
    for bits in (8, 16):
        header = struct.pack(">IIBBBBB", side, side, bits, 2, 0, 0, 0)
        png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zeros * 20) + chunk(b"IEND", b"")
        (folder / f"{bits}.png").write_bytes(png)
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    profile = zlib.compress(bytes(1 << 28), 9)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"iCCP", b"x\0\0" + profile) + chunk(b"IDAT", zeros)
    (folder / "profile.png").write_bytes(png + chunk(b"IEND", b""))
    for name, bits, sample_format in (("8.tif", 8, 1), ("16.tif", 16, 1), ("float.tif", 32, 3)):
        rows = {256: side, 257: side, 258: (bits,) * 3, 259: 8, 262: 2, 273: 0, 277: 3, 278: side, 279: len(zeros)}
        tags = Image.Exif()
        tags.endian = "<"
        tags.update(rows | {339: (sample_format,) * 3})
        (folder / name).write_bytes(tags.tobytes()[6:] + zeros)
    Image.new("RGB", (64, 64)).save(folder / "a.jpg")
    jpeg = bytearray((folder / "a.jpg").read_bytes())
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = struct.pack(">HH", side, side)
    (folder / "a.jpg").write_bytes(jpeg)
    canvas = b"VP8X" + struct.pack("<II", 10, 0) + (16383 - 1).to_bytes(3, "little") * 2
    Image.new("RGB", (64, 64)).save(folder / "a.webp")
    body = canvas + (folder / "a.webp").read_bytes()[12:]
    (folder / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body)
    write_exr(folder / "a.exr", {"RGB": np.zeros((16, 16, 3), np.float32)})
    exr = bytearray((folder / "a.exr").read_bytes())
    window = exr.index(b"dataWindow\0box2i\0") + 21
    exr[window : window + 16] = struct.pack("<4i", 0, 0, side - 1, side - 1)
    (folder / "a.exr").write_bytes(exr)
    write_dng(folder / "a.dng", np.zeros((16, 16), np.uint16))
    dng = (folder / "a.dng").read_bytes()
    for tag in (256, 257):
        entry = struct.pack("<HHI", tag, 4, 1)
        at = dng.index(entry) + 8
        dng = dng[:at] + struct.pack("<I", side) + dng[at + 4 :]
    (folder / "a.dng").write_bytes(dng)
    with (folder / "sparse.png").open("wb") as file:
        file.write((folder / "16.png").read_bytes()[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)))
        file.truncate(1 << 36)
    return sorted(folder.iterdir())
