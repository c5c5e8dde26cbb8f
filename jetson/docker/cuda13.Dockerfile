# JetPack 7 (Thor, and Orin from 7.2 on) and x86-64 desktops with a driver 580 or later: there are
# no L4T images any more, NVIDIA's CUDA 13 images run on all of them.  From the repository's root:
#   docker build -f jetson/docker/cuda13.Dockerfile -t differseg:cuda13 .
# JetPack 7.2:
#   --build-arg BASE=nvidia/cuda:13.2.1-base-ubuntu24.04 --build-arg TENSORRT=10.16.1.11-1+cuda13.2
ARG BASE=nvidia/cuda:13.0.1-base-ubuntu24.04

# hadolint ignore=DL3006
FROM ${BASE} AS system
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG TENSORRT=10.13.3.9-1+cuda13.0
# Ubuntu keeps one version of each package only; TensorRT's are pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        python3 python3-opencv gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
        "libnvinfer10=${TENSORRT}" "libnvinfer-plugin10=${TENSORRT}" \
        "libnvonnxparsers10=${TENSORRT}" "python3-libnvinfer=${TENSORRT}" \
    && rm -rf /var/lib/apt/lists/*

FROM system AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY differseg differseg
COPY export export
COPY runtime runtime
COPY calibration calibration
COPY jetson jetson
RUN jetson/install.sh --software-only \
    && /opt/differseg/venv/bin/python -m pip install --no-cache-dir --only-binary=:all: \
        --constraint jetson/constraints.txt --requirement jetson/requirements-tensorrt.txt

FROM system
COPY --from=build /opt/differseg/venv /opt/differseg/venv
RUN useradd --system --create-home --home-dir /var/lib/differseg --groups video --uid 10001 \
        --shell /usr/sbin/nologin differseg
USER 10001
WORKDIR /var/lib/differseg
ENV PYTHONUNBUFFERED=1 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
# The run serves /healthz with --preview :8080.
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s --retries=3 \
    CMD ["/opt/differseg/venv/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["/opt/differseg/venv/bin/differseg"]
CMD ["--help"]
