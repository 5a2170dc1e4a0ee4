#!/usr/bin/env bash
# Usage: scripts/attach-bucket.sh --bucket NAME [--bucket NAME ...] [options]
#
# Attaches buckets to a stack that scripts/create-stack.sh has made, without a look at the rest of it: from then on
# changes in them refresh their file shares. Of a bucket that is attached already it changes how it tells of its changes,
# or mends that. Other notifications of the bucket stay as they are. Run it again after it was interrupted: it goes on.
#
#   --bucket NAME           a bucket to attach, repeatable
#   --event-source S        how the bucket tells of its changes: notification, its own; eventbridge, a rule's there,
#                           if other notifications leave no room (default: as it is, or else notification)
#   --prefix P              only of keys that begin with this, repeatable
#   --prefixes-from-shares  only of keys that its file shares show; run it again when a share or a region is added
#   --all-keys              of all keys: takes the prefixes of an earlier run away
#   --no-initial-refresh    no refresh of all, minutes later, for what changes before S3 sends events
#   --region R              the stack's region (default: AWS_REGION, AWS_DEFAULT_REGION, or the profile's)
#   --name-prefix P         the one that create-stack.sh was given
#   --dry-run               says what would be created or changed, and changes nothing
#   --help                  prints this
#
# scripts/detach-bucket.sh undoes it.

# shellcheck source=scripts/buckets.sh
. "$(dirname "$0")/buckets.sh"

main() {
  read_flags "$@"
  check_tools
  check_account
  check_stack
  check_buckets
  check_prefixes
  find_attached
  echo "Account $account, region $region"
  local bucket
  for bucket in $buckets; do attach "$bucket"; done
  say_what_was_done
}

read_flags() {
  while [[ $# -gt 0 ]]; do
    case $1 in
    --help) usage && exit ;;
    --dry-run) dry_run=true && shift && continue ;;
    esac
    if read_bucket_flag "$@"; then
      shift "$shifts"
      continue
    fi
    case $1 in --*) value "$@" ;; esac
    case $1 in
    --region) region=$2 ;;
    --name-prefix) set_prefix "$2" ;;
    *) fail "Unknown argument: $1. See --help." ;;
    esac
    shift 2
  done
  [[ -n $buckets ]] || fail "Which bucket? Give --bucket NAME. See --help."
}

check_stack() {
  if ! call lambda get-function-configuration --function-name "$aggregator" ||
    ! call lambda get-function-configuration --function-name "$refresh" ||
    ! mv "$tmp/answer" "$tmp/$refresh" ||
    ! call sqs get-queue-url --queue-name "$queue" --query QueueUrl --output text; then
    fail "There is no stack ${prefix:+with the prefix $prefix }in $region, or not all of it." \
      "Make it first: scripts/create-stack.sh --region $region${prefix:+ --name-prefix $prefix} --bucket ${buckets# }"
  fi
  queue_url=$(<"$tmp/answer")
  files settings "$tmp/$refresh" /dev/null "" "GATEWAY_REGIONS= GATEWAY_ROLE_ARNS=" >"$tmp/settings" || exit
  find_gateways
}

say_what_was_done() {
  if $dry_run; then
    printf '\nNothing was changed.\n'
  elif ((written)); then
    printf '\nAttached. Changes in these buckets refresh their file shares:%s\n' "$buckets"
  fi
}

main "$@"
