# shellcheck shell=bash
# What the stack's scripts share: the names, the checks, and the ways to call AWS. To be sourced.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
mkdir -p "$root/build"
find "$root/build" -maxdepth 1 -name 'tmp.*' -mmin +60 -exec rm -rf {} + # of runs that were killed
tmp=$(mktemp -d "$root/build/tmp.XXXXXX") # where a finished file can be moved into place at once
trap 'rm -rf "$tmp"' EXIT

export AWS_PAGER="" AWS_CLI_AUTO_PROMPT=off
export AWS_RETRY_MODE="${AWS_RETRY_MODE:-standard}" AWS_MAX_ATTEMPTS="${AWS_MAX_ATTEMPTS:-5}"

region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
prefix=""
buckets=""
dry_run=false
# shellcheck disable=SC2034 # of create-stack.sh; buckets.sh makes a rule with them
tagged="" # whether what is made gets tags, which are in $tmp/tags-list and in $tmp/tags-map
zip="$root/build/s3-event-aggregator.zip"
code="" # its hash, as Lambda gives it
written=0 # what was created, changed or deleted
patience=45 # tries, 2 s apart: SQS refuses a deleted queue's name for 60 s, and IAM makes a role known within some ten

# Messages

usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

step() { # verb, what
  if $dry_run && [[ $1 != keep ]]; then printf 'would %s\n' "$1 $2"; else printf '%-7s %s\n' "$1" "$2"; fi
}

# Flags

value() { # flag, the arguments after it: there must be one
  [[ $# -ge 2 ]] || fail "$1 needs a value. See --help."
}

one_of() { # flag, value, the values allowed
  case " $3 " in *" $2 "*) ;; *) fail "$1 $2: it must be one of $3." ;; esac
}

add_bucket() {
  [[ $1 =~ ^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$ ]] || fail "--bucket $1: this is not a bucket name."
  case $1 in
  *--x-s3) fail "--bucket $1: a directory bucket (S3 Express) tells nobody of its changes, and no file share shows one." ;;
  *--table-s3) fail "--bucket $1: a table bucket (S3 Tables) has no files, and no file share shows one." ;;
  *-s3alias | *--ol-s3) fail "--bucket $1: this is the alias of an access point. Give the bucket behind it." ;;
  esac
  case " $buckets " in *" $1 "*) ;; *) buckets="$buckets $1" ;; esac
}

set_prefix() {
  [[ $1 =~ ^[A-Za-z0-9_-]{0,32}$ ]] || fail "--name-prefix $1: letters, digits, - and _ only, 32 at most."
  prefix=$1
}

# Checks

check_python() {
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "This needs python3 3.11 or later on the PATH; found: $(python3 --version 2>&1 || true)"
}

check_tools() {
  check_python
  command -v aws >/dev/null ||
    fail "This needs the AWS CLI: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
  local version least
  version=$(command aws --version 2>&1 | sed -n 's,^aws-cli/\([0-9.]*\).*,\1,p')
  # Both know put-function-recursion-config, which came in August 2024, and the older --logging-config.
  case $version in 1.*) least=1.34.1 ;; *) least=2.18.0 ;; esac
  at_least "$least" "$version" || fail \
    "The AWS CLI is too old: version ${version:-unknown}, and this needs 1.34.1 or 2.18.0, or later." \
    "Upgrade it: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html" \
    "or, in a virtual environment: python3 -m pip install --upgrade awscli"
}

