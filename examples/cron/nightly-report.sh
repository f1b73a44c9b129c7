#!/bin/sh
# A job that must not overlap with itself on any machine. It is started by `throttle run`; see the crontab beside it.
#
#     throttle run --try --semaphore nightly-report -- ./nightly-report.sh orders.csv report.txt
set -eu
orders=$1 report=$2

# Whoever starts it by hand should not get around the lock.
: "${THROTTLE_FENCING_TOKEN:?start this by: throttle run --try --semaphore nightly-report -- $0 $*}"

# A report is there as a whole or not at all, also if the lock is lost and this is killed half way.
draft=$(mktemp "$report.XXXXXX")
trap 'rm -f "$draft"' EXIT
trap 'exit 143' TERM
{
    echo "Orders by customer (token $THROTTLE_FENCING_TOKEN)"
    cut -d, -f1 "$orders" | sort | uniq -c
} >"$draft"
mv "$draft" "$report"
