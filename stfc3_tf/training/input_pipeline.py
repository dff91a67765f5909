"""The input of a run: its clips in their order, as batches of views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from stfc3_tf import clips
from stfc3_tf.cluster import data_service
from stfc3_tf.views.sampler import Sampler, add_views


class ClipStream(NamedTuple):
    """The clips that a run sees, in their order.

    Attributes:
      clip_frames: T, frames of a clip.
      frame_rate: frames per second of a clip, or the lowest and the highest.
      clips_per_video: clips taken from each video in an epoch.
      seed: of clips and views.
      skipped: counts unreadable videos.
      servers: host:port of the data servers that read and view clips; none to do it here.
    """

    clip_frames: int
    frame_rate: float | Sequence[float]
    clips_per_video: int
    seed: int
    skipped: clips.SkippedVideos
    servers: Sequence[str] = ()

    def batches(
        self,
        source: clips.Source,
        view_sampler: Sampler,
        batch_size: int,
        start_index: int,
        context: tf.distribute.InputContext,
    ) -> tf.data.Dataset:
        """Return the batches that one input pipeline feeds to its devices.

        Args:
          source: the videos.
          view_sampler: draws views and matrices from a clip.
          batch_size: clips of the global batch.
          start_index: number of the first clip; earlier ones were seen before.
          context: number and count of the pipelines, and how many devices they feed.

        Returns:
          An endless dataset of {'views': uint8 [batch, tracks, time, size, size, 3],
          'view_from_frame': float32 [batch, tracks, 3, 3], 'index': int64 [batch], 'video': int64
          [batch]}; each batch is for one device.
        """
        shards, shard = context.num_input_pipelines, context.input_pipeline_id
        if self.servers:
            dataset = self._from_servers(source, view_sampler, start_index, shards, shard)
        else:
            dataset = clips.clip_dataset(
                source,
                frames=self.clip_frames,
                frame_rate=self.frame_rate,
                clips_per_video=self.clips_per_video,
                seed=self.seed,
                start_index=start_index,
                shard_count=shards,
                shard_index=shard,
                skipped=self.skipped,
            )
            dataset = add_views(dataset, view_sampler, self.seed)
        size = context.get_per_replica_batch_size(batch_size)
        dataset = dataset.batch(size, drop_remainder=True).prefetch(2)
        # Without this, workers would ask each other before every step whether clips are left.
        return dataset.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    def _from_servers(
        self,
        source: clips.Source,
        view_sampler: Sampler,
        start_index: int,
        shards: int,
        shard: int,
    ) -> tf.data.Dataset:
        first = start_index + (shard - start_index) % shards

        def indices(parts: int, part: int) -> tf.data.Dataset:
            start, step = first + part * shards, parts * shards
            return clips.sample_numbers(start, step, start % step)

        settings = data_service.settings_text(
            source,
            frames=self.clip_frames,
            frame_rate=self.frame_rate,
            clips_per_video=self.clips_per_video,
            seed=self.seed,
        )
        return data_service.views_from_servers(
            self.servers,
            indices,
            settings,
            self.clip_frames,
            lambda part: add_views(part, view_sampler, self.seed),
        )
