"""Videos into TFRecord shards, on one machine or a cluster.

What goes where is planned first, from the list of videos alone (`plan`). Each task of the plan is
then done by itself (`task`), by any number of processes or by Apache Beam (`engines`), and the
index is made of what the tasks report (`index`). So the shards are the same bytes whoever makes
them, and a run that is broken off goes on where it was. `run.prepare` is all of it.
"""
