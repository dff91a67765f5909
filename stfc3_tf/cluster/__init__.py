"""Several workers: who they are, what they share, and who reads the clips.

Modules:

    environment                   where the workers are: TF_CONFIG, Kubernetes, SLURM
    rendezvous, secret            they meet, and check that they belong together
    interface                     the network interface to listen on
    strategy                      the devices that share the batches
    data_service                  clips that other machines read
"""
