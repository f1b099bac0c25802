# The sharding tool with all of its curation: no torch. See docker/README.md.
#   docker build -f docker/shard.Dockerfile -t surgrec-shard .
#   docker run --rm --user "$(id -u):$(id -g)" -v /data:/data surgrec-shard \
#       build --manifest /data/videos.csv --out /data/corpus --private /data/private
ARG BASE=python:3.12-slim-trixie
FROM ${BASE}

# ffmpeg brings a compiler for OpenGL shaders, 200 MB, which nothing here uses.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends ffmpeg \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /usr/lib/*/libLLVM* /usr/lib/*/libgallium* /usr/lib/*/libz3*

# The lock file as constraints: the versions that the tests ran with, and only what the tool itself needs.
WORKDIR /surgrec
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY surgrec surgrec
COPY recipes recipes
COPY tools/shard/surgrec_shard tools/shard/surgrec_shard
RUN python3 -m venv /opt/surgrec \
    && /opt/surgrec/bin/pip install --no-cache-dir -c requirements.lock '.[onnx,shots]'
ENV PATH=/opt/surgrec/bin:$PATH

# Any user may run the image (--user): the home is writable, and users without a name have one.
RUN useradd --uid 1000 --create-home surgrec && chmod 1777 /home/surgrec
ENV HOME=/home/surgrec USER=surgrec
USER 1000
ENTRYPOINT ["surgrec-shard"]
