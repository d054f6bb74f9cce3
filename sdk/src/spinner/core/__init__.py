"""What a DAG is made of: nodes, edges, groups, references to values. Pure; imports nothing slow."""
