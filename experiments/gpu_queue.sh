#!/usr/bin/env bash
# On a GPU machine: CPU/CUDA parity first, then training steps, then the verification queue; 25 minutes in all.
#
#   python -m experiments.package_data.queue pack .gpu --limit 4000    # here: the rows still to be verified
#   (wheels the GPU machine lacks, for its Python and platform, into .gpu/wheels; configs to train in .gpu/train)
#   OUT=results bash experiments/gpu_queue.sh                          # there: with .gpu carried along
#   python -m experiments.package_data.queue merge results/verifications.db    # here again
#
# DEVICE=cpu bash experiments/gpu_queue.sh --dry-run goes through every step on the CPU with two crystals.
set -euo pipefail
cd "$(dirname "$0")/.."

DEVICE=${DEVICE:-cuda}
CARRIED=${CARRIED:-.gpu}
OUT=${OUT:-.gpu/results}
PYTHON=${PYTHON:-python3}
POTENTIAL=${POTENTIAL:-7net-0}
WIDTH=${WIDTH:-256}
LIMIT=100000 PARITY_ROWS=20 PARITY_SECONDS=180 TRAIN_SECONDS=${TRAIN_SECONDS:-600}
POTENTIALS=${POTENTIALS:-7net-0 7net-l3i5 diep}
END=$((SECONDS + ${MINUTES:-25} * 60 - 45))   # three quarters of a minute to write and leave

if [ "${1:-}" = "--dry-run" ]; then
    LIMIT=2 PARITY_ROWS=1 WIDTH=2 POTENTIALS=$POTENTIAL
fi
left() { echo $((END - SECONDS)); }
least() { [ "$1" -lt "$2" ] && echo "$1" || echo "$2"; }
note() { echo "[$(left) s left] $*" | tee -a "$OUT/gpu_queue.log" >&2; }

mkdir -p "$OUT"
export INVERSE_STORE=${INVERSE_STORE:-$OUT/verifications.db} PYTHONUNBUFFERED=1
if compgen -G "$CARRIED/wheels/*.whl" >/dev/null; then
    site=$(mktemp -d)
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$CARRIED"/wheels/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

note "parity: cpu against $DEVICE"
# shellcheck disable=SC2086
timeout "$PARITY_SECONDS" "$PYTHON" -m experiments.studies.parity "$CARRIED/rows.jsonl.gz" \
    --potentials $POTENTIALS --device "$DEVICE" --limit "$PARITY_ROWS" | tee "$OUT/parity.jsonl"

stop_training=$(least "$(left)" "$TRAIN_SECONDS")
stop_training=$((SECONDS + stop_training))
for config in "$CARRIED"/train/*.yaml; do
    [ -e "$config" ] || continue
    seconds=$((stop_training - SECONDS))
    [ "$seconds" -gt 30 ] || { note "no time to train on $config"; continue; }
    note "training: $config, at most $seconds s"
    timeout --signal=TERM --kill-after=20 "$seconds" "$PYTHON" -c \
        'import sys; from inverse.commands.cli import main; sys.exit(main(sys.argv[1:]))' \
        train "$config" --output "$OUT/$(basename "$config" .yaml)" || note "$config ended early"
done

note "verification queue: $POTENTIAL on $DEVICE, $WIDTH side by side"
started=$SECONDS
timeout --signal=TERM --kill-after=20 "$(left)" "$PYTHON" -m experiments.package_data.queue rows "$CARRIED/rows.jsonl.gz" \
    --ask "$POTENTIAL" --device "$DEVICE" --width "$WIDTH" --limit "$LIMIT" --seconds "$(($(left) * 9 / 10))" \
    2>&1 | tee -a "$OUT/queue.log" | tail -n 3 || note "the queue ended early; what was known is in the store"
note "$(grep -c ': done' "$OUT/queue.log" || true) crystals in $((SECONDS - started)) s"
