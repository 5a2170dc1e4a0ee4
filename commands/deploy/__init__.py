"""What deploys: scripts/create-stack.sh, delete-stack.sh, attach-bucket.sh, detach-bucket.sh and zip.sh run it.

__main__        the command line
create          a stack is made, changed or mended, and deleted
project_2018    what the project of 2018 made, and its removal
template        template.yaml, each of whose parameters is a flag
package         the zip of the code, and the artifact bucket
cloudformation  brings a CloudFormation stack from any state to a finished one
buckets         buckets are attached and detached
notification    a bucket's notification configuration, as data
eventbridge     the rules for buckets that send events to EventBridge, as data
"""
