"""The operator's commands, run by scripts/status.sh, explain.sh, refresh-now.sh and redrive.sh.

stack       a deployed stack: its names, its settings, its state
status      one screen: is it working, how fresh are the shares, what is broken
explain     why a file is not there, in sentences
facts       what is known about one key of a bucket
refresh_log the refreshes that the log tells of
words       times and counts as people read them
"""
