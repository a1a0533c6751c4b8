import pickle

from mixopt.executors.job import Job


def test_a_job_can_be_sent():
    job = Job("score", (("a", "b"), [(0.5, 0.5)]), "a candidate")
    assert pickle.loads(pickle.dumps(job)) == job
