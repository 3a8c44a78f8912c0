"""Develop a RAW file: `python develop.py FILE` puts out height and width (uint32), then the pixels (uint16).

A program of its own: LibRaw computes with threads that do not survive the fork into a worker, where it would hang; and
should it crash on a damaged file, it crashes alone.
"""

import struct
import sys

if __name__ == "__main__":
    import rawpy

    with rawpy.imread(sys.argv[1]) as raw:
        pixels = raw.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            output_color=rawpy.ColorSpace.sRGB,
            gamma=(2.4, 12.92),  # the curve of sRGB; LibRaw's own is that of Rec. 709
            output_bps=16,
        )
    sys.stdout.buffer.write(struct.pack("=2I", *pixels.shape[:2]))
    sys.stdout.buffer.write(pixels.tobytes())
