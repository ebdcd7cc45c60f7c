# sbatch --parsable --output=/work/output/us/me/toy/runs/RUN/slurm/logs/job.log --open-mode=append --requeue --signal=B:USR1@300 --nodes=2 --ntasks-per-node=1 --time=1:00:00 --job-name=toy /work/output/us/me/toy/runs/RUN/slurm/job.sh
# /work/output/us/me/toy/runs/RUN
#!/bin/bash
# Written by `primus slurm submit`. SLURM runs it on the first node of the job; it starts `primus train` (or `primus
# doctor`) once on each node, through srun, and leaves with its exit status.

run=/work/output/us/me/toy/runs/RUN
folder=$run/slurm
directory=/work
code=
processes=
master_port=
train=(/venv/bin/python -m primus train)
examines=
survive=(--max-requeues 3 --exclude)
chain=2
silence=300
part=${1-}
untrained=--untrained
attempt=${SLURM_JOB_ID-}-${SLURM_RESTART_COUNT:-0}
asked=
heard=
silent=
lost=()

main() {
    note running
    # The setup may take all the time there is. The shell runs these between two commands of it.
    trap 'asked=TERM; [[ -z $untrained ]] || line_up' TERM
    trap 'asked=${asked:-USR1}; [[ -z $untrained ]] || line_up' USR1
    cd -- "$directory" || fail "the working directory is not there on $(hostname): $directory"
    # shellcheck source=/dev/null
    . "$folder/environment.sh" || fail "the environment file can't be read: $folder/environment.sh"
    if [[ -e $folder/setup.sh ]]; then
        # shellcheck source=/dev/null
        . "$folder/setup.sh" || [[ $asked == TERM ]] || fail "the setup file left with status $?: $folder/setup.sh"
    fi
    [[ -z $code ]] || export PYTHONPATH=$code${PYTHONPATH:+:$PYTHONPATH}
    export PRIMUS_RUN_ID=${run##*/}
    [[ -n $examines ]] || train+=(--exp "$folder/experiment.yaml")
    ((${SLURM_RESTART_COUNT:-0} + chain == 0)) || begin
    rendezvous
    start
    leave
}

# What SLURM has started again may have been so too often, or be on a node that failed before. A job of a chain may follow
# one that was ended while it saved.
begin() {
    after begin --chain "$chain"
    status=$?
    ((status != 75)) || exit 75
    ((status == 0)) || leave
}

after() {
    "${train[0]}" -m primus.launch.slurm.survive "$1" "$run" "${survive[@]}" "${@:2}"
}

# The last thing that the script does. When the daemon is gone that waits for its end, SLURM has to be told of it.
leave() {
    note ended "$status"
    rm -f "$folder"/alive-"$attempt"-node* "$folder"/done-"$attempt"-node* "$folder/mark-$attempt"
    [[ -d /proc/$PPID ]] || scancel --quiet "$SLURM_JOB_ID"
    exit "$status"
}

# Where the nodes meet, found here, outside of any container: the first node by its name when that leads to it from the
# other nodes too, else by the address that SLURM itself uses for it.
rendezvous() {
    ((SLURM_JOB_NUM_NODES > 1)) || return 0
    local name address
    name=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    [[ -n $name ]] || fail "scontrol can't say which nodes $SLURM_JOB_NODELIST are"
    address=$(getent ahosts "$name" | awk '{ print $1; exit }')
    if [[ -z $address || $address == 127.* || $address == ::1 ]]; then
        address=$(scontrol show node "$name" --oneliner | sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p')
        [[ $address != "$name" ]] || address=
    fi
    [[ -n $address ]] || fail "the name $name of the first node has no address that other nodes could use"
    # Two jobs that share a node have different ids. Ports from 32768 on are given to clients by the kernel.
    train+=(--nnodes "$SLURM_JOB_NUM_NODES" --master-addr "$address")
    train+=(--master-port "${master_port:-$((20000 + SLURM_JOB_ID % 12000))}")
}

# Runs on_node everywhere and sets `status` to that of the node that failed first.
start() {
    local srun
    [[ -z $asked ]] || { status=143 && without_training "$status" && leave; }
    untrained=
    touch "$folder/mark-$attempt"
    next_look=$((SECONDS + silence))
    srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
        --cpus-per-task="${SLURM_CPUS_PER_TASK:-$(fewest_cpus)}" --kill-on-bad-exit=0 --wait=60 ${examines:+--wait=0} \
        --input=none \
        bash "$folder/job.sh" node "${train[@]}" &
    srun=$!
    while kill -0 "$srun" 2>/dev/null; do
        sleep 1 &
        wait -n
        [[ -z $asked ]] || ask_to_stop
        [[ $asked == "$heard" ]] || line_up
        one_failed && stop_the_others
        look_after_nodes
        [[ -z $silent ]] || kill -KILL "$srun"
    done
    wait "$srun" 2>/dev/null
    status=$?
    if [[ -e $run/doctor/report.json ]] && said=$(said_by_node_0); then
        status=$said
        return
    fi
    ((status == 0)) && [[ -z $asked ]] && return # of a step that it has to end srun may say 0
    mapfile -t lost < <(without_note)
    status=$(after end --status "$status" --asked "$asked" --silent "$silent" --chain "$chain" --lost "${lost[@]}") ||
        fail "srun left with status $status"
}

# How an examination ends that has a report, also where another node hangs: that is what it has found.
said_by_node_0() {
    cut -d " " -f 2 "$folder"/[df]*-"$attempt"-node0 2>/dev/null
}

# CPUs for the task of each node, where none are asked for: without that number srun gives it a single one.
fewest_cpus() {
    tr ',' '\n' <<<"$SLURM_JOB_CPUS_PER_NODE" | sed 's/(.*//' | sort -n | head -n 1
}

# An examination goes on without a node: that one is missing is in its report, and node 0 says when it is over.
one_failed() {
    local found=("$folder"/failed-"$attempt"-node*)
    if [[ -n $examines ]]; then
        said_by_node_0 >/dev/null
    else
        [[ -e ${found[0]} ]]
    fi
}

# The nodes that are left can't go on; they get some seconds to find that out and to say why.
stop_the_others() {
    [[ -z ${told-} ]] || return 0
    told=yes
    { sleep 5 && scancel --quiet --signal=TERM "$SLURM_JOB_ID.0"; do_not_wait; } &
}

# For a node that hangs, which an examination has named.
do_not_wait() {
    [[ -n $examines ]] || return 0
    sleep 5
    scancel --quiet --signal=KILL "$SLURM_JOB_ID.0"
    sleep 5
    kill -KILL "$srun"
}

# SLURM has sent the script a signal, before the time is up or since a user asks for it: training is to save and end.
ask_to_stop() {
    ((SECONDS >= ${next_time:-0})) || return 0
    next_time=$((SECONDS + 10))
    scancel --quiet --signal=USR1 "$SLURM_JOB_ID.0"
}

# The end of a job that was asked to stop before it came to the training.
without_training() {
    ((chain == 0)) || after untrained --status "$1" --asked "$asked" --chain "$chain"
    return 0
}

# The next job of a chain enters the queue before the training has saved, since the end of the time may come first.
line_up() {
    heard=$asked
    ((chain == 0)) || after asked --asked "$asked" --chain "$chain" ${untrained:+"$untrained"}
}

# A node whose daemon is lost never ends for SLURM: the job would be taken for running for ever. Each node renews a file,
# and notes its end. Compared with another file of the same disk, so that no clock matters.
look_after_nodes() {
    ((silence)) || return 0
    if (($(count_notes) == SLURM_JOB_NUM_NODES)); then
        : "${all_ended:=$SECONDS}"
        ((SECONDS - all_ended < (silence < 30 ? silence : 30))) || give_up
    elif ((SECONDS - ${last_look:=$SECONDS} > 30)); then # the job was suspended, as its nodes were
        next_look=$((SECONDS + silence))
        touch "$folder/mark-$attempt"
    elif ((SECONDS >= next_look)); then
        next_look=$((SECONDS + silence))
        [[ -z $(silent_nodes) ]] || give_up
        touch "$folder/mark-$attempt"
    fi
    last_look=$SECONDS
}

give_up() {
    silent=$silence
    scancel --quiet --signal=KILL "$SLURM_JOB_ID.0" 2>/dev/null
}

silent_nodes() {
    local node
    for node in $(without_note); do
        [[ $folder/alive-$attempt-node$node -nt $folder/mark-$attempt ]] || echo "$node"
    done
}

count_notes() {
    (
        shopt -s nullglob
        notes=("$folder"/done-"$attempt"-node* "$folder"/failed-"$attempt"-node*)
        echo "${#notes[@]}"
    )
}

# The nodes that have not noted how they ended.
without_note() {
    local node
    for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do
        [[ -e $folder/done-$attempt-node$node || -e $folder/failed-$attempt-node$node ]] || echo "$node"
    done
}

stay_alive() {
    trap '' INT TERM USR1 USR2
    local nothing
    exec {nothing}<> <(:) # to sleep without a process that could be left behind
    while kill -0 "$$" 2>/dev/null; do
        touch "$folder/alive-$attempt-node$SLURM_NODEID"
        read -rt "$((silence / 4 + 1))" -u "$nothing"
    done
}

# The part of one node. A signal is meant for the training below, which gets it from SLURM as well.
on_node() {
    exec >>"$folder/logs/node$SLURM_NODEID.log" 2>&1
    trap : INT TERM USR1 USR2
    cd -- "$directory" || fail "the working directory is not there on $(hostname): $directory"
    ((silence == 0)) || stay_alive &
    alive=$!
    processes=${processes:-${SLURM_GPUS_ON_NODE-}}
    "$@" ${processes:+--nproc-per-node "$processes"} --node-rank "$SLURM_NODEID"
    status=$?
    echo "$(date +%s.%N) $status" >"$folder/$( ((status)) && echo failed || echo "done")-$attempt-node$SLURM_NODEID"
    kill -KILL "$alive" 2>/dev/null
    exit "$status"
}

# A line of attempts.jsonl: what is known of this job without asking SLURM.
note() {
    printf '{"time": "%s", "job": "%s", "restart": %s, "state": "%s", "exit_status": %s, "nodes": "%s"}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$SLURM_JOB_ID" "${SLURM_RESTART_COUNT:-0}" "$1" "${2:-null}" \
        "$SLURM_JOB_NODELIST" >>"$folder/attempts.jsonl"
}

fail() {
    echo "primus: $*" >&2
    [[ $part != node ]] || exit 4
    [[ -z $asked || -z $untrained ]] || without_training 4
    note ended 4
    exit 4
}

if [[ $part == node ]]; then
    on_node "${@:2}"
else
    main
fi
