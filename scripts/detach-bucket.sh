#!/usr/bin/env bash
# Usage: scripts/detach-bucket.sh --bucket NAME [--bucket NAME ...] [options]
#
# Detaches buckets from a stack: changes in them refresh nothing any more. It removes the stack's notification on the
# bucket, the bucket's permission to invoke the function, and the bucket from the rule on EventBridge, with the last
# bucket the rule. The bucket, its other notifications and the rest of the stack stay as they are. What changed before is
# still refreshed. Run it again after it was interrupted: it goes on.
#
#   --bucket NAME    a bucket to detach, repeatable
#   --region R       the stack's region (default: AWS_REGION, AWS_DEFAULT_REGION, or the profile's)
#   --name-prefix P  the one that create-stack.sh was given
#   --dry-run        says what would be deleted or changed, and changes nothing
#   --help           prints this
#
# scripts/attach-bucket.sh attaches them again.

# shellcheck source=scripts/buckets.sh
. "$(dirname "$0")/buckets.sh"

main() {
  read_flags "$@"
  check_tools
  check_account
  find_attached
  echo "Account $account, region $region"
  local bucket
  for bucket in $buckets; do detach "$bucket"; done
  say_what_was_done
}

read_flags() {
  while [[ $# -gt 0 ]]; do
    case $1 in
    --help) usage && exit ;;
    --dry-run) dry_run=true && shift && continue ;;
    --*) value "$@" ;;
    esac
    case $1 in
    --bucket) add_bucket "$2" ;;
    --region) region=$2 ;;
    --name-prefix) set_prefix "$2" ;;
    *) fail "Unknown argument: $1. See --help." ;;
    esac
    shift 2
  done
  [[ -n $buckets ]] || fail "Which bucket? Give --bucket NAME. See --help."
}

say_what_was_done() {
  if $dry_run; then
    printf '\nNothing was changed.\n'
  elif ((written)); then
    printf '\nDetached:%s. Everything else is as it was.\n' "$buckets"
  fi
}

main "$@"
