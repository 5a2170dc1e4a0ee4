variable "stack_name" {
  type        = string
  default     = "s3-event-aggregator"
  description = "The stack's name in CloudFormation"
}

variable "template_url" {
  type        = string
  description = "Where the packaged template lies in S3: https://BUCKET.s3.REGION.amazonaws.com/KEY"
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "On everything in the stack that takes tags"
}

# The template's parameters

variable "code_bucket" {
  type        = string
  description = "The S3 bucket, of the stack's region, that holds the zip of the functions' code"
}

variable "code_key" {
  type        = string
  description = "The zip's key in that bucket"
}

variable "name_prefix" {
  type        = string
  default     = ""
  description = "Prefix of all names; unique per stack in the account and region"
}

variable "refresh_delay_seconds" {
  type        = string
  default     = "30"
  description = "From a window's first change to its refresh, 0 to 43200; exceptions by bucket follow, 30,my-bucket=600"
}

variable "refresh_quiet_seconds" {
  type        = string
  default     = "0"
  description = "Instead: from a window's last change to its refresh, at most RefreshMaxDelaySeconds; 0: off"
}

variable "refresh_max_delay_seconds" {
  type        = string
  default     = "900"
  description = "With a quiet time, at most this from a window's first change to its refresh, 1 to 43200"
}

variable "min_refresh_interval_seconds" {
  type        = string
  default     = "60"
  description = "The least time between two refreshes of a share, 1 to 3600; exceptions follow, 60,share-1234ABCD=3600; AWS asks for 60, and an earlier refresh may do nothing"
}

variable "refreshes_per_gateway" {
  type        = number
  default     = 2
  description = "How many refreshes are started at one gateway at a time; AWS says that a gateway takes two"
}

variable "in_progress_timeout_seconds" {
  type        = number
  default     = 3600
  description = "How long the end of a refresh is waited for, if no event tells of it; 0: not at all"
}

variable "refresh_scope" {
  type        = string
  default     = "folders"
  description = "What to refresh, what changed (folders) or the whole share (share); exceptions by bucket follow"
}

variable "refresh_other_gateways" {
  type        = string
  default     = "auto"
  description = "What a gateway writes refreshes no share (off), every share that shows it but the writer's own (auto), or also the only share of a bucket if it is not known to be the writer's (on)"
}

variable "ignore_keys" {
  type        = string
  default     = ""
  description = "Patterns of keys whose changes refresh nothing, such as *.tmp, with commas between them"
}

variable "gateway_session_name" {
  type        = string
  default     = "StorageGateway"
  description = "Only a role's session of this name may be a gateway that writes; empty: none is"
}

variable "reattach_bucket_arns" {
  type        = list(string)
  default     = []
  description = "Buckets whose notification the refresh function may put back if others replaced it, as arn:aws:s3:::NAME"
}

variable "gateway_regions" {
  type        = list(string)
  default     = []
  description = "All regions whose file shares are refreshed, with commas between them; empty: the stack's"
}

variable "gateway_role_arns" {
  type        = list(string)
  default     = []
  description = "Roles that refresh the file shares of other accounts, one per account (docs/other-accounts.md)"
}

variable "gateway_external_ids" {
  type        = list(string)
  default     = []
  description = "The external ids that these roles ask for, each as ACCOUNT=ID"
}

variable "storage_gateway_endpoint_url" {
  type        = string
  default     = ""
  description = "Where Storage Gateway is called, if all gateways are in one region behind this endpoint"
}

variable "visible_events" {
  type        = string
  default     = "on"
  description = "Whether an event on EventBridge's default bus tells that a share shows what changed"
}

variable "permissions_boundary" {
  type        = string
  default     = ""
  description = "ARN of a policy that bounds what both roles may do"
}

variable "kms_key" {
  type        = string
  default     = ""
  description = "ARN of the key for table, queues, logs and the functions' settings"
}

variable "earlier_kms_key" {
  type        = string
  default     = ""
  description = "ARN of the key before, which queued messages may still need"
}

variable "subnet_ids" {
  type        = list(string)
  default     = []
  description = "Where the refresh function runs, if it must reach Storage Gateway in a VPC"
}

variable "security_group_ids" {
  type        = list(string)
  default     = []
  description = "Those of the refresh function in these subnets"
}

variable "log_level" {
  type        = string
  default     = "INFO"
  description = "DEBUG also tells of each absorbed change"
}

variable "log_retention_days" {
  type        = number
  default     = 30
  description = "How long logs are kept"
}

variable "alarm_topic_arn" {
  type        = string
  default     = ""
  description = "An SNS topic in the stack's region (no FIFO topic), told when an alarm goes off and when it ends"
}
