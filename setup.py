"""Package metadata of bpt_det; requirements.txt pins the versions that were tested."""

from setuptools import find_packages, setup

setup(
    name="bpt_det",
    version="0.1.0",
    description="Detection and segmentation by bilinear prompts in a frozen MAE vision transformer",
    license="MIT",
    packages=find_packages(include=["bpt_det", "bpt_det.*"]),
    package_data={"bpt_det": ["**/*.safetensors", "pretrained/README.md"]},
    python_requires=">=3.10",
    # detectron2 is needed too, but the package index has no project of that name to require:
    # tools/install_detectron2.py installs it.
    install_requires=[
        "cloudpickle>=2",
        "faster-coco-eval>=1.6",
        "fvcore>=0.1.5",
        "hydra-core>=1.1",
        "iopath>=0.1.9",
        "matplotlib>=3.7",
        "numpy>=2",
        "omegaconf>=2.1",
        "opencv-python>=4.8",
        "packaging",
        "pillow>=10",
        "pycocotools>=2.0.7",
        "safetensors>=0.4",
        "scikit-learn>=1.3",
        "scipy>=1.11",
        "shapely>=2",
        "tabulate",
        "tensorboard",
        "termcolor>=1.1",
        "timm>=1.0.22",
        "torch>=2.5",
        "torchvision>=0.20",
        "tqdm",
        "yacs>=0.1.8",
    ],
)
