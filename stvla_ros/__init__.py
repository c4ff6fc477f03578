"""Spatial-temporal vision for robot arms (ST-VLA, arXiv 2508.09032) as a ROS 2 node stack."""

import os
from pkgutil import extend_path

# A source checkout holds the Python modules, the colcon install space holds the generated msg and action modules.
# Extending the path lets both be one package when both are on sys.path.
__path__ = extend_path(__path__, __name__)

# A picture file that claims to be larger is damaged; OpenCV would allocate gigabytes before it notices. OpenCV reads
# this variable when it is loaded.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**26))

__version__ = "0.1.0"
