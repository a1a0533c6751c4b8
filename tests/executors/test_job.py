import pickle

from mixopt.executors.job import Job, wait_for


def test_a_job_can_be_sent():
    job = Job("score", (("a", "b"), [(0.5, 0.5)]), "a candidate")
    assert pickle.loads(pickle.dumps(job)) == job


def test_waiting_ends_with_a_value_or_the_timeout():
    answers = [None, None, 7]
    assert wait_for(lambda: answers.pop(0), 10) == 7
    assert wait_for(lambda: None, 0.2) is None