at_least() { # the least version, the version
  local a b c x y z
  IFS=. read -r a b c <<<"$1"
  IFS=. read -r x y z <<<"$2"
  ((10#${x:-0} * 1000000 + 10#${y:-0} * 1000 + 10#${z:-0} >= a * 1000000 + b * 1000 + c))
}

check_account() {
  region=${region:-$(command aws configure get region || true)}
  [[ -n $region ]] || fail "Which region? Give --region, or set AWS_REGION, or run: aws configure"
  local arn
  call sts get-caller-identity --query '[Account, Arn]' --output text || true
  read -r account arn <"$tmp/answer"
  IFS=: read -r _ partition _ <<<"$arn"
  name_things
}

# shellcheck disable=SC2034 # the scripts use them
name_things() {
  table="${prefix}S3EventAggregator"
  queue="${prefix}S3EventAggregatorActionQueue"
  dead_letter_queue="${prefix}S3EventAggregatorActionQueueDeadLetter"
  completion_rule="${prefix}S3EventAggregatorRefreshComplete"
  sweep_rule="${prefix}S3EventAggregatorSweep"
  changes_rule="${prefix}S3EventAggregatorObjectChanges"
  aggregator="${prefix}S3EventAggregator"
  refresh="${prefix}S3StorageGatewayRefresh"
  aggregator_role="${prefix}S3EventAggregatorLambdaRole"
  refresh_role="${prefix}S3AggregatorActionLambdaRole"
  dashboard="${prefix}S3EventAggregator-$region" # dashboards belong to no region, and their names to the account
  role_policy="S3EventAggregator-$region" # roles belong to no region: the stacks of two regions share them
  queue_arn="arn:$partition:sqs:$region:$account:$queue"
  dead_letter_arn="arn:$partition:sqs:$region:$account:$dead_letter_queue"
  function_arn="arn:$partition:lambda:$region:$account:function"
  changes_rule_arn="arn:$partition:events:$region:$account:rule/$changes_rule"
  files render "NamePrefix=$prefix FunctionArn=$function_arn:$aggregator" "$root/s3/event.json" >"$tmp/entry"
}

names() {
  echo "Partition=$partition Region=$region Account=$account NamePrefix=$prefix Table=$table Queue=$queue" \
    "DeadLetterQueue=$dead_letter_queue Aggregator=$aggregator Refresh=$refresh"
}

# The functions' code

make_zip() {
  local packages
  packages="$root/build/packages-$(cksum <"$root/requirements.txt" | tr ' ' '-')"
  if [[ ! -d $packages ]]; then
    echo "Fetching the functions' packages (once)"
    python3 -m pip --version >/dev/null || fail "This needs pip: see https://pip.pypa.io/en/stable/installation/"
    python3 -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-compile \
      --target "$tmp/packages" --requirement "$root/requirements.txt" ||
      fail "pip could not fetch the functions' packages (see above)."
    [[ -d $packages ]] || mv "$tmp/packages" "$packages"
  fi
  # shellcheck disable=SC2034 # create-stack.sh compares it
  code=$(python3 "$here/make_zip.py" "$tmp/zip" "$root/src" "$packages")
  mv "$tmp/zip" "$zip"
}

# AWS. Each call leaves its answer in $tmp/answer and AWS's message in $tmp/error.

# As a module, because Python keeps that compiled.
files() { PYTHONPATH="$here:$root/src" python3 -P -m stack_files "$@"; }

# Version 1 of the CLI does not look at AWS_ENDPOINT_URL for every service.
aws() {
  local url=${AWS_ENDPOINT_URL:-}
  if [[ $1 == storagegateway ]]; then url=${AWS_ENDPOINT_URL_STORAGE_GATEWAY:-$url}; fi
  command aws --region "$region" --output json ${url:+--endpoint-url "$url"} "$@"
}

# What AWS says of something that does not exist.
absent='\((ResourceNotFoundException|NoSuchEntity|NoSuchBucket|QueueDoesNotExist'
absent="$absent|AWS\.SimpleQueueService\.NonExistentQueue|ResourceNotFound|DashboardNotFoundError)\)"

# What AWS says while something that was made or deleted a moment ago is not yet known everywhere.
passing='cannot be assumed by Lambda|role does not have permissions|Dead letter target does not exist'
passing="$passing|Unable to validate the following destination|QueueDeletedRecently"
passing="$passing|\((ResourceConflict|ResourceInUse|ConcurrentModification|OperationAborted)"

# Makes a call, again while AWS gives a passing reason against it: $tries. 0: done. 1: AWS refused.
attempt() {
  tries=1
  until aws "$@" >"$tmp/answer" 2>"$tmp/error"; do
    if ! [[ $(<"$tmp/error") =~ $passing ]] || ((tries == patience)); then return 1; fi
    ((tries > 1)) || step wait "until AWS is ready: $(awk 'NF { print; exit }' "$tmp/error")"
    tries=$((tries + 1))
    sleep 2
  done
}

# Makes a call about one thing. 0: done. 1: the thing does not exist. Any other answer, a denied or throttled call for
# example, ends the script: it does not mean that nothing is there.
call() {
  attempt "$@" || {
    : >"$tmp/answer"
    [[ $(<"$tmp/error") =~ $absent ]] || refused "$@"
    return 1
  }
}

refused() {
  fail "aws --region $region $1 $2 failed:" "$(awk 'NF' "$tmp/error")" "" \
    "What was done so far stays. When the cause is gone, run this again: it goes on from here."
}

write() { # verb, what, the call
  step "$1" "$2"
  written=$((written + 1))
  shift 2
  $dry_run || call "$@" || refused "$@"
}

# Takes the policies that the 2018 scripts attached off a role; the policies stay, in $detached. A role belongs to no
# region: if they are about another one, the stack there may still need them.
detached=""
detach_2018_policies() { # role
  local of_account="arn:$partition:iam::$account:policy/$prefix" attached policy version
  local marker="${of_account}S3EventAggregatorDynamo" # both roles have it, and it goes last
  call iam list-attached-role-policies --role-name "$1" --query 'AttachedPolicies[].PolicyArn' --output text || true
  attached=" $(xargs <"$tmp/answer") "
  case $attached in *" $marker "*) ;; *) return ;; esac
  call iam get-policy --policy-arn "$marker" --query Policy.DefaultVersionId --output text || return 0
  version=$(<"$tmp/answer")
  call iam get-policy-version --policy-arn "$marker" --version-id "$version" || return 0
  if ! grep -qF ":$region:$account:" "$tmp/answer"; then
    step keep "policies of role $1: they are about another region"
    return
  fi
  for policy in "arn:$partition:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole" \
    "$of_account"{S3EventAggregatorSqsWriter,S3EventAggregatorSqsReader,StorageGatewayRefreshPolicy} "$marker"; do
    case $attached in *" $policy "*) ;; *) continue ;; esac
    write detach "policy ${policy##*/}, of 2018, from role $1" \
      iam detach-role-policy --role-name "$1" --policy-arn "$policy"
    case $policy in *:aws:policy/*) ;; *) detached="$detached $policy" ;; esac
  done
}

# Sets $difference to what is not as it should be, in words; false if nothing is.
differs() { # current, desired
  difference=$(files changes "$1" "$2") || exit
  [[ -n $difference ]]
}
