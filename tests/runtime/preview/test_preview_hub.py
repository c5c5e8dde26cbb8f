import asyncio
import gc
import threading
import time
import weakref

import numpy as np
import pytest
from preview_run import CLASSES, images, result, until

from differseg.runtime.preview.hub import HubClosedError, PictureHub
from differseg.runtime.preview.pictures import Moment, PictureMaker


@pytest.fixture
def hub():
    made = PictureHub(PictureMaker(CLASSES), most_fps=1000)
    made.start()
    yield made
    made.close()


def moment(index=0, **changes):
    rgb, thermal, mask = images()
    return Moment(result(index, **changes), rgb, thermal, mask)


def test_nothing_is_encoded_while_nobody_looks(hub):
    for k in range(20):
        hub.publish(moment(k))
    time.sleep(0.05)
    assert hub.encoded == 0


def test_one_encoding_serves_everybody(hub):
    async def many():
        return await asyncio.gather(*(hub.next(0, ["rgb", "mask"]) for _ in range(50)))

    hub.publish(moment(7))
    pictures = asyncio.run(many())
    assert hub.encoded == 2
    assert {p.moment.result.index for p in pictures} == {7}
    assert len({id(p.layers["rgb"]) for p in pictures}) == 1


def test_a_late_viewer_gets_what_is_made_already(hub):
    hub.publish(moment())
    asyncio.run(hub.next(0, ["rgb"]))
    asyncio.run(hub.next(0, ["rgb", "overlay"]))
    assert hub.encoded == 2


def test_a_slow_viewer_gets_the_newest(hub):
    hub.publish(moment(0))
    first = asyncio.run(hub.next(0, ["rgb"]))
    for k in range(1, 30):
        hub.publish(moment(k))
    second = asyncio.run(hub.next(first.number, ["rgb"]))
    assert second.moment.result.index == 29
    assert hub.encoded == 2


def test_waiting_for_the_next_moment(hub):
    async def wait():
        waiting = asyncio.ensure_future(hub.next(0, ["rgb"]))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        hub.publish(moment(3))
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(wait()).moment.result.index == 3


def test_viewers_that_leave_are_forgotten(hub):
    async def leave():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(hub.next(0, ["rgb"]), 0.02)

    asyncio.run(leave())
    assert not hub._waiting


def test_the_rate_is_limited():
    hub = PictureHub(PictureMaker(CLASSES), most_fps=20)
    hub.start()

    async def look():
        seen, count, end_s = 0, 0, time.monotonic() + 1.0
        while time.monotonic() < end_s:
            hub.publish(moment())
            seen = (await hub.next(seen, ["rgb"])).number
            count += 1
        return count

    assert asyncio.run(look()) <= 22
    hub.close()


def test_close_ends_all_waiting(hub):
    async def wait():
        waiting = asyncio.ensure_future(hub.next(0, ["rgb"]))
        await asyncio.sleep(0.02)
        threading.Thread(target=hub.close).start()
        with pytest.raises(HubClosedError):
            await asyncio.wait_for(waiting, 5)
        with pytest.raises(HubClosedError):
            await hub.next(0, ["rgb"])

    asyncio.run(wait())
    until(lambda: not hub._thread.is_alive())


def test_a_frame_that_cannot_be_shown_does_not_end_the_showing(hub, caplog):
    rgb, thermal, mask = images()
    hub.publish(Moment(result(0), rgb, thermal, mask.astype(np.complex64)))
    pictures = asyncio.run(hub.next(0, ["rgb", "mask"]))
    assert set(pictures.layers) == {"rgb"}
    hub.publish(moment(1))
    assert set(asyncio.run(hub.next(1, ["rgb", "mask"])).layers) == {"rgb", "mask"}
    assert [record.message.count("mask picture") for record in caplog.records] == [1]


def test_old_frames_are_let_go(hub):
    """Buffers that the hub held on to would be missing from the run's pools."""
    rgb, _, _ = images()
    held = weakref.ref(rgb)
    hub.publish(Moment(result(), rgb))
    asyncio.run(hub.next(0, ["rgb"]))
    del rgb
    hub.publish(moment(1))

    def gone():
        gc.collect()
        return held() is None

    until(gone)
