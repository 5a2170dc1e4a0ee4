output "aggregator_arn" {
  value       = aws_cloudformation_stack.this.outputs["AggregatorArn"]
  description = "To which the buckets' notifications go"
}

output "refresh_role_arn" {
  value       = aws_cloudformation_stack.this.outputs["RefreshRoleArn"]
  description = "Whom the roles of gateway_role_arns must trust"
}
