# Runs in every pod of a workload that `primus k8s create` made. The lines above this one set primus_folder,
# primus_source, primus_experiment (gzip, base64), primus_secrets and, as $1 $2 ..., the arguments of `primus train`.

fail() {
    printf 'primus: %s\n' "$1" >&2
    exit 4
}

cd -- "$primus_folder" 2>/dev/null || fail "$primus_folder, where the workload was created, is not there in this pod. \
Create it from a folder of the storage that the pods mount."

# A pod is told its place: by the server, as that of June 2025 did, with the names of torch, or as part of a Job.
export NNODES="${NNODES:-${PET_NNODES:-1}}"
export NODE_RANK="${NODE_RANK:-${PET_NODE_RANK:-${JOB_COMPLETION_INDEX:-${RANK:-0}}}}"
if [ "$NNODES" -eq 1 ]; then
    unset MASTER_ADDR MASTER_PORT
fi
if [ "${GPUS_PER_NODE:-}" = 0 ]; then
    unset GPUS_PER_NODE
fi
# A workload that is started again goes on in its run directory.
if [ -n "${WORKLOAD_ID:-}" ]; then
    export PRIMUS_RUN_ID="$WORKLOAD_ID"
fi

# A secret is a folder. A file in it that is called like a variable becomes one, unless it is set already.
for secret in $primus_secrets; do
    for file in "/etc/secrets/$secret"/*; do
        name=$(basename -- "$file")
        case "$name" in
        token | hf_token) name=HF_TOKEN ;;
        *[!A-Z0-9_]* | [0-9]*) continue ;;
        esac
        if [ -r "$file" ] && [ -z "$(printenv "$name")" ]; then
            value=$(cat -- "$file")
            export "$name=$value"
        fi
    done
done

if command -v primus >/dev/null 2>&1; then
    set -- primus train "$@"
elif [ -d "$primus_source/primus" ]; then
    export PYTHONPATH="$primus_source${PYTHONPATH:+:$PYTHONPATH}"
    set -- python3 -m primus train "$@"
else
    fail "this image has no command primus, and $primus_source is not there in this pod. \
Take an image with Primus, or create the workload with a Primus that lies in the storage that the pods mount."
fi

experiment=$(mktemp -d)/experiment.yaml
printf %s "$primus_experiment" | base64 -d | gzip -dc >"$experiment"
[ -s "$experiment" ] || fail "the experiment could not be unpacked (base64 and gzip are needed in the image)"
unset EXP BACKEND primus_experiment
exec "$@" --exp "$experiment"
