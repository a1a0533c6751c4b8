import numpy as np
import pytest
import torch
import toy

from mixopt.errors import UserError
from mixopt.evaluation.validation_loss import REQUESTS, ValidationLoss, count_tokens


@pytest.fixture(scope="module")
def study(tmp_path_factory, trained_toy):
    folder = tmp_path_factory.mktemp("validation")
    toy.write_study(folder)
    study = toy.load(toy.copy_trained(trained_toy, folder))
    study.prepare()
    return study


def test_the_gradient_is_that_of_the_benchmarks_loss(study):
    scorer, model = study.context.scorer, study.context.load_trainable().eval()
    name = "continue"
    loss = ValidationLoss(scorer, {name: 1.0}, 0)(model)
    (task,) = (task for task in scorer.tasks if task.metric.name == name)
    assert len(task.requests) <= REQUESTS  # all of them are read
    total, count = torch.zeros(()), 0
    other = study.context.load_trainable().eval()
    for request in task.requests:
        tokens = torch.tensor([[*request.context, *request.target]])
        logs = other(input_ids=tokens).logits.log_softmax(-1)[0, :-1]
        picked = logs.gather(-1, tokens[0, 1:, None])[:, 0]
        total = total - picked[-len(request.target) :].sum()
        count += len(request.target)
    (total / count).backward()
    assert float(loss) == pytest.approx(float(total.detach() / count), abs=1e-5)
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in pairs)


def test_other_requests_at_each_call_and_the_same_after_a_stop(study):
    scorer, model = study.context.scorer, study.context.load_trainable().eval()
    weights = {"birds_heldout": 0.5, "ships_heldout": 0.5}
    first = ValidationLoss(scorer, weights, 0)
    values = [float(first(model)) for _ in range(3)]
    second = ValidationLoss(scorer, weights, 0)
    second.restore({"calls": [2.0]})
    assert float(second(model)) == values[2]
    assert first.state() == second.state() == {"calls": [3.0]}
    assert np.isfinite(values).all()


def test_the_tokens_of_a_call_are_those_of_its_requests(study):
    scorer = study.context.scorer
    (task,) = (task for task in scorer.tasks if task.metric.name == "continue")
    whole = sum(len(request.context) + len(request.target) for request in task.requests)
    assert len(task.requests) <= REQUESTS  # a call reads all of them
    assert count_tokens(scorer, {"continue": 0.3}) == pytest.approx(whole)
    many = count_tokens(scorer, {"continue": 0.3, "birds_heldout": 0.7, "ships_heldout": 0.0})
    windows = next(task for task in scorer.tasks if task.metric.name == "birds_heldout").requests
    lengths = [len(request.context) + len(request.target) for request in windows]
    assert len(lengths) > REQUESTS
    assert many - whole == pytest.approx(REQUESTS * np.mean(lengths))


def test_holdouts_and_nothing_to_read_end_in_one_sentence(study):
    scorer = study.context.scorer
    with pytest.raises(UserError, match="needs validation text and no benchmark"):
        ValidationLoss(scorer, {"birds_heldout": 0.0}, 0)
    with pytest.raises(UserError, match="'choice' has role holdout and must not be trained on"):
        ValidationLoss(scorer, {"choice": 1.0}, 0)
