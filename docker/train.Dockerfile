# Training on NVIDIA GPUs: torch brings its own CUDA libraries, the host its driver. See docker/README.md.
#   docker build -f docker/train.Dockerfile -t surgrec-train .
#   docker run --rm --gpus all --ipc host --stop-timeout 600 --user "$(id -u):$(id -g)" \
#       -v /data:/data:ro -v /runs:/runs \
#       surgrec-train recipes/jepa.py --config jepa_tiny --corpus /data/corpus --run_dir /runs/tiny
# --ipc host: NCCL exchanges data between the GPUs of a machine through /dev/shm, and Docker's default
# size of 64 MB is too small for it. The loader's buffers are memfds, which /dev/shm does not limit.
ARG BASE=python:3.12-slim-trixie
FROM ${BASE}
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends ffmpeg \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /surgrec
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY surgrec surgrec
COPY recipes recipes
COPY tools/shard/surgrec_shard tools/shard/surgrec_shard
RUN python3 -m venv /opt/surgrec \
    && /opt/surgrec/bin/pip install --no-cache-dir -c requirements.lock '.[train,clusters]'
ENV PATH=/opt/surgrec/bin:$PATH

# Any user may run the image (--user): the home is writable, and users without a name have one.
RUN useradd --uid 1000 --create-home surgrec && chmod 1777 /home/surgrec
ENV HOME=/home/surgrec USER=surgrec
USER 1000

# One process per GPU. This launcher passes SIGTERM (docker stop) on and waits until the run is saved.
ENTRYPOINT ["python", "-m", "surgrec.training.torchrun", "--nproc_per_node", "gpu"]
