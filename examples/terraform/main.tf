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
    NamePrefix                = var.name_prefix
    EventBridgeBuckets        = join(",", var.event_bridge_buckets)
    GatewayRegions            = join(",", var.gateway_regions)
    GatewayRoleArns           = join(",", var.gateway_role_arns)
    GatewayExternalIds        = join(",", var.gateway_external_ids)
    StorageGatewayEndpointUrl = var.storage_gateway_endpoint_url
    GatewaySessionName        = var.gateway_session_name
    IgnoreKeys                = var.ignore_keys
    LogRetentionDays          = var.log_retention_days
    AlarmTopicArn             = var.alarm_topic_arn
    PermissionsBoundaryArn    = var.permissions_boundary_arn
    KmsKeyArn                 = var.kms_key_arn
    SubnetIds                 = join(",", var.subnet_ids)
    SecurityGroupIds          = join(",", var.security_group_ids)
    VisibleThreshold          = var.visible_threshold
    WaitThreshold             = var.wait_threshold
    RefreshDelaySeconds       = var.refresh_delay_seconds
    RefreshQuietSeconds       = var.refresh_quiet_seconds
    RefreshMaxDelaySeconds    = var.refresh_max_delay_seconds
    InProgressTimeoutSeconds  = var.in_progress_timeout_seconds
    MinRefreshIntervalSeconds = var.min_refresh_interval_seconds
    RefreshesPerGateway       = var.refreshes_per_gateway
    RefreshScope              = var.refresh_scope
    RefreshOtherGateways      = var.refresh_other_gateways
    LogLevel                  = var.log_level
  }
}
