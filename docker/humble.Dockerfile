# Not tried: no image could be pulled where this was written, and the policy's libraries are pinned for Python 3.11.
#   docker build -f docker/humble.Dockerfile --target server -t stvla:humble-server .
FROM ros:humble-ros-base AS robot
SHELL ["/bin/bash", "-c"]
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv python3-pip python3-colcon-common-extensions && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /ws
COPY . src/stvla_ros
RUN apt-get update && . /opt/ros/$ROS_DISTRO/setup.bash && rosdep update && \
    rosdep install --from-paths src/stvla_ros --ignore-src -y --skip-keys rviz2 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --system-site-packages venv && touch venv/COLCON_IGNORE && \
    venv/bin/pip install --no-cache-dir -r src/stvla_ros/requirements/distribution.txt
RUN . /opt/ros/$ROS_DISTRO/setup.bash && . venv/bin/activate && colcon build
COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["stvla", "doctor", "--no-live"]

# The newest of each that still has Python 3.10, in place of requirements/models.txt.
FROM robot AS server
RUN venv/bin/pip install --no-cache-dir 'torch<3' 'transformers<5' 'peft<1' safetensors tokenizers 'huggingface_hub<1' 'pillow<12' 'numpy<2'
