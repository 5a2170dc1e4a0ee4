#!/usr/bin/env bash
# Usage: scripts/delete-stack.sh [options]
#
# Removes what scripts/create-stack.sh made, and nothing else: its notification on each bucket, the dashboard, the
# alarms, the rules, the functions, their logs and roles, the queues with the requests in them, and the table. The
# buckets, their objects and their other notifications stay as they are. Run it again after it was interrupted: it goes
# on.
#
#   --bucket NAME    one more bucket to remove the notification from, repeatable; those that are
#                    attached are found without it
#   --region R       the region of the stack (default: AWS_REGION, AWS_DEFAULT_REGION, or the profile's)
#   --name-prefix P  the one that create-stack.sh was given
#   --yes            does not ask
#   --help           prints this

# shellcheck source=scripts/buckets.sh
. "$(dirname "$0")/buckets.sh"

sure=false
removed=0

main() {
  read_flags "$@"
  check_tools
  check_account
  find_buckets
  ask
  echo "Account $account, region $region"

  # First the buckets: the function's permissions, which go with it, are where they are known from.
  detach_buckets
  remove "dashboard $dashboard" cloudwatch delete-dashboards --dashboard-names "$dashboard"
  remove_alarms
  remove_rule "$completion_rule"
  remove_rule "$sweep_rule"
  stop_reading_queue
  remove "function $refresh" lambda delete-function --function-name "$refresh"
  remove "function $aggregator" lambda delete-function --function-name "$aggregator"
  remove "log group of $refresh" logs delete-log-group --log-group-name "/aws/lambda/$refresh"
  remove "log group of $aggregator" logs delete-log-group --log-group-name "/aws/lambda/$aggregator"
  remove_role "$refresh_role"
  remove_role "$aggregator_role"
  remove_queue "$queue"
  remove_queue "$dead_letter_queue"
  remove "table $table" dynamodb delete-table --table-name "$table"
  wait_until_gone
  say_what_is_left
}

read_flags() {
  while [[ $# -gt 0 ]]; do
    case $1 in
    --help) usage && exit ;;
    --yes) sure=true && shift && continue ;;
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
}

find_buckets() {
  find_attached
  local bucket
  for bucket in $(attached_and_named); do add_bucket "$bucket"; done
}

ask() {
  if $sure; then return; fi
  [[ -t 0 ]] || fail "This removes the stack without a way back. Nobody is there to be asked: give --yes."
  echo "This removes $aggregator and $refresh with their roles, logs, queues, table, alarms and dashboard"
  echo "from account $account, region $region, and their notification from:${buckets:- no bucket}"
  local answer
  read -r -p "Remove them? Type yes: " answer
  [[ $answer == yes ]] || fail "Nothing was removed."
}

# The steps

remove() { # what, the call
  local what=$1
  shift
  if call "$@"; then
    step delete "$what"
    removed=$((removed + 1))
  fi
}

detach_buckets() {
  local bucket
  for bucket in $buckets; do detach "$bucket"; done
}

remove_alarms() {
  call cloudwatch describe-alarms --alarm-name-prefix "$aggregator"
  local alarms
  alarms=$(files alarm-names "$(names)" "$root/cloudwatch/alarms.json" "$tmp/answer" | xargs)
  # shellcheck disable=SC2086 # a word an alarm
  [[ -z $alarms ]] || remove "alarms of $aggregator" cloudwatch delete-alarms --alarm-names $alarms
}

stop_reading_queue() {
  local uuid
  call lambda list-event-source-mappings --function-name "$refresh" --event-source-arn "$queue_arn" \
    --query "EventSourceMappings[?State!='Deleting'].UUID" --output text || true
  for uuid in $(<"$tmp/answer"); do
    remove "trigger of $refresh: the queue" lambda delete-event-source-mapping --uuid "$uuid"
  done
}

remove_rule() {
  if call events describe-rule --name "$1"; then
    call events remove-targets --rule "$1" --ids action-queue || true
    remove "rule $1" events delete-rule --name "$1"
  fi
}

remove_queue() {
  if call sqs get-queue-url --queue-name "$1" --query QueueUrl --output text; then
    remove "queue $1" sqs delete-queue --queue-url "$(<"$tmp/answer")"
  fi
}

remove_role() {
  detach_2018_policies "$1"
  remove "policy $role_policy of role $1" iam delete-role-policy --role-name "$1" --policy-name "$role_policy"
  if attempt iam delete-role --role-name "$1"; then
    step delete "role $1"
    removed=$((removed + 1))
  elif grep -q "(DeleteConflict)" "$tmp/error"; then
    step keep "role $1: it has other policies, from a stack in another region or from somebody else"
  elif ! grep -Eq "$absent" "$tmp/error"; then
    refused iam delete-role
  fi
}

# AWS deletes these a little later than it says; until then their names would be found again.
wait_until_gone() {
  local try=1
  while call dynamodb describe-table --table-name "$table" ||
    call sqs get-queue-url --queue-name "$queue" ||
    call sqs get-queue-url --queue-name "$dead_letter_queue"; do
    ((try < patience)) || fail "The table or a queue is still there. Run this again in a while."
    try=$((try + 1))
    sleep 2
  done
}

say_what_is_left() {
  if ((removed + written)); then
    printf '\nDeleted. The buckets and their objects are as they were.\n'
    if [[ -n $detached ]]; then
      echo "Policies that the 2018 scripts made are left. If nobody else uses them:"
      xargs -n 1 <<<"$detached" | sort -u | sed 's/^/  aws iam delete-policy --policy-arn /'
    fi
  else
    echo "Nothing to delete: there is no stack ${prefix:+with the prefix $prefix }in this region."
  fi
}

main "$@"
