"""What developers run: the local AWS, the demonstration, the benchmark, and what fills template.yaml."""
