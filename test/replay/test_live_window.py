from __future__ import annotations

import threading

from clip_depth_ros.replay.live_window import InFlight


def test_an_image_is_back_when_it_was_answered_on_every_topic():
    flight = InFlight(["/depth", "/points"])
    flight.send(1)
    flight.receive("/depth", 1)
    flight.receive("/elsewhere", 1)
    flight.receive("/points", 99)
    assert flight.count == 1
    flight.receive("/points", 1)
    assert flight.count == 0


def test_an_answer_to_a_later_image_ends_the_wait_for_an_earlier_one():
    flight = InFlight(["/depth"])
    for stamp in (1, 2, 3):
        flight.send(stamp)
    flight.receive("/depth", 2)
    assert flight.count == 1
    flight.receive("/depth", 1)  # late: it was given up
    assert flight.count == 1


def test_images_that_share_a_stamp_are_answered_one_by_one():
    flight = InFlight(["/depth", "/points"])
    for _ in range(3):
        flight.send(0)
    for topic in ("/depth", "/depth", "/points"):
        flight.receive(topic, 0)
    assert flight.count == 2
    flight.receive("/points", 0)
    assert flight.count == 1


def test_it_waits_for_room_and_gives_up_what_does_not_come():
    flight = InFlight(["/depth"])
    flight.send(1)
    assert flight.wait_for_room(2, 0.0)
    flight.send(2)
    assert not flight.wait_for_room(2, 0.0)
    assert flight.count == 0
    flight.send(3)
    thread = threading.Timer(0.05, flight.receive, ["/depth", 3])
    thread.start()
    assert flight.wait_for_room(1, 60.0)
    thread.join()
