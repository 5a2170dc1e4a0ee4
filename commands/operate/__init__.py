"""The operator's commands, run by scripts/status.sh, explain.sh, wait.sh, refresh-now.sh, redrive.sh and check.sh.

stack       a deployed stack: its names, its settings, its state
status      one screen: is it working, how fresh are the shares, what is broken
refresh_now a refresh that somebody asks for, followed to its end
redrive     what lies in the dead-letter queue, and its way back
explain     why a file is not there, in sentences
wait        when every share shows a change
facts       what is known about one key of a bucket
nearby      what a bucket has where there is no such key or folder
refresh_log the refreshes that the log tells of
words       times and counts as people read them
terminal    what is written, with what does not print escaped
(check.sh: commands/check/)
"""
