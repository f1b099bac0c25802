#!/usr/bin/env bash
# Build both images with buildah, print their sizes, and run them once: a phantom corpus, two steps of training,
# two more after a resume, features and clusters. Usage: build_images.sh [BASE]. See docker/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
base=${1:-python:3.12-slim-trixie}
export BUILDAH_ISOLATION=chroot

for image in shard train; do
    buildah bud --build-arg "BASE=$base" -f "docker/$image.Dockerfile" -t "surgrec-$image" .
done
buildah images --format '{{.Name}} {{.Size}}' | grep surgrec-

# The images run as user 1000, who must be able to write here.
data=$(mktemp -d)
chmod 777 "$data"
containers=()
remove() {
    [ ${#containers[@]} = 0 ] || buildah rm "${containers[@]}" >/dev/null
    rm -rf "$data"
}
trap remove EXIT

# Run a command in a fresh container of an image: inside IMAGE COMMAND...
inside() {
    local container
    container=$(buildah from "localhost/surgrec-$1")
    containers+=("$container")
    buildah run -v "$data:/data" "$container" -- "${@:2}"
}

# The shard image.
inside shard surgrec-shard phantom --out /data/phantom --minutes 2
inside shard surgrec-shard build --manifest /data/phantom/videos.csv --public true --out /data/corpus
inside shard surgrec-shard verify /data/corpus

# The train image, without a GPU.
train() {
    inside train env ACCELERATE_USE_CPU=true python -m surgrec.training.torchrun --nproc_per_node 1 \
        recipes/jepa.py --config jepa_tiny --corpus /data/corpus --run_dir /data/run "$@"
}
train --steps 2
train --steps 4 --resume true
inside train surgrec features /data/corpus --encoder /data/run --out /data/features
inside train surgrec cluster /data/corpus --features /data/features --levels '[4, 2]'
echo "both images work"
