"""Milliseconds for decoding a picture before the perception, by its transport: 640x480, with a real camera's amount of
detail.

Every node decodes its own input, so compressed pictures cost this in each of tracker, depth, compositor and vla_server.
"""

import struct
import time
from array import array
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from stvla_ros.nodes.kit.messages import image_to_depth, image_to_rgb

REPEATS = 100


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A picture (rgb) and a depth map (millimetres), with edges, slopes and noise."""
    random = np.random.default_rng(0)
    blocks = random.integers(30, 220, (24, 32, 3), np.uint8).repeat(20, 0).repeat(20, 1)
    rgb = np.clip(blocks + random.normal(0, 3, blocks.shape), 0, 255).astype(np.uint8)
    slope = np.linspace(600, 1200, 480)[:, None] + random.integers(0, 300, (24, 32)).repeat(20, 0).repeat(20, 1)
    depth = (slope + random.normal(0, 2, slope.shape)).astype(np.uint16)
    depth[random.random(depth.shape) < 0.05] = 0
    return rgb, depth


def raw(picture: np.ndarray, encoding: str) -> Image:
    """:param picture: rows of the message, (H, W) or (H, W, 3)."""
    height = 480
    data = array("B", np.ascontiguousarray(picture).tobytes())
    return Image(height=height, width=640, encoding=encoding, step=len(data) // len(picture), data=data)


def compressed(form: str, data: bytes) -> CompressedImage:
    return CompressedImage(format=form, data=array("B", data))


def rows() -> list[dict[str, Any]]:
    """One row for each kind of message."""
    rgb, depth = scene()
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    file = {kind: cv2.imencode(kind, bgr)[1].tobytes() for kind in (".jpg", ".png")}
    png = cv2.imencode(".png", depth)[1].tobytes()
    colour = {
        "rgb8": raw(rgb, "rgb8"),
        "bgr8": raw(bgr, "bgr8"),
        "bayer_rggb8": raw(rgb[..., 0], "bayer_rggb8"),
        "yuv422_yuy2": raw(rgb[..., :2], "yuv422_yuy2"),
        "nv12": raw(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), "nv12"),
        "jpeg": compressed("rgb8; jpeg compressed bgr8", file[".jpg"]),
        "png": compressed("rgb8; png compressed bgr8", file[".png"]),
    }
    maps = {
        "16UC1": raw(depth, "16UC1"),
        "png of 16 bits": compressed("16UC1; png compressed", png),
        "compressedDepth png": compressed("16UC1; compressedDepth png", struct.pack("<iff", 0, 0, 0) + png),
    }
    return [
        *(_row(f"colour, {name}", message, image_to_rgb) for name, message in colour.items()),
        *(_row(f"depth, {name}", message, image_to_depth) for name, message in maps.items()),
    ]


def _row(what: str, message: Any, decode: Callable[[Any, str], np.ndarray]) -> dict[str, Any]:
    milliseconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        decode(message, "image")
        milliseconds.append((time.perf_counter() - started) * 1e3)
    p50, p99 = np.percentile(milliseconds, (50, 99))
    return {"what": what, "kB": len(message.data) / 1e3, "p50_ms": p50, "p99_ms": p99}


if __name__ == "__main__":
    for row in rows():
        print(row)
