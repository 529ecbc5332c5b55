#!/bin/sh
# fuzz/run.sh TARGET SECONDS | fuzz/run.sh TARGET merge: see README.md.
set -eu
cd "$(dirname "$0")"
target=$1
what=$2
host=$(rustc -vV | sed -n 's/^host: //p')
passes="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
passes="$passes -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
passes="$passes -Cllvm-args=-sanitizer-coverage-pc-table"
passes="$passes -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS="$passes --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1" \
    cargo build --release --target "$host" --bin "$target"
program=target/$host/release/$target
mkdir -p artifacts "found/$target"
if [ "$what" = merge ]; then
    mkdir -p "merged/$target"
    "$program" -set_cover_merge=1 -use_counters=0 -max_len=4096 "merged/$target" "corpus/$target" "found/$target"
    rm -r "corpus/$target" && mv "merged/$target" "corpus/$target"
    exit
fi
exec "$program" -max_total_time="$what" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix=artifacts/ "found/$target" "corpus/$target"
