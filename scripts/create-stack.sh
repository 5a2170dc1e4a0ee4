#!/usr/bin/env bash
# Usage: scripts/create-stack.sh --bucket NAME [--bucket NAME ...] [options]
#
# Makes what refreshes the file shares of a bucket when objects in it change: a table, a queue with its dead-letter
# queue, two functions with their roles and log groups, two rules that tell the queue of completed refreshes and of the
# time to look for lost requests, a dashboard and alarms in CloudWatch, and a notification on each bucket, beside those
# that it has.
# Run it again to add a bucket, to change a setting, to deploy newer code, or after it was interrupted: it changes what
# differs and nothing else. A setting that is not given keeps its value. scripts/delete-stack.sh removes everything,
# scripts/attach-bucket.sh and scripts/detach-bucket.sh do for one bucket what concerns it alone.
#
#   --bucket NAME                     a bucket to watch, repeatable; needed the first time (or: BUCKET=NAME)
#   --event-source S                  how the bucket tells of its changes: notification, its own; eventbridge, a rule's
#                                     there, if other notifications leave no room (default: notification)
#   --prefix P                        only of keys that begin with this, repeatable
#   --prefixes-from-shares            only of keys that its file shares show; run it again when a share or a region is
#                                     added
#   --all-keys                        of all keys: takes the prefixes of an earlier run away
#   --no-initial-refresh              no refresh of all, minutes later, for what changes before S3 sends events
#   --region R                        the buckets' region (default: AWS_REGION, AWS_DEFAULT_REGION, the profile's)
#   --refresh-delay-seconds N         from a window's first change to its refresh, 0 to 43200 (default: 30)
#   --refresh-quiet-seconds N         instead: from a window's last change to its refresh (default: 0, off)
#   --refresh-max-delay-seconds N     then at most this from its first change, 1 to 43200 (default: 900)
#   --min-refresh-interval-seconds N  between two refreshes of a file share, 1 to 3600 (default: 60, as AWS asks for)
#   --refreshes-per-gateway N         started at one gateway at a time, 1 to 50 (default: 2)
#   --in-progress-timeout-seconds N   how long a share's refresh is waited for, 0 to 86400 (default: 3600)
#   --refresh-scope S                 folders: those that changed; share: all of the share (default: folders)
#   --ignore-keys P1,P2               changes of keys like these refresh nothing: *.tmp,.DS_Store,*/_temporary/*
#                                     (default: none, "" for that again)
#   --refresh-other-gateways M        what a gateway writes refreshes, off: no share; auto: every share that shows it but
#                                     the writer's own; on: also a bucket's only share, if it is not known to be
#                                     the writer's (default: auto)
#   --gateway-regions R1,R2           where the gateways are; all of their regions (default: --region, "" for that again)
#   --gateway-role-arns A1,A2         roles that let this see to the gateways of other accounts (docs/other-accounts.md)
#   --gateway-external-ids N=I,M=J    the external ids that the roles of these accounts ask for (default: none)
#   --log-level L                     DEBUG, INFO, WARNING or ERROR (default: INFO)
#   --log-retention-days N            how long the functions' logs are kept, as CloudWatch allows (default: 30)
#   --alarm-topic-arn ARN             an SNS topic that is told of alarms and of their end, or none (default: none)
#   --permissions-boundary ARN        a policy that bounds what both roles may do, or none (default: none)
#   --tag K=V                         on everything that takes tags, repeatable; other tags stay
#   --kms-key ARN                     the key for the table, the queues, the logs and the functions' settings, which must
#                                     allow that: docs/house-rules.md; none: AWS's own (default: none)
#   --subnet-ids A,B                  where the refresh function runs, if it must reach Storage Gateway in a VPC; with
#   --security-group-ids C,D          these. DynamoDB and SQS must be reachable from there too. --subnet-ids none, alone:
#                                     in no VPC (default: none)
#   --name-prefix P                   goes before every name, so that an account can hold several stacks
#   --dry-run                         says what would be created or changed, and changes nothing
#   --help                            prints this
#
# The delay, the quiet time, its maximum and the scope may differ by bucket (--refresh-delay-seconds 30,renders=600), the
# interval by file share (--min-refresh-interval-seconds 60,share-1234ABCD=3600): one value for all, then the exceptions.
# The flags about a bucket's events are for the buckets named, or for all of the stack if none is.
# If AWS_ENDPOINT_URL_STORAGE_GATEWAY is set (a VPC endpoint), the refresh function calls Storage Gateway there, now and
# later; if it is set to nothing, no more.
# Needs: the AWS CLI (1.34.1, 2.18.0, or later) with credentials, python3 (3.11 or later) with pip.

# shellcheck source=scripts/buckets.sh
. "$(dirname "$0")/buckets.sh"

