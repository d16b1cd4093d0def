"""Where extraction runs: this machine, or a cluster; an engine only chooses who works on which shard."""
