#!/bin/sh
# Fuzzes parsers: `fuzz.sh SECONDS JOBS [TARGET...]`, all targets if none is named. Prints a line for each, and exits with 1 on any finding.
#
# Seeds come from the vectors (GLOVEBOX_VECTORS) and stay, with what the runs add to them, in GLOVEBOX_FUZZ, outside of the clone. The limits of an
# input, 64 MiB and a second of processor time, are held inside of the targets (fuzz/src/lib.rs); libFuzzer's own are a net below them: its
# memory is the whole process with AddressSanitizer's shadow, its time is the wall's, which a busy machine stretches.
set -eu

seconds=$1 jobs=$2
shift 2
clone=$(cd "$(dirname "$0")/.." && pwd)
cache=${GLOVEBOX_FUZZ:-$HOME/.cache/glovebox/fuzz}
vectors=${GLOVEBOX_VECTORS:-$clone/../shared/vectors}
built=$cache/target
export RUSTC_BOOTSTRAP=1 # cargo-fuzz asks for options that a stable compiler keeps behind this

command -v cargo-fuzz >/dev/null || {
    echo 'cargo-fuzz is not installed' >&2
    echo 'hint: cargo install cargo-fuzz' >&2
    exit 2
}
cd "$clone"
# What is fuzzed are the versions that ship.
[ -e fuzz/Cargo.lock ] || cp Cargo.lock fuzz/Cargo.lock
targets=${*:-$(cargo fuzz list)}
for target in $targets; do
    cargo fuzz build --target-dir "$built" "$target" >/dev/null
done
python3 scripts/fuzz-seeds.py "$vectors" "$cache/seeds"
cargo run --quiet -p hostile --example seeds -- "$cache/seeds"

# One target, to its end: a line, and a status.
cat >"$cache/run" <<'RUN'
#!/bin/sh
seconds=$1 clone=$2 cache=$3 built=$4 target=$5
mkdir -p "$cache/corpus/$target" "$cache/seeds/$target" "$cache/findings/$target"
before=$(ls "$cache/findings/$target" | wc -l)
set -- "$cache/corpus/$target" "$cache/seeds/$target"
[ -d "$clone/fuzz/regressions/$target" ] && set -- "$@" "$clone/fuzz/regressions/$target"
log=$cache/$target.log
nice -n 19 "$built/x86_64-unknown-linux-gnu/release/$target" "$@" -max_total_time="$seconds" -print_final_stats=1 \
    -artifact_prefix="$cache/findings/$target/" -malloc_limit_mb=64 -rss_limit_mb=2048 -timeout=25 -report_slow_units=25 >"$log" 2>&1
status=$?
executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
found=$(($(ls "$cache/findings/$target" | wc -l) - before))
printf '%-16s %12s executions, %6s edges, %s findings\n' "$target" "${executions:-?}" "${covered:-?}" "$found"
if [ "$status" -ne 0 ]; then
    printf '%-16s ended with %s; see %s\n' "$target" "$status" "$log"
fi
exit "$status"
RUN
chmod +x "$cache/run"
status=0
echo $targets | tr ' ' '\n' | xargs -P "$jobs" -I{} "$cache/run" "$seconds" "$clone" "$cache" "$built" {} || status=1
exit "$status"
