"""Which window for my traffic: scripts/plan.sh replays a bucket's changes under many settings.

sources   what people have of a bucket's changes: a listing, an inventory, logs, a CSV
trace     those changes in arrays, and what the folders hold
replay    what the functions would do with them, by their own rules
outcome   freshness and cost, with this project and with the alternatives
prices    list prices, and what a bill is made of
report    the table, the recommendations, JSON and a page
picture   freshness against cost
"""
