#!/bin/bash
# Builds deploy/Dockerfile without a Docker daemon, and compares a run in the image with one outside of it.
#
#   BASE_ROOT=/tmp/root WHEELS=/tmp/wheels bash tests/cluster/image.sh
#
# BASE_ROOT is a folder with a Debian that becomes the base image:
#   debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm /tmp/root
# Without it the base image is pulled. WHEELS is a folder of wheels for pip; without it pip asks its index.
# Needs buildah and root. Exit code 77: skipped.
set -eu
cd "$(dirname "$0")/../.."
command -v buildah >/dev/null || { echo "skipped: no buildah"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "skipped: buildah with chroot isolation needs root"; exit 77; }
export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} BUILDAH_ISOLATION=chroot
PYTHON=${PYTHON:-$PWD/.venv/bin/python}
SCRATCH=$(mktemp -d)
CONTAINER=""
clean() {
    [ -z "$CONTAINER" ] || buildah rm "$CONTAINER" >/dev/null
    rm -rf "$SCRATCH"
}
trap clean EXIT
timed() { # NAME COMMAND...: the seconds of a command
    local name=$1 began=$SECONDS
    shift
    "$@" >"$SCRATCH/log" 2>&1 || { tail -40 "$SCRATCH/log"; exit 1; }
    echo "$name: $((SECONDS - began)) s"
}

if [ -n "${BASE_ROOT:-}" ]; then
    import() {
        local base
        base=$(buildah from scratch)
        buildah copy --quiet "$base" "$BASE_ROOT" / && buildah commit --quiet --rm "$base" stepmint-base
    }
    timed "base image" import
    options=(--pull-never --build-arg BASE=localhost/stepmint-base)
else
    options=(--pull)
fi
if [ -n "${WHEELS:-}" ]; then
    options+=(--volume "$WHEELS:/wheels:ro" --build-arg PIP_FIND_LINKS=/wheels --build-arg PIP_NO_INDEX=1)
fi
timed "image" buildah build "${options[@]}" -f deploy/Dockerfile -t stepmint .

# One run outside, one inside; `run` is the same command in both.
mkdir -m 777 "$SCRATCH/out" "$SCRATCH/in"
chmod 755 "$SCRATCH"
for i in $(seq 0 11); do echo "{\"text\": \"Problem $i\", \"answer\": \"right\"}"; done >"$SCRATCH/problems.jsonl"
cat >"$SCRATCH/run.toml" <<'EOF'
name = "trial"
[problems]
source = "jsonl"
path = "problems.jsonl"
[policy]
kind = "simulated"
n_steps = 5
slip = 0.25
[[annotate]]
kind = "monte_carlo"
rollouts = 8
EOF
digest() { "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["dataset_digest"])'; }
outside=$(cd "$SCRATCH/out" && PYTHONPATH=$OLDPWD "$PYTHON" -m flows.cli run ../run.toml --no-prefect --json | digest)
CONTAINER=$(buildah from --pull-never localhost/stepmint)
inside() {
    buildah run --volume "$SCRATCH:/trial" --workingdir /trial/in "$CONTAINER" -- "$@"
}
timed "run in the image" inside sh -c 'stepmint run ../run.toml --json >out.json'
[ "$(inside id -u)" = 10001 ] || { echo "the image runs as root"; exit 1; }
[ "$(digest <"$SCRATCH/in/out.json")" = "$outside" ] || { echo "the digests differ"; exit 1; }
echo "equal: $outside"
