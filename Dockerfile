# Not built yet: there was no Docker daemon. Linted with hadolint; its commands were run outside a container.
#
# For NVIDIA GPUs, and for CPUs too:  docker build -t bpt_det .
# For CPUs alone, 2 GB smaller:       docker build -t bpt_det --build-arg PIP_EXTRA_INDEX_URL=ADDRESS .
#   where ADDRESS is the one that pytorch.org, "Start Locally", shows for pip, Linux and CPU.
#
# docker run --rm --gpus all --shm-size 8g -v /data:/data -v "$PWD/output:/home/bpt/output" bpt_det \
#     train --config-file coco/cascade_bpt_s
FROM python:3.13-slim

ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore DETECTRON2_DATASETS=/data
WORKDIR /src

COPY requirements*.txt ./
RUN pip install --no-input -r requirements.txt
COPY pyproject.toml setup.py README.md LICENSE ./
COPY configs configs
COPY bpt_det bpt_det
RUN pip install --no-input --no-deps --no-build-isolation . \
    && bpt-det setup-detectron2 \
    && useradd --create-home --uid 1000 bpt

USER 1000
WORKDIR /home/bpt
ENTRYPOINT ["bpt-det"]
CMD ["--help"]
