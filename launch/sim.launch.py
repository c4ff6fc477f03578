"""Episodes of one task in a simulator: `ros2 launch stvla_ros sim.launch.py --show-args` lists the arguments."""

from launch import LaunchDescription
from stvla_ros.graph.arguments import SimArguments
from stvla_ros.graph.ros_launch import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description(SimArguments, __file__)
