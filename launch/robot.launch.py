"""The graph on a robot's camera or on a recording: `ros2 launch stvla_ros robot.launch.py --show-args` lists the
arguments.
"""

from launch import LaunchDescription
from stvla_ros.graph.arguments import RobotArguments
from stvla_ros.graph.ros_launch import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description(RobotArguments, __file__)
