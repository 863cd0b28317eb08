"""The fake that `stonks up` starts agrees with the mode, so that live arming can be tried without money."""

import pathlib
from typing import Any, get_args

import pytest

from connectors import alpaca_keys
from stack.checklist import Checklist
from stack.fake_alpaca import start_fake
from streams.settings import Settings
from trading.money import Mode


class _StartsNothing:
    def start(self, service: Any) -> None:
        """Pretend that it was started."""
        service.child = None

    def await_ready(self, service: Any) -> None:
        """Pretend that it is ready."""


@pytest.mark.parametrize("mode", get_args(Mode))
def test_its_keys_and_its_address_are_of_the_mode_that_the_stack_is_in(mode: Any, tmp_path: pathlib.Path) -> None:
    chosen = Settings(broker="fake-alpaca", mode=mode)
    supervisor: Any = _StartsNothing()
    given = start_fake(tmp_path, chosen, 29_999, checklist=Checklist(), supervisor=supervisor)
    values: Any = {name.removeprefix("STONKS_").lower(): value for name, value in given.items()}
    assert alpaca_keys.problem(Settings(broker="fake-alpaca", mode=mode, **values)) == ""
    assert alpaca_keys.key_kind(values["alpaca_key_id"]) == mode
