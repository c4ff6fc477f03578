"""Which topics of a bag are meant: by name, by what its recorder wrote down, by their places, or by their types."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.recordings.bag import CAMERA_INFO_TYPE, COMPRESSED_TYPE, IMAGE_TYPE, Bag, BagTopic
from stvla_ros.recordings.compressed import holds_depth, size_of
from stvla_ros.recordings.pixels import DEPTH_ENCODINGS

NONE = "none"
"""In the place of a topic that is optional: it is not read."""
# What image_transport puts beside a topic of pictures.
_TRANSPORTS = ("", "/compressed", "/compressedDepth")
# Pictures that this package's graphs draw for people, or that a policy expects.
_DRAWN = ("overlay", "thoughts", "predicted_image")
# Depth that they compute.
_COMPUTED = ("depth", "traced_depth", "predicted_depth")
# Registered depth beside the picture: of this package's graphs, of RealSense's driver (beside the picture's folder).
_DEPTH_BESIDE = ("{}/sensor_depth", "{0.parent}/aligned_depth_to_color/image_raw")
_OURS = "stvla_ros/msg/"


@dataclass(frozen=True)
class BagTopics:
    """The topics of a bag that are read, with their leading slash; empty: chosen automatically.

    :param image: topic of the pictures, sensor_msgs/Image or CompressedImage; automatically the one that the recorder
        wrote down, or the only colour picture that this package has not drawn.
    :param camera_info: topic of the calibration; automatically the one that the recorder wrote down, `camera_info`
        beside the image, or the only one of the image's frame; ``none``: without.
    :param depth: topic of the registered depth, sensor_msgs/Image 16UC1 (mm) or 32FC1 (m), or CompressedImage
        (compressedDepth, png of 16 bits); automatically the one that the recorder wrote down, `sensor_depth` beside
        the image, RealSense's `aligned_depth_to_color/image_raw`, or the only one of the image's frame and size that
        this package did not compute; ``none``: without.
    """

    image: str = ""
    camera_info: str = ""
    depth: str = ""


@dataclass(frozen=True)
class CameraTopics:
    """Those that were chosen.

    :param remark: reason why a topic that is called depth is not taken for it; empty if there is none.
    """

    image: BagTopic
    camera_info: BagTopic | None
    depth: BagTopic | None
    remark: str = ""


def choose_camera(bag: Bag, wanted: BagTopics) -> CameraTopics:
    """:raises InputError: for a name that is none of the bag's, for a bag without pictures, and where several topics
    could be meant: they are listed.
    """
    image = _image(bag, wanted.image)
    camera_info = depth = None
    if wanted.camera_info != NONE:
        camera_info = _camera_info(bag, wanted.camera_info, image)
    if wanted.depth != NONE:
        depth = _depth(bag, wanted.depth, image)
    remark = "" if depth or wanted.depth == NONE else _no_depth(bag, image)
    return CameraTopics(image, camera_info, depth, remark)


def choose(bag: Bag, role: str, named: str, msgtype: str, image: BagTopic) -> BagTopic | None:
    """A topic of one of the graph's own types; None where the bag has none.

    :param role: name of the topic in the graph, such as ``command``; it is looked for in the image's folder before
        others.
    :param named: topic that a person named; empty: chosen automatically.
    :raises InputError: as :func:`choose_camera`.
    """
    if named:
        return named_topic(bag, named, (msgtype,))
    found = bag.of_type(msgtype)
    for place in (bag.roles.get(role), f"{_folder(image)}/{role}".replace("//", "/")):
        for topic in found:
            if topic.topic == place:
                return topic
    return _only(bag, role, found)


def named_topic(bag: Bag, name: str, msgtypes: tuple[str, ...]) -> BagTopic:
    """:raises InputError: when there is none of that name and one of the types."""
    fitting = [each for each in bag.topics if each.msgtype in msgtypes]
    for topic in fitting:
        if topic.topic == name:
            return topic
    names = ", ".join(sorted(each.topic for each in fitting)) or "none"
    raise InputError(f"bag {bag.path}: expected a topic {name} of type {' or '.join(msgtypes)}; it has: {names}")


def _only(bag: Bag, what: str, found: Sequence[BagTopic]) -> BagTopic | None:
    if len(found) > 1:
        names = ", ".join(sorted(each.topic for each in found))
        raise InputError(f"bag {bag.path}: expected the topic of {what} to be named, it has several: {names}")
    return found[0] if found else None


def _image(bag: Bag, named: str) -> BagTopic:
    if named:
        return named_topic(bag, named, (IMAGE_TYPE, COMPRESSED_TYPE))
    pictures = bag.of_type(IMAGE_TYPE, COMPRESSED_TYPE)
    candidates = [topic for topic in pictures if not _is_depth(bag, topic)]
    if known := _transported(candidates, bag.roles.get("image", "")):
        return known
    # The same pictures, which image_transport sent besides.
    raw = {topic.topic for topic in candidates}
    candidates = [each for each in candidates if each.topic.removesuffix("/compressed") not in raw - {each.topic}]
    # Beside a camera's picture, our own bags have those that are drawn for people.
    candidates = [each for each in candidates if each.topic.rpartition("/")[2] not in _DRAWN] or candidates
    if not candidates:
        depths = f"; of depth: {_with_encodings(bag, pictures)}" if pictures else ""
        raise InputError(
            f"bag {bag.path}: expected a topic of colour pictures, found none; its topics: {bag.content()}{depths}"
        )
    # What has depth in its name is chosen for the picture by nobody but a person.
    candidates = [each for each in candidates if "depth" not in each.topic.lower()] or candidates
    if len(candidates) > 1:
        names = ", ".join(sorted(topic.topic for topic in candidates))
        raise InputError(f"bag {bag.path}: expected an image topic to be named, it has several: {names}")
    return candidates[0]


def _camera_info(bag: Bag, named: str, image: BagTopic) -> BagTopic | None:
    if named:
        return named_topic(bag, named, (CAMERA_INFO_TYPE,))
    found = bag.of_type(CAMERA_INFO_TYPE)
    for place in (bag.roles.get("camera_info"), f"{_folder(image)}/camera_info".replace("//", "/")):
        for topic in found:
            if topic.topic == place:
                return topic
    like = _first(bag, image)
    return _only(bag, "camera_info", [each for each in found if _same_camera(like, _first(bag, each))])


def _depth(bag: Bag, named: str, image: BagTopic) -> BagTopic | None:
    kinds = (IMAGE_TYPE, COMPRESSED_TYPE)
    if named:
        return named_topic(bag, named, kinds)
    found = [each for each in bag.of_type(*kinds) if each != image and _is_depth(bag, each)]
    folder = PurePosixPath(_folder(image) or "/")
    beside = [place.format(folder).replace("//", "/") for place in _DEPTH_BESIDE]
    for place in (bag.roles.get("sensor_depth", ""), *beside):
        if known := _transported(found, place):
            return known
    ours = {each.topic.rpartition("/")[0] for each in bag.topics if each.msgtype.startswith(_OURS)}
    computed = {f"{of}/{name}" for of in ours for name in _COMPUTED}
    like = _first(bag, image)
    fitting = [each for each in found if each.topic not in computed and _same_camera(like, _first(bag, each))]
    raw = {each.topic for each in fitting}
    return _only(bag, "depth", [each for each in fitting if each.topic.rpartition("/")[0] not in raw])


def _no_depth(bag: Bag, image: BagTopic) -> str:
    """Why topics that are called depth are none, in words; empty if there are no such topics."""
    called = [each for each in bag.of_type(IMAGE_TYPE, COMPRESSED_TYPE) if each != image and "depth" in each.topic]
    ours = {each.topic.rpartition("/")[0] for each in bag.topics if each.msgtype.startswith(_OURS)}
    called = [each for each in called if each.topic.rpartition("/")[0] not in ours]
    if not called:
        return ""
    return (
        f"no depth is read: expected {' or '.join(DEPTH_ENCODINGS)} of the picture's frame and size "
        f"({_encoding(bag, image)}), there is {_with_encodings(bag, called)}; name one that is the picture's"
    )


def _with_encodings(bag: Bag, topics: Sequence[BagTopic]) -> str:
    return ", ".join(f"{each.topic} ({_encoding(bag, each)})" for each in sorted(topics))


def _encoding(bag: Bag, topic: BagTopic) -> str:
    """A picture's encoding, and its size and frame where it tells."""
    message = _first(bag, topic)
    said = message.format if topic.msgtype == COMPRESSED_TYPE else message.encoding
    width, height = size_of(message)
    size = f"{width}x{height}" if width else ""
    return " ".join(part for part in (size, said.strip() or "no encoding", message.header.frame_id) if part)


def _folder(image: BagTopic) -> str:
    return image.topic.removesuffix("/compressed").rpartition("/")[0]


def _transported(topics: Sequence[BagTopic], place: str) -> BagTopic | None:
    """The pictures of a place, raw before compressed."""
    by_name = {topic.topic: topic for topic in topics}
    return next((by_name[place + way] for way in _TRANSPORTS if place and place + way in by_name), None)


def _first(bag: Bag, topic: BagTopic) -> Any:
    _, _, data = next(bag.messages([topic]))
    return bag.deserialize(data, topic.msgtype)


def _is_depth(bag: Bag, topic: BagTopic) -> bool:
    message = _first(bag, topic)
    if topic.msgtype == COMPRESSED_TYPE:
        return topic.topic.endswith("/compressedDepth") or holds_depth(message.format, message.data)
    return message.encoding in DEPTH_ENCODINGS


def _same_camera(picture: Any, other: Any) -> bool:
    """Whether a depth or a calibration says that it is of the picture's camera and size, where both tell."""
    frames = {picture.header.frame_id, other.header.frame_id} - {""}
    sizes = {size_of(picture), size_of(other)} - {(0, 0)}
    return len(frames) < 2 and len(sizes) < 2
