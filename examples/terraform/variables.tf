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

variable "name_prefix" {
  type        = string
  default     = ""
  description = "Goes before every name; each stack of an account needs another, also in other regions"
}

variable "event_bridge_buckets" {
  type        = list(string)
  default     = []
  description = "Buckets that tell EventBridge of their changes, by a rule of this stack; optional"
}

variable "gateway_regions" {
  type        = list(string)
  default     = []
  description = "All regions whose file shares are refreshed, if not the stack's alone; optional"
}

variable "gateway_role_arns" {
  type        = list(string)
  default     = []
  description = "Roles through which the file shares of other accounts are refreshed, one of each; optional"
}

variable "gateway_external_ids" {
  type        = list(string)
  default     = []
  description = "The external ids that these roles ask for, each as ACCOUNT=ID; optional"
}

variable "storage_gateway_endpoint_url" {
  type        = string
  default     = ""
  description = "Where Storage Gateway is called, if gateways are in one region, of this endpoint; optional"
}

variable "gateway_session_name" {
  type        = string
  default     = "StorageGateway"
  description = "Only a role's session of this name may be a gateway that writes; empty: none is"
}

variable "ignore_keys" {
  type        = string
  default     = ""
  description = "Patterns of keys whose changes refresh nothing, such as *.tmp, with commas; optional"
}

variable "log_retention_days" {
  type        = number
  default     = 30
  description = "How long logs are kept"
}

variable "alarm_topic_arn" {
  type        = string
  default     = ""
  description = "An SNS topic that the alarms tell; optional"
}

variable "permissions_boundary_arn" {
  type        = string
  default     = ""
  description = "A policy that bounds what both roles may do; optional"
}

variable "kms_key_arn" {
  type        = string
  default     = ""
  description = "The key for table, queues, logs and functions' settings, see docs/house-rules.md; optional"
}

variable "subnet_ids" {
  type        = list(string)
  default     = []
  description = "Where the refresh function runs, if it must reach Storage Gateway in a VPC; optional"
}

variable "security_group_ids" {
  type        = list(string)
  default     = []
  description = "Those of the refresh function in the subnets; needed with them"
}

variable "visible_threshold" {
  type        = number
  default     = 180
  description = "An alarm, when a change becomes visible later than this; three times the longest delay or interval, say"
}

variable "wait_threshold" {
  type        = number
  default     = 3600
  description = "An alarm, when a share has waited longer than this; more than three times that"
}

variable "refresh_delay_seconds" {
  type        = string
  default     = "30"
  description = "From a window's first change to its refresh, 0 to 43200; exceptions by bucket follow, 30,my-bucket=600"
}

variable "refresh_quiet_seconds" {
  type        = string
  default     = "0"
  description = "Instead: from a window's last change to its refresh; 0: off; above RefreshMaxDelaySeconds no function starts"
}

variable "refresh_max_delay_seconds" {
  type        = string
  default     = "900"
  description = "Then at most this from its first change, 1 to 43200"
}

variable "in_progress_timeout_seconds" {
  type        = number
  default     = 3600
  description = "How long a share's refresh is waited for; 0: not at all"
}

variable "min_refresh_interval_seconds" {
  type        = string
  default     = "60"
  description = "The least time between two refreshes of a share, 1 to 3600; exceptions follow, 60,share-1234ABCD=3600; AWS asks for 60, and an earlier refresh may do nothing"
}

variable "refreshes_per_gateway" {
  type        = number
  default     = 2
  description = "How many refreshes are started at one gateway at a time"
}

variable "refresh_scope" {
  type        = string
  default     = "folders"
  description = "What to refresh: what changed (folders), or the whole share (share)"
}

variable "refresh_other_gateways" {
  type        = string
  default     = "auto"
  description = "What a gateway writes refreshes no share (off), every share that shows it but the writer's own (auto), or also the only share of a bucket if it is not known to be the writer's (on)"
}

variable "log_level" {
  type        = string
  default     = "INFO"
  description = "DEBUG also tells of each absorbed change"
}
