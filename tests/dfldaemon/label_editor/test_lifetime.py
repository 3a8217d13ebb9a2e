from dfldaemon.label_editor.lifetime import Lifetime


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def make(**settings):
    clock = Clock()
    return Lifetime(clock=clock, grace_s=4.0, **settings), clock


def test_it_waits_for_its_first_page():
    lifetime, clock = make(idle_s=600.0)
    clock.now = 599.0
    assert lifetime.reason_to_end() is None
    clock.now = 600.0
    assert lifetime.reason_to_end() == "Nothing was heard of the page for 10 minutes."


def test_a_page_that_is_loaded_again_keeps_it():
    lifetime, clock = make()
    lifetime.hello("one")
    lifetime.goodbye("one")
    clock.now = 3.9
    assert lifetime.reason_to_end() is None
    lifetime.hello("two")
    clock.now = 60.0
    assert lifetime.reason_to_end() is None
    lifetime.goodbye("two")
    clock.now = 64.0
    assert lifetime.reason_to_end() == "The page was closed."


def test_a_goodbye_of_one_page_is_not_that_of_another():
    lifetime, clock = make()
    lifetime.hello("one")
    lifetime.hello("two")
    lifetime.goodbye("one")
    lifetime.goodbye("one")
    clock.now = 60.0
    assert lifetime.reason_to_end() is None


def test_told_to_stay_it_stays_but_not_for_nobody():
    lifetime, clock = make(stay=True, idle_s=600.0)
    lifetime.hello("one")
    lifetime.goodbye("one")
    clock.now = 599.0
    assert lifetime.reason_to_end() is None
    lifetime.touch()
    clock.now = 1198.0
    assert lifetime.reason_to_end() is None
    clock.now = 1199.0
    assert lifetime.reason_to_end() is not None


def test_the_first_reason_is_told():
    lifetime, _ = make()
    lifetime.end("Stolen.")
    lifetime.end("Late.")
    assert lifetime.reason_to_end() == "Stolen."
