variable "stack_name" {
  type        = string
  default     = "s3-event-aggregator"
  description = "Name of the CloudFormation stack"
}

variable "template_url" {
  type        = string
  description = "URL of the template in S3: https://BUCKET.s3.REGION.amazonaws.com/KEY"
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags of every resource in the stack that can have tags"
}

# The template's parameters

variable "code_bucket" {
  type        = string
  description = "S3 bucket in the stack's region that holds the zip file of the functions' code"
}

variable "code_key" {
  type        = string
  description = "Key of the zip file in that bucket"
}

variable "name_prefix" {
  type        = string
  default     = ""
  description = "Prefix of all resource names; unique per stack in the account and region"
}

variable "refresh_delay_seconds" {
  type        = string
  default     = "30"
  description = "Seconds from a window's first change to its refresh, 0 to 43200; exceptions per bucket follow, as in 30,my-bucket=600"
}

variable "refresh_quiet_seconds" {
  type        = string
  default     = "0"
  description = "Instead of the delay, seconds from a window's last change to its refresh, 0 to 43200; 0: off; exceptions per bucket follow"
}

variable "refresh_max_delay_seconds" {
  type        = string
  default     = "900"
  description = "With a quiet time, the maximum seconds from a window's first change to its refresh, 1 to 43200; exceptions per bucket follow"
}

variable "min_refresh_interval_seconds" {
  type        = string
  default     = "60"
  description = "Minimum seconds between two refreshes of a share, 1 to 3600; exceptions per share follow, as in 60,share-1234ABCD=3600; AWS asks for 60, and an earlier refresh may have no effect"
}

variable "refreshes_per_gateway" {
  type        = number
  default     = 2
  description = "Number of refreshes to run at one gateway at a time; AWS says that a gateway takes two"
}

variable "in_progress_timeout_seconds" {
  type        = number
  default     = 3600
  description = "Seconds for which a refresh counts as in progress if no completion event arrives; 0: completion is not awaited"
}

variable "refresh_scope" {
  type        = string
  default     = "folders"
  description = "What to refresh, the folders that changed (folders) or the whole share (share); exceptions per bucket follow"
}

variable "refresh_other_gateways" {
  type        = string
  default     = "auto"
  description = "What a gateway writes refreshes no share (off), every share but the writer's own (auto), or also the only share of a bucket unless it is known to be the writer's (on)"
}

variable "ignore_keys" {
  type        = string
  default     = ""
  description = "Comma-separated patterns of keys whose changes refresh nothing, such as *.tmp"
}

variable "gateway_session_name" {
  type        = string
  default     = "StorageGateway"
  description = "Session name under which gateways write; only writers with this name are checked for a share's role; empty: no writer is"
}

variable "reattach_bucket_arns" {
  type        = list(string)
  default     = []
  description = "ARNs of the buckets whose notification the refresh function restores if others replaced it, arn:aws:s3:::NAME"
}

variable "gateway_regions" {
  type        = list(string)
  default     = []
  description = "Comma-separated list of all regions whose file shares are refreshed; empty: the stack's region"
}

variable "gateway_role_arns" {
  type        = list(string)
  default     = []
  description = "ARNs of roles that refresh the file shares of other accounts, one per account (docs/other-accounts.md)"
}

variable "gateway_external_ids" {
  type        = list(string)
  default     = []
  description = "External IDs that these roles require, each as ACCOUNT=ID"
}

variable "storage_gateway_endpoint_url" {
  type        = string
  default     = ""
  description = "Endpoint URL for Storage Gateway, if all gateways are in one region behind this endpoint"
}

variable "visible_events" {
  type        = string
  default     = "on"
  description = "Whether to send an event to EventBridge's default bus when a share shows what changed"
}

variable "permissions_boundary" {
  type        = string
  default     = ""
  description = "ARN of the permissions boundary of both roles"
}

variable "kms_key" {
  type        = string
  default     = ""
  description = "ARN of the KMS key for the table, the queues, the logs and the functions' settings"
}

variable "earlier_kms_key" {
  type        = string
  default     = ""
  description = "ARN of the previous KMS key, which queued messages may still need"
}

variable "subnet_ids" {
  type        = list(string)
  default     = []
  description = "Subnets of the refresh function, if it must reach Storage Gateway in a VPC"
}

variable "security_group_ids" {
  type        = list(string)
  default     = []
  description = "Security groups of the refresh function in these subnets"
}

variable "log_level" {
  type        = string
  default     = "INFO"
  description = "Log level of both functions; DEBUG also logs each absorbed change"
}

variable "log_retention_days" {
  type        = number
  default     = 30
  description = "Days for which logs are kept"
}

variable "alarm_topic_arn" {
  type        = string
  default     = ""
  description = "ARN of an SNS topic (not FIFO) in the stack's region that the alarms notify when they go off and when they end"
}
