#!/bin/bash
# Runs deploy/slurm/work.sbatch on a Slurm of one node, requeues one task in the middle, and compares the rows
# with those of a plain local run.
#
#   bash tests/cluster/slurm.sh
#
# Needs slurmctld, slurmd, munged (Debian: slurm-wlm) and root. Exit code 77: skipped.
set -eu
cd "$(dirname "$0")/../.."
for program in slurmctld slurmd munged sbatch; do
    command -v $program >/dev/null || { echo "skipped: no $program"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: a Slurm of one's own needs root"; exit 77; }
REPOSITORY=$PWD
PYTHON=${PYTHON:-$PWD/.venv/bin/python}
SCRATCH=$(mktemp -d)
NODE=$(hostname -s)
export SLURM_CONF=$SCRATCH/slurm.conf
started=()
clean() {
    [ ${#started[@]} = 0 ] || kill "${started[@]}" 2>/dev/null || true
    wait
    rm -rf "$SCRATCH"
}
trap clean EXIT
fail() {
    echo "$1"
    tail -n 20 "$SCRATCH"/*.log
    exit 1
}

# Slurm: one node of two processors, with all its files in the scratch folder.
chmod 755 "$SCRATCH"
mkdir "$SCRATCH/state" "$SCRATCH/spool" "$SCRATCH/bin"
head -c 1024 /dev/urandom >"$SCRATCH/munge.key"
chmod 600 "$SCRATCH/munge.key"
cat >"$SLURM_CONF" <<EOF
ClusterName=trial
SlurmctldHost=$NODE(127.0.0.1)
SlurmctldPort=${SLURMCTLD_PORT:-26817}
SlurmdPort=${SLURMD_PORT:-26818}
AuthInfo=socket=$SCRATCH/munge.socket
SlurmUser=root
StateSaveLocation=$SCRATCH/state
SlurmdSpoolDir=$SCRATCH/spool
SlurmctldPidFile=$SCRATCH/slurmctld.pid
SlurmdPidFile=$SCRATCH/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
NodeName=$NODE NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=$NODE Default=YES MaxTime=INFINITE State=UP
EOF
start() { # COMMAND...: in the background, to be ended at the end
    "$@" >"$SCRATCH/$(basename "$1").log" 2>&1 &
    started+=($!)
}
start munged --foreground --force --key-file="$SCRATCH/munge.key" --socket="$SCRATCH/munge.socket" \
    --pid-file="$SCRATCH/munged.pid" --log-file="$SCRATCH/munged.log" --seed-file="$SCRATCH/munged.seed"
for _ in $(seq 50); do [ -S "$SCRATCH/munge.socket" ] && break; sleep 0.2; done
start slurmctld -D
start slurmd -D -N "$NODE"
for _ in $(seq 100); do sinfo --noheader 2>/dev/null | grep -q idle && break; sleep 0.2; done
sinfo --noheader | grep -q idle || fail "Slurm does not start"

# The command `stepmint` of this repository.
cat >"$SCRATCH/bin/stepmint" <<EOF
#!/bin/sh
PYTHONPATH=$REPOSITORY exec $PYTHON -m flows.cli "\$@"
EOF
chmod +x "$SCRATCH/bin/stepmint"
export PATH=$SCRATCH/bin:$PATH
cd "$SCRATCH"
for i in $(seq 0 "${LAST:-399}"); do echo "{\"text\": \"Problem $i\", \"answer\": \"right\"}"; done >problems.jsonl
cat >run.toml <<'EOF'
name = "trial"
shards = 6
[problems]
source = "jsonl"
path = "problems.jsonl"
[policy]
kind = "simulated"
n_steps = 12
slip = 0.25
[[annotate]]
kind = "monte_carlo"
rollouts = 32
EOF
digest() { "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["dataset_digest"])'; }
began=$SECONDS
plain=$(stepmint run run.toml --no-prefect --json | digest)
echo "plain local run: $((SECONDS - began)) s"

began=$SECONDS
stepmint run run.toml --set "root='file://$SCRATCH/shared'" --begin >/dev/null
RUN=file://$SCRATCH/shared/trial
job=$(sbatch --parsable --array=0-1 --mem=0 --export=ALL,RUN="$RUN" "$REPOSITORY/deploy/slurm/work.sbatch")
for _ in $(seq 600); do
    [ "$(grep -c "^shard " stepmint-"$job"_0.log 2>/dev/null)" -ge 2 ] 2>/dev/null && break
    sleep 0.2
done
[ "$(squeue --noheader --format=%T --jobs="${job}_0")" = RUNNING ] || fail "no task to requeue"
scontrol requeue "${job}_0"
for _ in $(seq 3000); do [ -z "$(squeue --noheader)" ] && break; sleep 0.2; done
[ -z "$(squeue --noheader)" ] || fail "the array does not end"
grep -q interrupted stepmint-"$job"_0.log || fail "the requeued task was not told"
[ "$(scontrol --oneliner show job "$job" | grep -c 'JobState=COMPLETED')" = 2 ] || fail "a task failed"
echo "an array of two, one of them requeued: $((SECONDS - began)) s"
far=$(stepmint work "$RUN" --json | digest)
[ "$far" = "$plain" ] || fail "the digests differ: $far, not $plain"
echo "equal: $far"
