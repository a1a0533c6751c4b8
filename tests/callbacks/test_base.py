import pytest

from mixopt.callbacks.base import Callback, TrainedModel


def test_a_misspelt_hook_is_refused():
    with pytest.raises(
        TypeError, match=r"Late.on_model_train is not a callback hook; the hooks are"
    ):

        class Late(Callback):
            def on_model_train(self, model):
                """Would never be called."""


def test_helpers_of_a_callback_need_no_hook():
    class Quiet(Callback):
        def only_mine(self):
            return 1

    assert Quiet().only_mine() == 1
    assert Quiet().on_model_trained(TrainedModel("expert", "birds")) is None