settings="" # those given now
of_refresh="" # the same of the refresh function, which has one more
defaults="REFRESH_DELAY_SECONDS=30 REFRESH_QUIET_SECONDS=0 REFRESH_MAX_DELAY_SECONDS=900
  IN_PROGRESS_TIMEOUT_SECONDS=3600 MIN_REFRESH_INTERVAL_SECONDS=60 REFRESHES_PER_GATEWAY=2
  REFRESH_SCOPE=folders IGNORE_KEYS= REFRESH_OTHER_GATEWAYS=auto GATEWAY_REGIONS= GATEWAY_ROLE_ARNS=
  GATEWAY_EXTERNAL_IDS= LOG_LEVEL=INFO"
an_external_id='[0-9]{12}=[A-Za-z0-9_+=.@:/-]{2,}'
a_pattern='[^,[:space:]]*[^*/,[:space:]][^,[:space:]]*' # not of all keys, as * is
a_role='arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=.@_/-]+'
interval="" # the least between two refreshes of a share, of those given now or in force
retention=""
topic="" # the one given now, or none
boundary="" # the one given now, or none, or else the one in force on a role
kms_key=""  # the one given now, or else the one in force on a function
no_key=""   # whether none was given now
keys=""     # those that the roles may use: this one, and earlier ones while something may need them
tags=()     # those given now
subnets=""  # those given now, or none
security_groups=""
slow=400   # tries, a second and a call apart: a table that becomes on demand takes several minutes
network="" # whether the refresh function has network interfaces, or has left some behind
installed=false # a function at least

main() {
  read_flags "$@"
  check_tools
  check_account
  check_topic
  check_key
  check_buckets
  look_at_functions
  check_settings
  check_prefixes
  echo "Account $account, region $region"

  if ! $dry_run || $installed; then make_zip; fi # without functions there is nothing to compare with
  look_at_what_is_left_behind
  ensure_role "$aggregator_role" "$aggregator" dynamo-writer sqs-writer log-writer ${keys:+kms}
  ensure_role "$refresh_role" "$refresh" \
    dynamo-writer dynamo-read-delete sqs-writer sqs-reader sgw-refresh access-points share-roles log-writer \
    ${gateway_roles:+assume-gateway-roles} ${keys:+kms} ${network:+vpc}
  ensure_table # these have a key only after the roles may use it
  ensure_queues
  ensure_log_group "$aggregator"
  ensure_log_group "$refresh"
  ensure_refresh_function # who reads requests before who writes them
  ensure_function "$aggregator" "$aggregator_role" s3_aggregator 30 "$refresh"
  remove_what_is_of_2018 "$refresh" "$refresh_role"
  remove_what_is_of_2018 "$aggregator" "$aggregator_role"
  ensure_failed_events_are_kept
  ensure_rules
  ensure_deferring_is_allowed
  ensure_alarms
  ensure_dashboard
  attach_buckets
  ensure_tags
  say_what_is_there
}

