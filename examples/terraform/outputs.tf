output "aggregator_arn" {
  value       = aws_cloudformation_stack.this.outputs["AggregatorArn"]
  description = "The aggregator, which the buckets' notifications invoke"
}

output "refresh_role_arn" {
  value       = aws_cloudformation_stack.this.outputs["RefreshRoleArn"]
  description = "The refresh function's role, which the roles of gateway_role_arns must trust"
}
