from mixopt.callbacks.mlflow.system_metrics import SystemMetrics


def test_a_sample_at_the_start_and_one_at_the_end():
    samples = []
    monitor = SystemMetrics(lambda values, number: samples.append((number, values)), 3600.0)
    monitor.stop()
    assert [number for number, _ in samples] == [0, 1]
    for _, values in samples:
        assert 0 < values["system/system_memory_usage_percentage"] <= 100
        assert values["system/disk_available_megabytes"] > 0


def test_samples_are_taken_at_intervals():
    from threading import Event

    third = Event()
    monitor = SystemMetrics(lambda _, number: number >= 2 and third.set(), 0.01)
    assert third.wait(30)
    monitor.stop()