# Before anything is made

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
    --refresh-delay-seconds) no_space "$1" "$2" && set_to REFRESH_DELAY_SECONDS "$2" ;;
    --refresh-quiet-seconds) no_space "$1" "$2" && set_to REFRESH_QUIET_SECONDS "$2" ;;
    --refresh-max-delay-seconds) no_space "$1" "$2" && set_to REFRESH_MAX_DELAY_SECONDS "$2" ;;
    --in-progress-timeout-seconds) in_range "$1" "$2" 0 86400 && set_to IN_PROGRESS_TIMEOUT_SECONDS "$2" ;;
    --min-refresh-interval-seconds) no_space "$1" "$2" && set_to MIN_REFRESH_INTERVAL_SECONDS "$2" ;;
    --refreshes-per-gateway) in_range "$1" "$2" 1 50 && set_to REFRESHES_PER_GATEWAY "$2" ;;
    --refresh-scope) no_space "$1" "$2" && set_to REFRESH_SCOPE "$2" ;;
    --ignore-keys) list_of "$1" "$2" "$a_pattern" "patterns of some keys" && set_to IGNORE_KEYS "$2" ;;
    --refresh-other-gateways) one_of "$1" "$2" "auto on off" && set_to REFRESH_OTHER_GATEWAYS "$2" ;;
    --gateway-regions) list_of "$1" "$2" '[a-z]+(-[a-z0-9]+)+' regions && set_to GATEWAY_REGIONS "$2" ;;
    --gateway-role-arns) list_of "$1" "$2" "$a_role" "ARNs of roles" && set_to GATEWAY_ROLE_ARNS "$2" ;;
    --gateway-external-ids)
      list_of "$1" "$2" "$an_external_id" "ACCOUNT=ID" && set_to GATEWAY_EXTERNAL_IDS "$2"
      ;;
    --log-level) one_of "$1" "$2" "DEBUG INFO WARNING ERROR" && set_to LOG_LEVEL "$2" ;;
    --log-retention-days)
      one_of "$1" "$2" "1 3 5 7 14 30 60 90 120 150 180 365 400 545 731 1096 1827 2192 2557 2922 3288 3653"
      retention=$2
      ;;
    --alarm-topic-arn)
      [[ $2 =~ ^(none|arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256})$ ]] ||
        fail "$1 $2: it must be none, or like arn:aws:sns:REGION:ACCOUNT:NAME (CloudWatch tells no FIFO topics)."
      topic=$2
      ;;
    --permissions-boundary)
      [[ $2 =~ ^(none|arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[A-Za-z0-9/+=,.@_-]+)$ ]] ||
        fail "$1 $2: it must be none, or like arn:aws:iam::ACCOUNT:policy/NAME."
      boundary=$2
      ;;
    --tag)
      [[ $2 =~ ^[^=[:space:]][^=]*= ]] || fail "$1 $2: it must be like KEY=VALUE."
      tags+=("$2")
      ;;
    --kms-key)
      [[ $2 =~ ^(none|arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+)$ ]] ||
        fail "$1 $2: it must be none, or like arn:aws:kms:REGION:ACCOUNT:key/ID (no alias)."
      kms_key=$2
      ;;
    --subnet-ids)
      [[ $2 =~ ^(none|subnet-[0-9a-f]+(,subnet-[0-9a-f]+)*)$ ]] ||
        fail "$1 $2: it must be none, or like subnet-1a2b,subnet-3c4d."
      subnets=$2
      ;;
    --security-group-ids)
      [[ $2 =~ ^sg-[0-9a-f]+(,sg-[0-9a-f]+)*$ ]] || fail "$1 $2: it must be like sg-1a2b,sg-3c4d."
      security_groups=$2
      ;;
    --name-prefix) set_prefix "$2" ;;
    *) fail "Unknown argument: $1. See --help." ;;
    esac
    shift 2
  done
  if [[ $subnets == none ]]; then
    [[ -z $security_groups ]] || fail "Give --security-group-ids with subnets: --subnet-ids none is alone."
  else
    [[ ${subnets:+x} == "${security_groups:+x}" ]] || fail "Give --subnet-ids and --security-group-ids together."
  fi
  if ((${#tags[@]})); then
    tagged=true
    files tags-map "${tags[@]}" >"$tmp/tags-map"
    files tags-list "${tags[@]}" >"$tmp/tags-list"
  fi
  if [[ -z $buckets && -n ${BUCKET:-} ]]; then add_bucket "$BUCKET"; fi
  [[ ${AWS_ENDPOINT_URL_STORAGE_GATEWAY:-} =~ ^[^[:space:]]*$ ]] ||
    fail "AWS_ENDPOINT_URL_STORAGE_GATEWAY holds a space; it must be a URL."
}

in_range() { # flag, value, minimum, maximum
  if ! [[ $2 =~ ^(0|[1-9][0-9]{0,5})$ ]] || (($2 < $3 || $2 > $4)); then
    fail "$1 $2: it must be a number from $3 to $4."
  fi
}

# Settings with exceptions by bucket or file share are checked all together, by what the functions read them with.
no_space() { # flag, value
  [[ $2 != *[[:space:]]* ]] || fail "$1 $2: it must be without spaces, like 30,my-bucket=600."
}

list_of() { # flag, value, what each must match, what they are
  [[ -z $2 || $2 =~ ^$3(,$3)*$ ]] || fail "$1 $2: it must be $4, with commas between them and no spaces."
}

set_to() { settings="$settings $1=$2"; }

check_topic() {
  case ${topic:-none} in
  none | arn:*:sns:"$region":*) ;;
  *) fail "--alarm-topic-arn $topic: alarms in $region can tell topics in $region only." ;;
  esac
}

check_key() {
  case ${kms_key:-none} in
  none | arn:*:kms:"$region":*) ;;
  *) fail "--kms-key $kms_key: a stack in $region needs a key in $region." ;;
  esac
}

look_at_functions() { # into files of their names
  local function
  for function in "$aggregator" "$refresh"; do
    if call lambda get-function-configuration --function-name "$function"; then installed=true; fi
    mv "$tmp/answer" "$tmp/$function"
  done
  kms_key=${kms_key:-$(files kms-key "$tmp/$aggregator" "$tmp/$refresh")}
  if [[ $kms_key == none ]]; then no_key=true kms_key=""; fi
  $installed || [[ -n $buckets ]] || fail "Which bucket? Give --bucket NAME. See --help."
}

check_settings() {
  local endpoint=AWS_ENDPOINT_URL_STORAGE_GATEWAY
  files settings "$tmp/$aggregator" "$tmp/$refresh" "$settings" "$defaults" >"$tmp/settings" || exit
  of_refresh="$settings ${AWS_ENDPOINT_URL_STORAGE_GATEWAY+$endpoint=$AWS_ENDPOINT_URL_STORAGE_GATEWAY}"
  files settings "$tmp/$refresh" "$tmp/$aggregator" "$of_refresh" "$defaults $endpoint=" >"$tmp/settings" || exit
  interval=$(files least-interval "$tmp/settings")
  find_gateways
  endpoint=$(files value "$tmp/settings" "$endpoint")
  [[ -z $endpoint || $gateway_regions != *,* ]] ||
    fail "$endpoint serves one region, and --gateway-regions holds $gateway_regions." \
      "Give one region, or set AWS_ENDPOINT_URL_STORAGE_GATEWAY to nothing and have each region's own name lead there."
  [[ $gateway_roles != *":iam::$account:"* ]] ||
    fail "--gateway-role-arns holds a role of this account, $account, whose file shares are found without one."
}

