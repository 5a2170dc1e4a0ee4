"""The operator's commands, run by scripts/status.sh, explain.sh, refresh-now.sh and redrive.sh.

stack       a deployed stack: its names, its settings, its state
status      one screen: is it working, how fresh are the shares, what is broken
refresh_now a refresh that somebody asks for, followed to its end
redrive     what lies in the dead-letter queue, and its way back
words       times and counts as people read them
"""
