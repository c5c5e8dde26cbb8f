# JetPack 6.1 and 6.2 on Orin (L4T 36.4, TensorRT 10.3, Python 3.10).  From the repository's root:
#   docker build -f jetson/docker/jetpack6.Dockerfile -t differseg:jetpack6 .
# JetPack 6.0 (L4T 36.3, TensorRT 8.6):
#   --build-arg BASE=nvcr.io/nvidia/l4t-tensorrt:r8.6.2-devel
# TensorRT's libraries load on the board alone, with --runtime nvidia: the build does not try them.
ARG BASE=nvcr.io/nvidia/l4t-tensorrt:r10.3.0-devel

# hadolint ignore=DL3006
FROM ${BASE} AS system
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Ubuntu keeps one version of each package only.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        python3 python3-opencv gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
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
