#!/usr/bin/env bash
# A Slurm cluster of this one machine, with two pretend GPUs, for as long as a command runs:
#
#   tests/slurm/start_slurm.sh COMMAND...
#
# Needs slurmctld, slurmd and munged (Debian: apt-get install slurm-wlm munge), no root, no systemd, no running Slurm or munge.
# Everything it makes lies in a folder of its own that goes when COMMAND ends: key, socket, configuration, logs, state. COMMAND
# finds the cluster through SLURM_CONF, and in $SLURM_RECORD a line for each start and end of a job step:
#   start|end  job id  step  CUDA_VISIBLE_DEVICES  seconds since 1970
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin # where Debian has the daemons
for program in munged slurmctld slurmd srun; do
  command -v "$program" >/dev/null || {
    echo "error: $program is not installed; on Debian: apt-get install slurm-wlm munge" >&2
    exit 69
  }
done

folder=$(mktemp -d "${TMPDIR:-/tmp}/slurm.XXXXXX")
chmod 755 "$folder" # munged refuses a socket that others cannot reach
mkdir "$folder"/{bin,state,spool,log,munge}
daemons=()
stop() {
  for process in "${daemons[@]}"; do kill "$process" 2>/dev/null || true; done
  wait
  rm -rf "$folder"
}
trap stop EXIT
trap 'exit 143' TERM INT HUP

free_ports() {
  python3 - <<'PYTHON'
import socket

sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PYTHON
}
read -r port_of_slurmctld port_of_slurmd < <(free_ports)
user=$(id -un)
host=$(hostname -s)

# A pretend GPU is a device file, and its number is the n-th of the node.
cat >"$folder/gres.conf" <<EOF_GRES
Name=gpu File=/dev/null
Name=gpu File=/dev/zero
EOF_GRES

cat >"$folder/slurm.conf" <<EOF_SLURM
ClusterName=one-machine
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port_of_slurmctld
SlurmdPort=$port_of_slurmd
# The daemons belong to who starts them, so that no root is needed.
SlurmUser=$user
SlurmdUser=$user
AuthInfo=socket=$folder/munge/socket,cred_expire=10
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
# Two jobs may share the node, each with the CPUs, memory and GPUs that it asked for.
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# Without cgroups, which a container may not have.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
# Without a database: squeue remembers finished jobs for ten minutes, so Snakemake can ask it how they ended.
AccountingStorageType=accounting_storage/none
MinJobAge=600
# Fast answers rather than a large cluster.
SchedulerParameters=sched_min_interval=100000,bf_interval=1
SlurmdParameters=config_overrides
KillWait=10
TaskProlog=$folder/bin/start
TaskEpilog=$folder/bin/end
# More CPUs than there may be: the jobs of the tests are small.
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=32000 Gres=gpu:2
PartitionName=cpu Nodes=$host Default=YES MaxTime=INFINITE OverSubscribe=NO
PartitionName=gpu Nodes=$host MaxTime=INFINITE OverSubscribe=NO
EOF_SLURM

for event in start end; do
  cat >"$folder/bin/$event" <<EOF_RECORD
#!/bin/sh
echo "$event \$SLURM_JOB_ID \$SLURM_STEP_ID \${CUDA_VISIBLE_DEVICES:--} \$(date +%s.%N)" >>"$folder/record"
EOF_RECORD
done

# Snakemake's job step drops all variables that begin with SLURM_, also the one that says where the configuration lies.
cat >"$folder/bin/srun" <<EOF_SRUN
#!/bin/sh
SLURM_CONF=$folder/slurm.conf exec $(command -v srun) "\$@"
EOF_SRUN
chmod +x "$folder"/bin/*

export SLURM_CONF=$folder/slurm.conf SLURM_RECORD=$folder/record PATH=$folder/bin:$PATH
touch "$SLURM_RECORD"

(umask 077 && head -c 1024 /dev/urandom >"$folder/munge/key")
# setsid: Ctrl-C reaches COMMAND, which may want to cancel its jobs, and not the daemons.
# --force: the folder may lie below one that others can write, such as /tmp.
setsid munged --foreground --force --socket "$folder/munge/socket" --key-file "$folder/munge/key" --pid-file "$folder/munge/pid" \
  --seed-file "$folder/munge/seed" --log-file "$folder/log/munged" >"$folder/log/munged.err" 2>&1 &
daemons+=($!)
setsid slurmctld -D -i -f "$SLURM_CONF" >"$folder/log/slurmctld" 2>&1 &
daemons+=($!)
setsid slurmd -D -N "$host" -f "$SLURM_CONF" >"$folder/log/slurmd" 2>&1 &
daemons+=($!)

for _ in $(seq 100); do
  if [[ $(sinfo --noheader --format %T 2>/dev/null) == idle* ]]; then
    "$@"
    exit
  fi
  sleep 0.1
done
echo "error: Slurm did not start within 10 seconds; what its daemons said:" >&2
tail -n 20 "$folder"/log/* >&2
exit 70
