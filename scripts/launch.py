"""Called by Snakemake in each job that trains: start the training's processes, here or inside a job of a scheduler."""

from headwater.cluster.launch import main

if __name__ == "__main__":
    main()
