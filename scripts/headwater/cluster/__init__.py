"""Jobs on a cluster: how they are launched, watched, restarted and looked up."""
