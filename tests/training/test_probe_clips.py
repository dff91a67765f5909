"""The probe clips are the same ones every time."""

import numpy as np

from stfc3_tf import clips
from stfc3_tf.training import probe_clips


class Unreadable(clips.SyntheticScenes):
    """Synthetic scenes; those of even numbers are corrupt."""

    def read(self, video, position, count, frame_rate):
        if video % 2 == 0:
            raise clips.UnreadableVideo(self.name(video), 'corrupt')
        return super().read(video, position, count, frame_rate)


def test_fixed_clips_are_the_same_every_time_from_different_videos():
    source = clips.SyntheticScenes(count=50, height=40, width=56)
    once, again = probe_clips.fixed_clips(source, 5), probe_clips.fixed_clips(source, 5)
    np.testing.assert_array_equal(once, again)
    assert np.shape(once) == (5, 4, 40, 56, 3)
    assert len({clip.tobytes() for clip in once}) == 5


def test_fixed_clips_pass_over_what_cannot_be_read():
    assert len(probe_clips.fixed_clips(Unreadable(count=40, height=16, width=16), 5)) == 5
    assert len(probe_clips.fixed_clips(Unreadable(count=2, height=16, width=16), 5)) == 1


def test_centre_view_keeps_the_middle_square():
    frames = np.zeros((2, 8, 16, 3), np.uint8)
    frames[:, :, 4:12] = 200
    assert (probe_clips.centre_view(frames, 8) == 200).all()
    assert probe_clips.centre_view(frames.transpose(0, 2, 1, 3), 4).shape == (2, 4, 4, 3)
