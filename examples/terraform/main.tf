# The stack of template.yaml, with Terraform around it. The buckets are attached by scripts/attach-bucket.sh.

terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

resource "aws_cloudformation_stack" "this" {
  name         = var.stack_name
  template_url = var.template_url
  capabilities = ["CAPABILITY_NAMED_IAM"]
  tags         = var.tags

  parameters = {
    CodeBucket                = var.code_bucket
    CodeKey                   = var.code_key
    NamePrefix                = var.name_prefix
    RefreshDelaySeconds       = var.refresh_delay_seconds
    RefreshQuietSeconds       = var.refresh_quiet_seconds
    RefreshMaxDelaySeconds    = var.refresh_max_delay_seconds
    MinRefreshIntervalSeconds = var.min_refresh_interval_seconds
    RefreshesPerGateway       = var.refreshes_per_gateway
    InProgressTimeoutSeconds  = var.in_progress_timeout_seconds
    RefreshScope              = var.refresh_scope
    RefreshOtherGateways      = var.refresh_other_gateways
    IgnoreKeys                = var.ignore_keys
    GatewaySessionName        = var.gateway_session_name
    ReattachBucketArns        = join(",", var.reattach_bucket_arns)
    GatewayRegions            = join(",", var.gateway_regions)
    GatewayRoleArns           = join(",", var.gateway_role_arns)
    GatewayExternalIds        = join(",", var.gateway_external_ids)
    StorageGatewayEndpointUrl = var.storage_gateway_endpoint_url
    VisibleEvents             = var.visible_events
    PermissionsBoundary       = var.permissions_boundary
    KmsKey                    = var.kms_key
    EarlierKmsKey             = var.earlier_kms_key
    SubnetIds                 = join(",", var.subnet_ids)
    SecurityGroupIds          = join(",", var.security_group_ids)
    LogLevel                  = var.log_level
    LogRetentionDays          = var.log_retention_days
    AlarmTopicArn             = var.alarm_topic_arn
  }
}
