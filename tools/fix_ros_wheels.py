"""Point the CMake files of the ROS 2 wheels at this machine's Python and NumPy headers.

The wheels' exported targets contain absolute include paths of the machine that built them. A package that depends on
them can only be compiled after these are rewritten. Safe to run any number of times.
"""

import pathlib
import re
import sys
import sysconfig

import numpy


def main() -> None:
    python_include = sysconfig.get_path("include")
    rewrites = (
        (re.compile(r"/opt/python/cp\d+-cp\d+/include/python3\.\d+"), python_include),
        (re.compile(r"/[^\s;\"]*site-packages/numpy/_core/include"), numpy.get_include()),
    )
    changed = 0
    for path in pathlib.Path(sys.prefix, "share").rglob("*.cmake"):
        before = path.read_text(errors="surrogateescape")
        after = before
        for pattern, replacement in rewrites:
            after = pattern.sub(lambda _: replacement, after)
        if after != before:
            path.write_text(after, errors="surrogateescape")
            changed += 1
    print(f"fix_ros_wheels: {changed} CMake files rewritten")


if __name__ == "__main__":
    main()
