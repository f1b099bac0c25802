# The sharding tool with all of its curation: no torch. About 1 GB, most of it ffmpeg and pyarrow.
#   docker build -f docker/shard.Dockerfile -t surgrec-shard .
#   docker run --rm -v /data:/data surgrec-shard build --manifest /data/videos.csv --out /data/corpus --private /data/private
FROM python:3.12-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*
WORKDIR /surgrec
COPY . .
# The lock file as constraints: the versions that the tests ran with, and only what the tool itself needs.
RUN pip install --no-cache-dir -c requirements.lock '.[onnx,shots]'
ENTRYPOINT ["surgrec-shard"]
