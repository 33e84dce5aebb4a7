"""Jobs on SLURM: how they are launched, watched, restarted and looked up."""
