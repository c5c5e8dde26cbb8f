"""OpenCV is silent for as long as anybody asks for it, and speaks as before afterwards."""

import cv2

from differseg.runtime.opencv_log import quiet


def test_blocks_may_overlap_and_the_level_comes_back(capfd, tmp_path):
    home = getattr(cv2.utils, "logging", cv2)
    before = home.getLogLevel()
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert home.getLogLevel() == 0
    assert not cv2.VideoCapture(str(tmp_path / "none.mp4"), cv2.CAP_FFMPEG).isOpened()
    second.__exit__(None, None, None)
    assert home.getLogLevel() == before != 0
    assert capfd.readouterr() == ("", "")
