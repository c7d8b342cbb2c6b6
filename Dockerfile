# Rollcall for processors (--target cpu) and for GPUs (--target gpu), the last being the default.
#
# A slim Python is base enough: torch's wheels bring CUDA along, and the driver is the node's. What is installed is pinned
# by version and hash (image/requirements*.txt, made by `make locks`). The stages that build leave nothing behind but /opt.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# --- the environment, without torch ----------------------------------------------------------------------------------
FROM ${BASE_IMAGE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1
WORKDIR /build
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/rollcall
COPY image/requirements-build.txt image/requirements.txt image/
RUN /opt/tools/bin/pip install --no-deps --require-hashes --requirement image/requirements-build.txt \
 && /opt/tools/bin/pip --python /opt/rollcall install --no-deps --require-hashes --requirement image/requirements.txt
COPY LICENSE README.md pyproject.toml ./
COPY clients/python clients/python
COPY service service
RUN /opt/tools/bin/pip --python /opt/tools wheel --no-deps --no-build-isolation --wheel-dir /wheels ./clients/python .

# --- torch, then ours, then what must be said about all of it --------------------------------------------------------
FROM build AS build-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY image/requirements-cpu.txt image/notices.py image/finish.sh image/
RUN /opt/tools/bin/pip --python /opt/rollcall install --no-deps --require-hashes --extra-index-url "${TORCH_INDEX}" \
      --requirement image/requirements-cpu.txt \
 && image/finish.sh

FROM build AS build-gpu
COPY image/requirements-gpu.txt image/notices.py image/finish.sh image/
RUN /opt/tools/bin/pip --python /opt/rollcall install --no-deps --require-hashes --requirement image/requirements-gpu.txt \
 && image/finish.sh

# --- what runs: no compiler, no pip of ours, one user, one place to write --------------------------------------------
FROM ${BASE_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rollcall" \
      org.opencontainers.image.description="Explanations of transformer decisions that say whether they may be relied on." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/rollcall/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/cache \
    XDG_CACHE_HOME=/cache \
    HF_HOME=/cache/huggingface \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    TRITON_CACHE_DIR=/cache/triton \
    HF_HUB_OFFLINE=1 \
    TRANSFORMERS_OFFLINE=1
RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /cache --shell /usr/sbin/nologin rollcall \
 && install --directory --owner 10001 --group 10001 /cache
USER 10001:10001
WORKDIR /
EXPOSE 8001 8002
STOPSIGNAL SIGTERM
ENTRYPOINT ["rollcall"]
CMD ["serve", "--config", "/etc/rollcall/rollcall.toml"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/rollcall /opt/rollcall

FROM runtime AS gpu
COPY --from=build-gpu /opt/rollcall /opt/rollcall
