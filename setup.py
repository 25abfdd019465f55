"""The packages of the wheel: bpt_det, and configs/ as bpt_det/configs."""

from setuptools import find_namespace_packages, find_packages, setup

CONFIGS = find_namespace_packages("configs", exclude=["*__pycache__*"])

setup(
    packages=[
        *find_packages(include=["bpt_det", "bpt_det.*"]),
        "bpt_det.configs",
        *(f"bpt_det.configs.{name}" for name in CONFIGS),
    ],
    package_dir={"bpt_det.configs": "configs"},
)
