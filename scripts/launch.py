"""Starts a training's processes, on this machine or inside a SLURM job: `python scripts/launch.py --help`."""

from headwater.cluster.launch import main

if __name__ == "__main__":
    main()
