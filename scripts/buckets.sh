# shellcheck shell=bash
# How buckets are attached to a stack and detached from it, for all scripts that do so. To be sourced.
#
# A bucket attached by its notification is known from the permission that S3 has to invoke the aggregator for it; one
# attached by EventBridge from the pattern of the stack's rule. The prefixes of its keys are in either. So each is
# written before the bucket tells of its changes, and removed after it has stopped to.

# shellcheck source=scripts/stack.sh
. "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

event_source=""       # as given; else each bucket keeps its own, and a new one is attached by its notification
prefixes_from=""      # the flag that says which prefixes; else those in force stay
key_prefixes=()       # of --prefix
gateway_regions=""    # where the refresh function looks for file shares
gateway_roles=""      # by which it looks in other accounts
initial_refresh=true  # of what changes until S3 has applied what was put
asked=""              # the bucket for which it was asked for last
queue_url=""
rule_permission="events-object-changes"

# S3 takes "around five minutes" to apply that a bucket tells EventBridge, and promises no time for a notification.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-event-notifications-eventbridge.html
initial_refresh_seconds=360

# Flags

# Reads one of the flags that name buckets and say how to attach them. $shifts: how many arguments it took. 1: it is
# none of them.
# shellcheck disable=SC2034 # the scripts use it
read_bucket_flag() {
  shifts=2
  case $1 in
  --bucket | --event-source | --prefix) value "$@" ;;
  esac
  case $1 in
  --bucket) add_bucket "$2" ;;
  --event-source) one_of "$1" "$2" "notification eventbridge" && event_source=$2 ;;
  --prefix) take_prefixes_from "$1" && add_prefix "$2" ;;
  --all-keys | --prefixes-from-shares) take_prefixes_from "$1" && shifts=1 ;;
  --no-initial-refresh) initial_refresh=false && shifts=1 ;;
  *) return 1 ;;
  esac
}

take_prefixes_from() { # flag
  [[ $prefixes_from == "$1" || -z $prefixes_from ]] ||
    fail "$prefixes_from and $1 contradict each other. Give one of --prefix, --all-keys, --prefixes-from-shares."
  prefixes_from=$1
}

