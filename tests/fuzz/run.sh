#!/usr/bin/env bash
# Runs every harness for its share of the time. Usage: run.sh BUILD_FOLDER SECONDS
# Inputs that reached new code stay in BUILD_FOLDER/corpus and are where the next run begins.
set -euo pipefail
build="${1:?usage: run.sh BUILD_FOLDER SECONDS}"
seconds="${2:?usage: run.sh BUILD_FOLDER SECONDS}"

harnesses=("$build"/tests/fuzz/fuzz_*)
share=$((seconds / ${#harnesses[@]}))
((share > 0)) || share=1
number=0
for harness in "${harnesses[@]}"; do
    name="${harness##*/fuzz_}"
    number=$((number + 1))
    printf 'fuzz: %s (%d of %d), %d s\n' "$name" "$number" "${#harnesses[@]}" "$share"
    mkdir -p "$build/corpus/$name"
    log="$build/$name.log"
    if ! "$harness" -max_total_time="$share" -timeout=10 -rss_limit_mb=4096 -max_len=4096 \
        -print_final_stats=1 -artifact_prefix="$build/$name-" "$build/corpus/$name" 2>&1 |
        tee "$log" | { grep --line-buffered pulse || true; }; then
        grep -m 1 -A 20 -E 'ERROR|does not hold|runtime error' "$log" >&2 || true
        grep -E '^(SUMMARY|artifact_prefix)' "$log" >&2 || true
        printf 'fuzz: %s failed; its input is the artifact named above: run %s with it\n' "$name" "$harness" >&2
        exit 1
    fi
    printf 'fuzz: %s: %s executions, nothing found\n' "$name" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
done
