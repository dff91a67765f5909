"""The preparation of videos as TFRecord shards, on one machine or a cluster.

A plan assigns the videos to tasks (`plan`). Processes of this machine or Apache Beam do the tasks
independently (`engines`, `task`). The reports of the tasks give the index (`index`). So the shards
have the same bytes wherever they are made, and an interrupted run continues where it stopped.
`run.prepare` does all of this.
"""