# The steps. Each looks, and writes only what differs.

# Reads something of a function; nothing is there if the function itself was not, when this began.
call_about() { # function, the call
  local function=$1
  shift
  : >"$tmp/answer"
  [[ ! -s $tmp/$function ]] || call lambda "$@" --function-name "$function" || true
}

# A role may use an earlier key, and Lambda deletes network interfaces with it, for a while after they were taken away.
# That they were there is told by its policy in force.
look_at_what_is_left_behind() {
  : >"$tmp/answer"
  if $installed; then call iam get-role-policy --role-name "$refresh_role" --policy-name "$role_policy" || true; fi
  mv "$tmp/answer" "$tmp/in-force"
  : >"$tmp/answer"
  if grep -q kms:Decrypt "$tmp/in-force" && call sqs get-queue-url --queue-name "$queue" --query QueueUrl --output text; then
    call sqs get-queue-attributes --queue-url "$(<"$tmp/answer")" --attribute-names All --query Attributes || true
  fi
  keys=$(files keys "$kms_key" "$tmp/$aggregator" "$tmp/$refresh" "$tmp/in-force" "$tmp/answer")
  network=$(files network "$subnets" "$tmp/$refresh" "$tmp/in-force")
  local earlier=${keys#"$kms_key"}
  [[ -z $earlier ]] ||
    step keep "permission to use ${earlier#,}, for messages sent with it. Run this again when the queue is empty"
  [[ $network != left ]] || step keep "permission to give network interfaces back. Run this again in two hours"
}

# Waits while the answer says that the thing is still in the making.
settle() { # the call that asks again
  if $dry_run; then return; fi
  local try
  for ((try = 1; try <= slow; try++)); do
    grep -Eq '"(TableStatus|State|LastUpdateStatus)": "(CREATING|UPDATING|Pending|InProgress)"' "$tmp/answer" || break
    ((try != 10)) || step wait "until AWS is ready, which may take minutes: aws $*"
    ((try < slow)) || fail "It takes long to be ready. Look at it (aws $*), and run this again."
    sleep 1
    call "$@" || refused "$@"
  done
  if grep -Eq '"(State|LastUpdateStatus)": "Failed"' "$tmp/answer"; then
    fail "AWS could not make it ready:" "$(grep -E '"(State|LastUpdateStatus)Reason"' "$tmp/answer")"
  fi
}

ensure_table() {
  local look=(dynamodb describe-table --query Table --table-name "$table") kept=true
  local encryption="Enabled=true,SSEType=KMS,KMSMasterKeyId=$kms_key"
  printf '%s\n' '{"KeySchema": [{"AttributeName": "BucketName", "KeyType": "HASH"}]}' >"$tmp/key"
  printf '%s\n' "{\"SSEDescription\": {\"KMSMasterKeyArn\": \"$kms_key\"}}" >"$tmp/encrypted"
  printf '%s\n' '{"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}' >"$tmp/desired"
  if ! call "${look[@]}" || grep -q '"DELETING"' "$tmp/answer"; then
    local whose=${kms_key:-a key that AWS owns}
    write create "table $table (on demand, encrypted with $whose, no point-in-time recovery)" \
      dynamodb create-table --table-name "$table" --billing-mode PAY_PER_REQUEST \
      --attribute-definitions AttributeName=BucketName,AttributeType=S \
      --key-schema AttributeName=BucketName,KeyType=HASH \
      ${kms_key:+--sse-specification "$encryption"} ${tagged:+--tags "file://$tmp/tags-list"}
    settle "${look[@]}"
    return
  fi
  ! differs "$tmp/answer" "$tmp/key" ||
    fail "There is a table $table with another key. Give --name-prefix, so that this stack has a table of its own."
  settle "${look[@]}" # DynamoDB takes one change at a time
  mv "$tmp/answer" "$tmp/found"
  if differs "$tmp/found" "$tmp/desired"; then
    kept=false
    write change "table $table: on demand" \
      dynamodb update-table --table-name "$table" --billing-mode PAY_PER_REQUEST
    settle "${look[@]}"
  fi
  if [[ -n $kms_key ]] && differs "$tmp/found" "$tmp/encrypted"; then
    kept=false
    write change "table $table: encrypted with $kms_key" \
      dynamodb update-table --table-name "$table" --sse-specification "$encryption"
    settle "${look[@]}"
  elif [[ -n $no_key ]] && grep -q '"Status": "ENABLED"' "$tmp/found"; then # of SSEDescription, which alone has one
    kept=false
    write change "table $table: encrypted with a key that AWS owns" \
      dynamodb update-table --table-name "$table" --sse-specification Enabled=false
    settle "${look[@]}"
  fi
  ! $kept || step keep "table $table"
}

# A message may be received 100 times. The refresh function has one that failed come again after 5 s at first and after 6
# minutes in the end, which is also the visibility timeout (6 times what the function may take, as AWS asks for): an
# outage of nine hours loses nothing and needs nobody.
ensure_queues() {
  local encryption='"SqsManagedSseEnabled": "true"'
  if [[ -n $kms_key ]]; then encryption="\"SqsManagedSseEnabled\": \"false\", \"KmsMasterKeyId\": \"$kms_key\""; fi
  if [[ -n $no_key ]]; then encryption="$encryption, \"KmsMasterKeyId\": \"\""; fi
  ensure_queue "$dead_letter_queue" <<<"{\"MessageRetentionPeriod\": \"1209600\", $encryption}"
  ensure_queue "$queue" <<JSON
{
  "VisibilityTimeout": "360",
  "MessageRetentionPeriod": "1209600",
  $encryption,
  "RedrivePolicy": "{\"deadLetterTargetArn\": \"$dead_letter_arn\", \"maxReceiveCount\": 100}",
  "Policy": $(files quoted "$(policy_values) CompletionRule=$completion_rule SweepRule=$sweep_rule" \
    "$root/iam/queue-senders.json")
}
JSON
}

policy_values() {
  echo "Partition=$partition Region=$region Account=$account Table=$table Queue=$queue" \
    "GatewayRegions=$gateway_regions GatewayRoles=$gateway_roles"
}

ensure_queue() { # name; its attributes on standard input. Leaves $queue_url.
  cat >"$tmp/desired"
  if call sqs get-queue-url --queue-name "$1" --query QueueUrl --output text &&
    queue_url=$(<"$tmp/answer") &&
    call sqs get-queue-attributes --queue-url "$queue_url" --attribute-names All --query Attributes; then
    if differs "$tmp/answer" "$tmp/desired"; then
      write change "queue $1: $difference" \
        sqs set-queue-attributes --queue-url "$queue_url" --attributes "file://$tmp/desired"
    else
      step keep "queue $1"
    fi
  else
    files filled "$tmp/desired" >"$tmp/attributes"
    write create "queue $1 (messages are kept for 14 days, encrypted ${kms_key:+with }${kms_key:-by SQS})" \
      sqs create-queue --queue-name "$1" --attributes "file://$tmp/attributes" --query QueueUrl --output text \
      ${tagged:+--tags "file://$tmp/tags-map"}
    queue_url=$(<"$tmp/answer")
  fi
}

ensure_role() { # role, its function, the policies of iam/ that are its own, without .json
  local role=$1 values file paths=() bound=${boundary#none}
  values="$(policy_values) Function=$2 KmsKey=$keys"
  shift 2
  printf '%s\n' "{\"AssumeRolePolicyDocument\": $(<"$root/iam/lambda-trust.json")}" >"$tmp/trust"
  for file in "$@"; do paths+=("$root/iam/$file.json"); done
  files policy "$values" "${paths[@]}" >"$tmp/policy"
  printf '%s\n' "{\"PolicyDocument\": $(<"$tmp/policy")}" >"$tmp/desired"
  if ! call iam get-role --role-name "$role" --query Role; then
    write create "role $role" \
      iam create-role --role-name "$role" --assume-role-policy-document "file://$root/iam/lambda-trust.json" \
      ${bound:+--permissions-boundary "$bound"} ${tagged:+--tags "file://$tmp/tags-list"}
    : >"$tmp/answer" # it has no policy yet
  else
    cp "$tmp/answer" "$tmp/role"
    if differs "$tmp/answer" "$tmp/trust"; then
      write change "role $role: Lambda may assume it" \
        iam update-assume-role-policy --role-name "$role" --policy-document "file://$root/iam/lambda-trust.json"
    else
      step keep "role $role"
    fi
    ensure_boundary "$role"
    call iam get-role-policy --role-name "$role" --policy-name "$role_policy" || true
  fi
  if differs "$tmp/answer" "$tmp/desired"; then
    write set "its policy $role_policy, of iam/: $*" \
      iam put-role-policy --role-name "$role" --policy-name "$role_policy" --policy-document "file://$tmp/policy"
  fi
}

# The one in force on the first role is also for the second, if that was not yet made.
ensure_boundary() { # role
  local in_force
  in_force=$(files boundary "$tmp/role")
  boundary=${boundary:-$in_force}
  if [[ ${boundary#none} == "$in_force" ]]; then return; fi
  if [[ $boundary == none ]]; then
    write delete "its permissions boundary $in_force" iam delete-role-permissions-boundary --role-name "$1"
  else
    write set "its permissions boundary $boundary" \
      iam put-role-permissions-boundary --role-name "$1" --permissions-boundary "$boundary"
  fi
}

ensure_log_group() { # function
  local group="/aws/lambda/$1"
  call logs describe-log-groups --log-group-name-prefix "$group" --query "logGroups[?logGroupName=='$group'] | [0]"
  mv "$tmp/answer" "$tmp/group"
  if ! grep -q logGroupName "$tmp/group"; then
    write create "log group $group" logs create-log-group --log-group-name "$group" \
      ${kms_key:+--kms-key-id "$kms_key"} ${tagged:+--tags "file://$tmp/tags-map"}
  elif [[ -n $kms_key ]] && differs "$tmp/group" /dev/stdin <<<"{\"kmsKeyId\": \"$kms_key\"}"; then
    write set "log group $group: encrypted with $kms_key" \
      logs associate-kms-key --log-group-name "$group" --kms-key-id "$kms_key"
  elif [[ -n $no_key ]] && grep -q kmsKeyId "$tmp/group"; then
    write set "log group $group: encrypted by CloudWatch Logs" \
      logs disassociate-kms-key --log-group-name "$group"
  fi
  local days=$retention
  grep -q retentionInDays "$tmp/group" || days=${retention:-30}
  if [[ -n $days ]] && differs "$tmp/group" /dev/stdin <<<"{\"retentionInDays\": $days}"; then
    write set "log group $group: kept for $days days" \
      logs put-retention-policy --log-group-name "$group" --retention-in-days "$days"
  else
    step keep "log group $group"
  fi
}

# A trigger that is there already must know that the function names the messages that failed, or it would take all for
# done; code of 2018 names none.
ensure_refresh_function() {
  if [[ -s $tmp/$refresh ]]; then ensure_queue_is_read; fi
  ensure_function "$refresh" "$refresh_role" s3_sgw_refresh 60 "$aggregator"
  if [[ ! -s $tmp/$refresh ]]; then ensure_queue_is_read; fi
}

ensure_function() { # function, role, module, timeout, the other function
  local function=$1 given=$settings
  if [[ $function == "$refresh" ]]; then given=$of_refresh; fi
  local more=""
  if [[ -n $kms_key ]]; then more=", \"KMSKeyArn\": \"$kms_key\""; fi
  if [[ -n $no_key && -s $tmp/$function ]]; then more=', "KMSKeyArn": ""'; fi
  if [[ $function == "$refresh" && -n $security_groups ]]; then
    more="$more, \"VpcConfig\": {\"SubnetIds\": [\"${subnets//,/\",\"}\"],"
    more="$more \"SecurityGroupIds\": [\"${security_groups//,/\",\"}\"]}"
  elif [[ $function == "$refresh" && $subnets == none && -s $tmp/$function ]]; then
    more="$more, \"VpcConfig\": {\"SubnetIds\": [], \"SecurityGroupIds\": []}"
  fi
  files function /dev/stdin "$tmp/$function" "$tmp/$5" "$given" "$defaults" >"$tmp/desired" <<JSON
{
  "FunctionName": "$function",
  "Role": "arn:$partition:iam::$account:role/$2",
  "Handler": "$3.lambda_handler",
  "Runtime": "python3.13",
  "MemorySize": 256,
  "Timeout": $4,
  "Environment": {"Variables": {
    "TABLE_NAME": "$table",
    "QUEUE_URL": "$queue_url",
    "POWERTOOLS_SERVICE_NAME": "$function",
    "POWERTOOLS_METRICS_NAMESPACE": "S3EventAggregator"
  }},
  "LoggingConfig": {"LogFormat": "JSON", "SystemLogLevel": "WARN", "LogGroup": "/aws/lambda/$function"}$more
}
JSON
  if [[ ! -s $tmp/$function ]]; then
    write create "function $function" \
      lambda create-function --cli-input-json "file://$tmp/desired" --architectures arm64 --zip-file "fileb://$zip" \
      ${tagged:+--tags "file://$tmp/tags-map"}
    settle lambda get-function-configuration --function-name "$function"
    return
  fi
  cp "$tmp/$function" "$tmp/answer"
  settle lambda get-function-configuration --function-name "$function"
  local kept=true
  # First: of a runtime that AWS has given up nothing can be changed but the runtime, and an old one is not for arm64.
  if differs "$tmp/$function" "$tmp/desired"; then
    kept=false
    write change "function $function: $difference" \
      lambda update-function-configuration --cli-input-json "file://$tmp/desired"
    settle lambda get-function-configuration --function-name "$function"
  fi
  if differs "$tmp/$function" /dev/stdin <<<"{\"CodeSha256\": \"$code\", \"Architectures\": [\"arm64\"]}"; then
    kept=false
    write change "function $function: newer code" \
      lambda update-function-code --function-name "$function" --architectures arm64 --zip-file "fileb://$zip"
    settle lambda get-function-configuration --function-name "$function"
  fi
  ! $kept || step keep "function $function"
}

# The 2018 scripts reserved one execution for each function, which loses events under load, and gave its role policies
# that it does not need any more.
remove_what_is_of_2018() { # function, role
  call_about "$1" get-function-concurrency
  if ! differs "$tmp/answer" /dev/stdin <<<'{"ReservedConcurrentExecutions": 1}'; then
    write change "function $1: no reserved concurrency" lambda delete-function-concurrency --function-name "$1"
  fi
  if [[ -s $tmp/$1 ]]; then detach_2018_policies "$2"; fi
}

# An event on which the aggregator failed three times goes to the queue, and the refresh function aggregates it.
ensure_failed_events_are_kept() {
  cat >"$tmp/desired" <<JSON
{
  "MaximumRetryAttempts": 2,
  "MaximumEventAgeInSeconds": 21600,
  "DestinationConfig": {"OnFailure": {"Destination": "$queue_arn"}}
}
JSON
  call_about "$aggregator" get-function-event-invoke-config
  if differs "$tmp/answer" "$tmp/desired"; then
    write set "failed events of $aggregator: to the queue" \
      lambda put-function-event-invoke-config --function-name "$aggregator" --cli-input-json "file://$tmp/desired"
  else
    step keep "failed events of $aggregator: to the queue"
  fi
}

# One message an invocation: a bucket whose gateways answer slowly holds up no other. And ten invocations at a time: more
# would only wait for the same gateways, and throttle each other's calls.
ensure_queue_is_read() {
  printf '%s\n' '{"BatchSize": 1, "FunctionResponseTypes": ["ReportBatchItemFailures"],' \
    '"ScalingConfig": {"MaximumConcurrency": 10}}' >"$tmp/desired"
  call lambda list-event-source-mappings --function-name "$refresh" --event-source-arn "$queue_arn" \
    --query "EventSourceMappings[?State!='Deleting'] | [0]" || true
  if ! grep -q UUID "$tmp/answer"; then
    write create "trigger of $refresh: the queue" \
      lambda create-event-source-mapping --function-name "$refresh" --event-source-arn "$queue_arn" \
      --cli-input-json "file://$tmp/desired"
  elif differs "$tmp/answer" "$tmp/desired" || grep -q '"State": "Disabl' "$tmp/answer"; then
    write change "trigger of $refresh: the queue: ${difference:-it was disabled}" \
      lambda update-event-source-mapping --uuid "$(files value "$tmp/answer" UUID)" --enabled \
      --cli-input-json "file://$tmp/desired"
  else
    step keep "trigger of $refresh: the queue"
  fi
}

ensure_rules() {
  local pattern='{\"source\": [\"aws.storagegateway\"], \"detail-type\": [\"Storage Gateway Refresh Cache Event\"],'
  pattern="$pattern \\\"detail\\\": {\\\"event-type\\\": [\\\"refresh-complete\\\"]}}"
  ensure_rule "$completion_rule" "tells of completed refreshes" "" <<JSON
{"State": "ENABLED", "EventPattern": "$pattern"}
JSON
  ensure_rule "$sweep_rule" "looks for lost requests every 15 minutes" '"{\"sweep\": true}"' <<'JSON'
{"State": "ENABLED", "ScheduleExpression": "rate(15 minutes)"}
JSON
}

# Its pattern or schedule is on standard input.
ensure_rule() { # rule, what it does, what it sends instead of the event, as a JSON string
  cat >"$tmp/desired"
  call events describe-rule --name "$1" || true
  if differs "$tmp/answer" "$tmp/desired"; then
    write set "rule $1: $2" events put-rule --name "$1" --cli-input-json "file://$tmp/desired" \
      ${tagged:+--tags "file://$tmp/tags-list"} # those of a rule that is there are ignored
  else
    step keep "rule $1: $2"
  fi
  printf '%s\n' "{\"Id\": \"action-queue\", \"Arn\": \"$queue_arn\"${3:+, \"Input\": $3}}" >"$tmp/target"
  call events list-targets-by-rule --rule "$1" --query "Targets[?Id=='action-queue'] | [0]" || true
  if differs "$tmp/answer" "$tmp/target"; then
    printf '%s\n' "[$(<"$tmp/target")]" >"$tmp/targets"
    write set "its target: the queue" events put-targets --rule "$1" --targets "file://$tmp/targets" \
      --query FailedEntries
    ! grep -q ErrorMessage "$tmp/answer" || fail "EventBridge refused the queue as target:" "$(<"$tmp/answer")"
  fi
}

# A request that must wait is sent again by the function that received it: after 16 rounds Lambda would cut that off.
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
ensure_deferring_is_allowed() {
  call_about "$refresh" get-function-recursion-config
  if differs "$tmp/answer" /dev/stdin <<<'{"RecursiveLoop": "Allow"}'; then
    write set "recursive loop of $refresh: allowed" \
      lambda put-function-recursion-config --function-name "$refresh" --recursive-loop Allow
  else
    step keep "recursive loop of $refresh: allowed"
  fi
}

# Those of other stacks may be among the answer: their names may begin alike.
ensure_alarms() {
  call cloudwatch describe-alarms --alarm-name-prefix "$aggregator"
  files alarms "$(names)" "$root/cloudwatch/alarms.json" "$tmp/answer" "$topic" \
    "$tmp/$refresh" "$tmp/$aggregator" "$settings" "$defaults" >"$tmp/alarms"
  local verb what alarm
  while IFS=$'\t' read -r verb what alarm <&3; do
    if [[ $verb == keep ]]; then
      step keep "$what"
    else
      printf '%s\n' "$alarm" >"$tmp/desired"
      write "$verb" "$what" cloudwatch put-metric-alarm --cli-input-json "file://$tmp/desired" \
        ${tagged:+--tags "file://$tmp/tags-list"} # those of an alarm that is there are ignored
    fi
  done 3<"$tmp/alarms"
}

ensure_dashboard() {
  cat >"$tmp/desired" <<JSON
{"DashboardName": "$dashboard", "DashboardBody": $(files quoted "$(names)" "$root/cloudwatch/dashboard.json")}
JSON
  if ! call cloudwatch get-dashboard --dashboard-name "$dashboard"; then
    write create "dashboard $dashboard" cloudwatch put-dashboard --cli-input-json "file://$tmp/desired"
  elif differs "$tmp/answer" "$tmp/desired"; then
    write change "dashboard $dashboard" cloudwatch put-dashboard --cli-input-json "file://$tmp/desired"
  else
    step keep "dashboard $dashboard"
  fi
}

# Those of earlier runs as well: somebody may have put other notifications in the place of all.
attach_buckets() {
  find_attached
  local bucket
  for bucket in $(attached_and_named); do attach "$bucket"; done
}

# What was made just now got its tags as it was made, for an organization may allow it only so. This is for what was
# there, and for what can be tagged only afterwards.
ensure_tags() {
  if [[ -z $tagged ]]; then return; fi
  local name
  ensure_tagged "table $table" list dynamodb list-tags-of-resource tag-resource \
    --resource-arn "arn:$partition:dynamodb:$region:$account:table/$table"
  for name in "$queue" "$dead_letter_queue"; do
    if call sqs get-queue-url --queue-name "$name" --query QueueUrl --output text; then
      ensure_tagged "queue $name" map sqs list-queue-tags tag-queue --queue-url "$(<"$tmp/answer")"
    fi
  done
  for name in "$aggregator_role" "$refresh_role"; do
    ensure_tagged "role $name" list iam list-role-tags tag-role --role-name "$name"
  done
  for name in "$aggregator" "$refresh"; do
    ensure_tagged "function $name" map lambda list-tags tag-resource --resource "$function_arn:$name"
    ensure_tagged "log group /aws/lambda/$name" map logs list-tags-for-resource tag-resource \
      --resource-arn "arn:$partition:logs:$region:$account:log-group:/aws/lambda/$name"
  done
  call lambda list-event-source-mappings --function-name "$refresh" --event-source-arn "$queue_arn" \
    --query "EventSourceMappings[?State!='Deleting'].UUID" --output text || true
  for name in $(<"$tmp/answer"); do
    ensure_tagged "trigger of $refresh" map lambda list-tags tag-resource \
      --resource "arn:$partition:lambda:$region:$account:event-source-mapping:$name"
  done
  for name in "$completion_rule" "$sweep_rule" "$changes_rule"; do
    ensure_tagged "rule $name" list events list-tags-for-resource tag-resource \
      --resource-arn "arn:$partition:events:$region:$account:rule/$name"
  done
  call cloudwatch describe-alarms --alarm-name-prefix "$aggregator"
  for name in $(files alarm-names "$(names)" "$root/cloudwatch/alarms.json" "$tmp/answer"); do
    ensure_tagged "alarm $name" list cloudwatch list-tags-for-resource tag-resource \
      --resource-arn "arn:$partition:cloudwatch:$region:$account:alarm:$name"
  done
}

ensure_tagged() { # what, the form of its tags, service, the call that lists them, the call that sets them, flag, value
  local what=$1 form=$2 missing
  shift 2
  call "$1" "$2" "$4" "$5" || return 0 # it would be made: this is a dry run, or there is no rule of changes
  missing=$(files missing-tags "$tmp/answer" "$tmp/tags-map")
  [[ -z $missing ]] || write set "tags of $what: $missing" "$1" "$3" "$4" "$5" --tags "file://$tmp/tags-$form"
}

say_what_is_there() {
  echo
  if ((interval < 60)); then
    echo "Warning: --min-refresh-interval-seconds is $interval, and AWS asks for 60 s between two refreshes of a share." \
      "By an older page of its reference, an earlier refresh may do nothing, and the share stay stale."
  fi
  if $dry_run; then
    echo "Nothing was changed."
    return
  fi
  local watched console
  case $partition in
  aws-cn) console=console.amazonaws.cn ;;
  aws-eusc) console=$region.console.amazonaws-eusc.eu ;;
  aws-us-gov) console=console.amazonaws-us-gov.com ;;
  *) console=$region.console.aws.amazon.com ;;
  esac
  watched=$(attached_and_named | xargs)
  cat <<TEXT
Deployed. Changes in these buckets refresh their file shares: ${watched// /, }
Logs:   aws logs tail /aws/lambda/$aggregator --follow --region $region
        aws logs tail /aws/lambda/$refresh --follow --region $region
Graphs: https://$console/cloudwatch/home?region=$region#dashboards/dashboard/$dashboard
Remove: scripts/delete-stack.sh --region $region${prefix:+ --name-prefix $prefix}
TEXT
}

main "$@"
