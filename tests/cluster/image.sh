#!/bin/bash
# Builds deploy/Dockerfile without a Docker daemon, and compares runs in the image with one outside of it: one by
# the command, and one of a docker pool.
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
SERVER=""
clean() {
    [ -z "$SERVER" ] || kill "$SERVER"
    [ -z "$CONTAINER" ] || buildah rm "$CONTAINER" >/dev/null
    rm -rf "$SCRATCH"
}
trap clean EXIT
fail() {
    echo "$1"
    tail -n 40 "$SCRATCH/log"
    exit 1
}
timed() { # NAME COMMAND...: the seconds of a command
    local name=$1 began=$SECONDS
    shift
    "$@" >"$SCRATCH/log" 2>&1 || fail "$name failed"
    echo "$name: $((SECONDS - began)) s"
}

# KEEP=1: with the image that was built before.
if [ -n "${KEEP:-}" ]; then
    options=()
elif [ -n "${BASE_ROOT:-}" ]; then
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
[ -n "${KEEP:-}" ] || timed "image" buildah build "${options[@]}" -f deploy/Dockerfile -t stepmint .

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
[ "$(inside id -u)" = 10001 ] || fail "the image does not run as its own user"
[ "$(digest <"$SCRATCH/in/out.json")" = "$outside" ] || fail "the digests differ"
echo "equal: $outside"

# A run of a docker pool, as a Prefect worker gives it to a container. There is no Docker daemon, so this script
# is the worker: it starts the container's command with what the container would have.
export PREFECT_HOME=$SCRATCH/prefect PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_UI_ENABLED=0
port=${PORT:-42917}
PYTHONPATH=$PWD "$PYTHON" -m prefect server start --port "$port" >"$SCRATCH/log" 2>&1 &
SERVER=$!
export PREFECT_API_URL=http://127.0.0.1:$port/api
asked() { # PATH [JSON]: an answer of the server
    "$PYTHON" - "$@" <<'EOF'
import sys, httpx
address, *given = sys.argv[1:]
said = {"method": "POST", "content": given[0]} if given else {"method": "GET"}
answer = httpx.request(url=address, headers={"content-type": "application/json"}, timeout=60, **said)
print(answer.raise_for_status().text)
EOF
}
for _ in $(seq 120); do asked "$PREFECT_API_URL/health" >/dev/null 2>&1 && break; sleep 1; done
field() { "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
deployment=$(cd "$SCRATCH/in" && PYTHONPATH=$OLDPWD "$PYTHON" -m flows.cli deploy ../run.toml --set name=pooled \
    --pool boxes --pool-type docker --image localhost/stepmint --json | field id)
run=$(asked "$PREFECT_API_URL/deployments/$deployment/create_flow_run" '{}' | field id)
mv "$SCRATCH/run.toml" "$SCRATCH/kept.toml" # its text was sent
in_the_pool() {
    buildah run --volume "$SCRATCH:$SCRATCH" --workingdir "$SCRATCH/in" --env PREFECT_API_URL="$PREFECT_API_URL" \
        --env PREFECT_HOME=/tmp/prefect --env PREFECT__FLOW_RUN_ID="$run" "$CONTAINER" -- prefect flow-run execute
}
timed "run of a docker pool" in_the_pool
[ "$(asked "$PREFECT_API_URL/flow_runs/$run" | field state_name)" = Completed ] || fail "the run did not complete"
pooled=$(PYTHONPATH=$PWD "$PYTHON" -m stepmint fuse "$SCRATCH/in/runs/pooled" --json | digest)
[ "$pooled" = "$outside" ] || fail "the digests differ"
echo "equal: $pooled"
