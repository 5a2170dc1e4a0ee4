output "aggregator_arn" {
  value       = aws_cloudformation_stack.this.outputs["AggregatorArn"]
  description = "To which the buckets' notifications go"
}
