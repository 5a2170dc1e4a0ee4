"""The operator's commands, run by scripts/status.sh, explain.sh, wait.sh, refresh-now.sh, redrive.sh and check.sh.

stack          a deployed stack: its names, its settings, its state
status         one screen: is it working, how fresh are the shares, what is broken
refresh_now    a refresh that somebody asks for, followed to its end
share_state    which shares of a gateway wait, until when, and why
redrive        lists what is in the dead-letter queue, and sends it back
explain        why a file is not there, in sentences
wait           when every share shows a change
facts          what is known about one key of a bucket
similar_names  what a bucket has where there is no such key or folder
refresh_log    the refreshes that the log tells of
words          times and counts as people read them
terminal       prints lines, and escapes characters that a terminal would act on
help           makes docs/commands.md
(check.sh: commands/check/)
"""