add_prefix() {
  [[ -n $1 ]] || fail "--prefix is empty. To hear of all keys give --all-keys."
  [[ $1 != /* ]] || fail "--prefix $1: S3 keys begin with no slash. Leave it out, or no event would match."
  key_prefixes+=("$1")
}

# Before anything is made

check_buckets() {
  local bucket where
  for bucket in $buckets; do
    call s3api get-bucket-location --bucket "$bucket" --query LocationConstraint --output text ||
      fail "There is no bucket $bucket. Create it first, or correct --bucket."
    where=$(<"$tmp/answer")
    case $where in None) where=us-east-1 ;; EU) where=eu-west-1 ;; esac
    [[ $where == "$region" ]] || fail "The bucket $bucket is in $where, and this stack would be in $region." \
      "S3 notifies functions in its own region only: give --region $where, and a stack a region."
  done
}

find_gateways() { # by the refresh function's settings, in $tmp/settings
  gateway_regions=$(files value "$tmp/settings" GATEWAY_REGIONS)
  gateway_regions=${gateway_regions:-$region}
  gateway_roles=$(files value "$tmp/settings" GATEWAY_ROLE_ARNS)
}

# What a share shows that is not looked at would send no event, and nobody would know.
check_prefixes() {
  local bucket
  [[ $prefixes_from != --prefixes-from-shares || -z $gateway_roles ]] ||
    fail "--prefixes-from-shares: the file shares behind --gateway-role-arns are not known here." \
      "Give the prefixes of all by --prefix."
  for bucket in $buckets; do given_prefixes "$bucket"; done
}

is_named() { # bucket. Whether the flags are about it: they name it, or name none
  case "$buckets " in " " | *" $1 "*) return 0 ;; *) return 1 ;; esac
}

given_prefixes() { # bucket. Leaves those that the flags say in a file, if they say any
  case $prefixes_from in
  --prefix) files prefixes "${key_prefixes[@]}" >"$tmp/given-$1" ;;
  --all-keys) files prefixes >"$tmp/given-$1" ;;
  --prefixes-from-shares) prefixes_of_shares "$1" ;;
  esac
}

prefixes_of_shares() { # bucket
  if [[ -s $tmp/given-$1 ]]; then return; fi
  [[ -e $tmp/described-0 ]] || describe_shares
  find_access_points "$1"
  files prefixes-of-shares "$gateway_regions" "$tmp/stores" "$tmp"/described-* >"$tmp/given-$1" || exit
}

describe_shares() {
  local region kind describe arns number=0
  for region in ${gateway_regions//,/ }; do
    call storagegateway list-file-shares || refused storagegateway list-file-shares
    mv "$tmp/answer" "$tmp/shares"
    for kind in NFS SMB; do
      describe="describe-$(tr '[:upper:]' '[:lower:]' <<<"$kind")-file-shares"
      files tens "$tmp/shares" "$kind" >"$tmp/arns"
      while read -r arns; do
        [[ -n $arns ]] || continue
        # shellcheck disable=SC2086 # one word each
        call storagegateway "$describe" --file-share-arn-list $arns </dev/null || refused storagegateway "$describe"
        number=$((number + 1))
        mv "$tmp/answer" "$tmp/described-$number"
      done <"$tmp/arns"
    done
  done
  : >"$tmp/described-0"
}

# Leaves the names under which shares may be on the bucket: its own, and the access points among theirs that lead to it.
# An alias is looked for in this account alone, as the refresh function does.
find_access_points() { # bucket
  local store found more
  files access-points "$region" "$tmp"/described-* >"$tmp/access-points"
  echo "$1" >"$tmp/stores"
  while read -r store; do
    [[ -n $store ]] || continue
    more=None
    case $store in
    *-s3alias)
      attempt s3control list-access-points --account-id "$account" --bucket "$1" --output text \
        --query "[NextToken, AccessPointList[?Alias=='$store'].Bucket | [0]]" </dev/null || unknown_bucket "$store"
      read -r more found <"$tmp/answer"
      ;;
    *)
      attempt s3control get-access-point --account-id "$(cut -d : -f 5 <<<"$store")" --name "${store##*/}" \
        --output text --query Bucket </dev/null || unknown_bucket "$store"
      found=$(<"$tmp/answer")
      ;;
    esac
    if [[ $found == "$1" ]]; then
      echo "$store" >>"$tmp/stores"
    elif [[ $more != None ]]; then # a thousand access points, and this alias may be on the next page
      unknown_bucket "$store"
    fi
  done <"$tmp/access-points"
}

unknown_bucket() { # access point
  fail "The bucket behind $1, which a file share is on, cannot be looked up:" "$(awk 'NF' "$tmp/error")" \
    "Give the prefixes by --prefix."
}

# What is attached

find_attached() {
  call lambda get-policy --function-name "$aggregator" --query Policy --output text || true
  mv "$tmp/answer" "$tmp/function-policy"
  files buckets "$tmp/function-policy" >"$tmp/notifying"
  files permissions "$tmp/function-policy" >"$tmp/permissions"
  call events describe-rule --name "$changes_rule" || true
  mv "$tmp/answer" "$tmp/rule"
  files matched "$tmp/rule" >"$tmp/matched"
}

is_notifying() { grep -qxF "$1" "$tmp/notifying"; }
is_matched() { grep -qxF "$1" "$tmp/matched"; }

# Whether the rule was made by template.yaml, whose permission has an id that CloudFormation chose.
is_of_template() {
  grep -qF "\"$changes_rule_arn\"" "$tmp/function-policy" && ! grep -qF "\"$rule_permission\"" "$tmp/function-policy"
}

# Those of earlier runs and those named, each once.
attached_and_named() { xargs -n 1 <<<"$(<"$tmp/notifying") $(<"$tmp/matched") $buckets" | sort -u; }

# Attaching

attach() { # bucket
  local by=""
  if is_named "$1"; then by=$event_source; fi
  if [[ -z $by ]] && ! is_notifying "$1" && ! is_matched "$1"; then by=notification; fi
  if ! call s3api get-bucket-notification-configuration --bucket "$1"; then
    step skip "bucket $1: it is gone"
    return
  fi
  mv "$tmp/answer" "$tmp/before"
  if is_named "$1"; then given_prefixes "$1"; fi
  if [[ -s $tmp/given-$1 ]]; then
    cp "$tmp/given-$1" "$tmp/prefixes"
  else
    files prefixes-in-force "$tmp/before" "$tmp/entry" "$tmp/rule" "$1" >"$tmp/prefixes"
  fi
  if [[ $by == notification ]] || { [[ -z $by ]] && is_notifying "$1"; }; then attach_by_notification "$1"; fi
  if [[ $by == eventbridge ]] || { [[ -z $by ]] && is_matched "$1"; }; then attach_by_eventbridge "$1"; fi
  # The rule and the bucket may have been attached by CloudFormation, which asks for nothing.
  if [[ $by == eventbridge ]] && is_of_template; then ask_for_all "$1"; fi
  # Only now: a change that comes by both is one change.
  if [[ $by == eventbridge ]]; then detach_by_notification "$1"; fi
  if [[ $by == notification ]]; then detach_by_eventbridge "$1"; fi
}

attach_by_notification() { # bucket
  local own="s3-${1//./_}"
  if ! grep -qxF "$1 $own" "$tmp/permissions"; then
    ask_for_all "$1"
    write create "permission for $1 to invoke $aggregator" \
      lambda add-permission --function-name "$aggregator" --action lambda:InvokeFunction --principal s3.amazonaws.com \
      --statement-id "$own" --source-arn "arn:$partition:s3:::$1" --source-account "$account"
  fi
  files attach "$tmp/before" "$tmp/entry" "$tmp/prefixes" >"$tmp/after" || exit
  put_notification "$1" "notification of $1"
  if $dry_run; then say_what_overlaps; fi
  remove_permissions "$1" "$own"
}

# Those of the 2018 scripts and of triggers made in the console have statement ids of their own.
remove_permissions() { # bucket, the id of the statement that stays, if one does
  local id ids
  ids=$(awk -v bucket="$1" '$1 == bucket { print $2 }' "$tmp/permissions")
  for id in $ids; do
    [[ $id == "${2:-}" ]] || write delete "permission for $1 to invoke $aggregator ($id)" \
      lambda remove-permission --function-name "$aggregator" --statement-id "$id"
  done
}

attach_by_eventbridge() { # bucket
  files match "$tmp/rule" "$1" "$tmp/prefixes" >"$tmp/desired"
  ensure_changes_rule "$1"
  files eventbridge "$tmp/before" >"$tmp/after"
  put_notification "$1" "events of $1 to EventBridge"
}

# The rule as in $tmp/desired. EventBridge gives Lambda no account to compare: that is in the rule's ARN.
ensure_changes_rule() { # bucket
  if ! grep -qF "\"$changes_rule_arn\"" "$tmp/function-policy"; then
    ask_for_all "$1"
    write create "permission for the rule $changes_rule to invoke $aggregator" \
      lambda add-permission --function-name "$aggregator" --action lambda:InvokeFunction \
      --principal events.amazonaws.com --statement-id "$rule_permission" --source-arn "$changes_rule_arn"
    echo "\"$rule_permission\" \"$changes_rule_arn\"" >>"$tmp/function-policy"
  fi
  if differs "$tmp/rule" "$tmp/desired"; then
    ! is_of_template || fail "The rule $changes_rule is CloudFormation's, which would put it back." \
      "Name $1 in the parameter EventBridgeBuckets of the stack, and run this again without prefixes." \
      "For prefixes, take all buckets out of that parameter, and run this again: it makes a rule of its own."
    ask_for_all "$1"
    write set "rule $changes_rule: tells of changes in $1" \
      events put-rule --name "$changes_rule" --cli-input-json "file://$tmp/desired" \
      ${tagged:+--tags "file://$tmp/tags-list"}
    cp "$tmp/desired" "$tmp/rule"
  else
    step keep "rule $changes_rule: tells of changes in $1"
  fi
  printf '%s\n' "{\"Id\": \"aggregator\", \"Arn\": \"$function_arn:$aggregator\"}" >"$tmp/target"
  call events list-targets-by-rule --rule "$changes_rule" --query "Targets[?Id=='aggregator'] | [0]" || true
  if differs "$tmp/answer" "$tmp/target"; then
    ask_for_all "$1"
    printf '%s\n' "[$(<"$tmp/target")]" >"$tmp/targets"
    write set "its target: $aggregator" events put-targets --rule "$changes_rule" --targets "file://$tmp/targets" \
      --query FailedEntries
    ! grep -q ErrorMessage "$tmp/answer" || fail "EventBridge refused the function as target:" "$(<"$tmp/answer")"
  fi
}

# What changes until S3 has applied a notification sends no event. Before anything is written, so that it has been asked
# for whenever this is killed; and again by each run that finds something to write, and after a put that took long.
ask_for_all() { # bucket
  if ! $initial_refresh || [[ $asked == "$1" ]]; then return; fi
  asked=$1
  write ask "for a refresh of all of $1 in $((initial_refresh_seconds / 60)) minutes, when S3 sends its events" \
    sqs send-message --queue-url "$queue_url" --message-body '{}' --delay-seconds "$initial_refresh_seconds" \
    --message-attributes "bucket-name={DataType=String,StringValue=$1}"
}

put_notification() { # bucket, what it is called. From $tmp/before to $tmp/after; nothing in that: it is so already
  if [[ ! -s $tmp/after ]]; then
    step keep "$2"
    return
  fi
  ask_for_all "$1"
  step set "$2"
  if $dry_run; then return; fi
  attempt s3api put-bucket-notification-configuration --bucket "$1" \
    --notification-configuration "file://$tmp/after" || explain_refused_notification "$1"
  ((tries < 10)) || asked=""
  ask_for_all "$1"
  check_notification "$1"
  mv "$tmp/after" "$tmp/before"
}

say_what_overlaps() {
  local taken
  taken=$(files overlaps "$tmp/before" "$tmp/entry" "$tmp/prefixes")
  [[ -z $taken ]] || printf '%s\n' "  which S3 would refuse, because the bucket has this already:" "  $taken"
}

explain_refused_notification() {
  if grep -Eq "Configurations overlap|ambiguously defined" "$tmp/error"; then
    fail "S3 notifies one target only of a change, and the bucket $1 has this already:" \
      "$(files overlaps "$tmp/before" "$tmp/entry" "$tmp/prefixes" | sed 's/^/  /')" \
      "Remove it, or limit it to other event types or keys, or give --event-source eventbridge, which goes with it." \
      "Then run this again. Everything else is in place."
  elif grep -q "Unable to validate" "$tmp/error"; then
    fail "S3 could not validate a target of the notifications of $1. It asks all of them, not only ours:" \
      "$(grep -Eo '"arn:[^"]*"' "$tmp/after" | sed 's/^/  /')" \
      "Remove the notifications whose target does not exist any more or does not let S3 in, and run this again." \
      "$(awk 'NF' "$tmp/error")"
  fi
  refused s3api put-bucket-notification-configuration
}

# S3 takes no condition with a put: what somebody else put at the same time is gone, or ours is. It may also answer as
# before for a moment.
check_notification() { # bucket
  local try
  for ((try = 1; try <= 10; try++)); do
    call s3api get-bucket-notification-configuration --bucket "$1" || fail "The bucket $1 is gone."
    files differences "$tmp/after" "$tmp/answer" >"$tmp/different" || exit
    grep -q . "$tmp/different" || return 0
    sleep 2
  done
  fail "The notifications of $1 are not what was put. Perhaps somebody else changed them at the same time:" \
    "$(sed 's/^/  /' "$tmp/different")" \
    "Look at them: aws s3api get-bucket-notification-configuration --bucket $1 --region $region" \
    "Then run this again."
}

# Detaching: the mirror

detach() { # bucket
  local before=$written
  detach_by_notification "$1"
  detach_by_eventbridge "$1"
  ((written > before)) || is_matched "$1" || step skip "bucket $1: nothing of this stack is attached to it"
}

detach_by_notification() { # bucket
  if call s3api get-bucket-notification-configuration --bucket "$1"; then
    mv "$tmp/answer" "$tmp/before"
    files detach "$tmp/before" "$tmp/entry" >"$tmp/after"
    if [[ -s $tmp/after ]]; then
      # What is left was accepted before: it does not matter now whether its targets still exist.
      write delete "notification of $1" s3api put-bucket-notification-configuration --bucket "$1" \
        --notification-configuration "file://$tmp/after" --skip-destination-validation
      $dry_run || check_notification "$1"
    fi
  fi
  remove_permissions "$1"
}

detach_by_eventbridge() { # bucket
  if ! is_matched "$1"; then return; fi
  if is_of_template; then
    step keep "rule $changes_rule, which is CloudFormation's: take $1 out of the parameter EventBridgeBuckets"
    return
  fi
  files unmatch "$tmp/rule" "$1" >"$tmp/desired"
  if [[ -s $tmp/desired ]]; then
    write set "rule $changes_rule: without $1" \
      events put-rule --name "$changes_rule" --cli-input-json "file://$tmp/desired"
  else
    remove_changes_rule
  fi
  cp "$tmp/desired" "$tmp/rule"
  echo "        $1 goes on telling EventBridge of its changes, in case others have rules for them. If nobody has," \
    "turn that off in the bucket's properties."
}

# The rule last: it is where its buckets are known from.
remove_changes_rule() {
  if grep -qF "\"$changes_rule_arn\"" "$tmp/function-policy"; then
    write delete "permission for the rule $changes_rule to invoke $aggregator" \
      lambda remove-permission --function-name "$aggregator" --statement-id "$rule_permission"
  fi
  $dry_run || call events remove-targets --rule "$changes_rule" --ids aggregator || true
  write delete "rule $changes_rule" events delete-rule --name "$changes_rule"
}
