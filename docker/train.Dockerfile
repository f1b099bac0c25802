# Training on NVIDIA GPUs: torch brings its own CUDA libraries, the host its driver (docker run --gpus all, or apptainer --nv).
#   docker build -f docker/train.Dockerfile -t surgrec-train .
#   docker run --rm --gpus all --ipc host -v /runs:/runs surgrec-train --config jepa_vitl16 \
#       --corpus s3://bucket/corpus --run_dir /runs/a
# --ipc host: NCCL exchanges data between the GPUs of a machine through /dev/shm, and Docker's default
# size of 64 MB is too small for it. The loader's buffers are memfds, which /dev/shm does not limit.
FROM python:3.12-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*
WORKDIR /surgrec
COPY . .
RUN pip install --no-cache-dir -c requirements.lock '.[train]'
ENTRYPOINT ["accelerate", "launch", "recipes/jepa.py"]
