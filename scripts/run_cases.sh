#!/usr/bin/env bash
# Run the black-box scripts of a folder, each with a time limit, and list the results.
# Usage: run_cases.sh FOLDER. Exit status 1: a script failed. A script that exits with 77 lacks a program.
set -uo pipefail
folder=$1
output=$(mktemp)
trap 'rm -f "$output"' EXIT

failed=0
for script in "$folder"/*.sh "$folder"/runs/*.sh; do
    name=${script#"$folder"/}
    [ -f "$script" ] && [ "${name##*/}" != common.sh ] || continue

    timeout 600 bash "$script" >"$output" 2>&1 </dev/null
    status=$?
    case $status in
        0) echo "passed   $name" ;;
        77) echo "skipped  $name: $(tail -1 "$output")" ;;
        *) failed=1; echo "FAILED   $name (status $status)"; tail -8 "$output" | sed 's/^/    /' ;;
    esac
done
exit $failed
