"""scripts/check.sh: does it work in my account?

command         the command line
expected        what the deployed stack's own template says of each of its resources, with its parameters
resources       what AWS says of each, in the same terms, and how the two differ
grants          what the roles need, asked of IAM's policy simulator
network         whether a function in subnets reaches what it calls
areas           all of that, area by area, and buckets, shares, gateways and quotas; nothing is written
trial           a small object, followed hop by hop, and its deletion
gateway_report  what is known of this gateway, without names, for a report
"""
