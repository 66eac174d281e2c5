"""What we rely on in vllm-ascend's sources: each name, signature and guard, read and not run."""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING

import pytest

from tests.ascend.cases import KEY
from tests.ascend.releases import PAIRS, Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Function = ast.FunctionDef


@pytest.fixture(params=PAIRS, ids=str)
def package(request: pytest.FixtureRequest) -> Path:
    pair: Pair = request.param
    return pair.ascend_folder / "vllm_ascend"


@functools.cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def containing(folder: Path, text: str) -> list[Path]:
    """The sources with this text in them: parsing all of them would take long."""
    return [file for file in folder.rglob("*.py") if text in file.read_text(encoding="utf-8")]


def method(file: Path, cls: str, name: str) -> Function:
    [owner] = [
        node for node in ast.walk(tree(file)) if isinstance(node, ast.ClassDef) and node.name == cls
    ]
    [found] = [
        node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    return found


def parameters(function: Function) -> list[str]:
    return [argument.arg for argument in function.args.args]


def guarded(node: ast.AST, guards: tuple[str, ...] = ()) -> Iterator[tuple[ast.AST, str]]:
    """Each node below, with the conditions of the `if` bodies that it stands in."""
    for child in ast.iter_child_nodes(node):
        inner = guards
        if isinstance(node, ast.If) and child in node.body:
            inner = (*guards, ast.unparse(node.test))
        yield child, " and ".join(inner)
        yield from guarded(child, inner)


def test_the_key_is_read_where_we_are_before(package: Path) -> None:
    """By AscendConfig alone, which `check_and_update_config` makes first in every process."""
    readers = {
        str(file.relative_to(package))
        for file in containing(package, KEY)
        if any(
            isinstance(node, ast.Constant) and node.value == KEY for node in ast.walk(tree(file))
        )
    }
    assert readers == {"ascend_config.py"}


def test_the_platform_checks_a_configuration_in_a_class_method(package: Path) -> None:
    check = method(package / "platform.py", "NPUPlatform", "check_and_update_config")
    assert parameters(check) == ["cls", "vllm_config"]
    assert [ast.unparse(decorator) for decorator in check.decorator_list] == ["classmethod"]
    statements = [ast.unparse(statement) for statement in check.body]
    assert "ascend_config = init_ascend_config(vllm_config)" in statements


def test_the_in_tree_version_comes_by_the_key_alone(package: Path) -> None:
    check = method(package / "platform.py", "NPUPlatform", "check_and_update_config")
    installing = {
        ast.unparse(node): guards
        for node, guards in guarded(check)
        if isinstance(node, ast.Assign | ast.Import) and "rofiling_chunk" in ast.unparse(node)
    }
    assert len(installing) == 2
    assert all(guards.endswith(f"{KEY}.enabled") for guards in installing.values())


def is_synchronisation(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_sync_device")


def is_stamp(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith(
        ("_execution_start_time", "execution_time_ms")
    )


@pytest.mark.parametrize("is_theirs", [is_synchronisation, is_stamp])
def test_the_runner_times_a_step_for_the_in_tree_version_alone(
    package: Path, is_theirs: Callable[[ast.AST], bool]
) -> None:
    file = package / "worker" / "model_runner_v1.py"
    found = [
        guards
        for name in ("execute_model", "sample_tokens")
        for node, guards in guarded(method(file, "NPUModelRunner", name))
        if is_theirs(node)
    ]
    assert len(found) == 2
    assert all(f"{KEY}.need_timing" in guards for guards in found)


def test_the_runner_synchronises_the_whole_device(package: Path) -> None:
    file = package / "worker" / "model_runner_v1.py"
    assert "torch.npu.synchronize()" in ast.unparse(method(file, "NPUModelRunner", "_sync_device"))


def test_the_worker_hands_the_runner_what_is_lazily_received(package: Path) -> None:
    worker = method(package / "worker" / "worker.py", "NPUWorker", "execute_model")
    assert parameters(worker) == ["self", "scheduler_output"]
    calls = [ast.unparse(node) for node in ast.walk(worker) if isinstance(node, ast.Call)]
    assert "self.model_runner.execute_model(scheduler_output, intermediate_tensors)" in calls
    assert any(call.startswith("AsyncIntermediateTensors(tensor_dict") for call in calls)
    runner = method(package / "worker" / "model_runner_v1.py", "NPUModelRunner", "execute_model")
    assert parameters(runner) == ["self", "scheduler_output", "intermediate_tensors"]


def test_the_balance_scheduler_only_passes_on_where_it_is_off(package: Path) -> None:
    file = package / "patch" / "platform" / "patch_balance_schedule.py"
    replaced = [ast.unparse(node) for node in tree(file).body if isinstance(node, ast.Assign)]
    assert any(assignment.endswith(".Scheduler = BalanceScheduler") for assignment in replaced)
    schedule = method(file, "BalanceScheduler", "schedule")
    assert parameters(schedule) == ["self", "throttle_prefills"]
    passing_on = schedule.body[0]
    assert isinstance(passing_on, ast.If)
    assert "not self._balance_enabled" in ast.unparse(passing_on.test)
    returned = [node.value for node in ast.walk(passing_on) if isinstance(node, ast.Return)]
    assert returned
    assert all(ast.unparse(value).startswith("super().schedule(") for value in returned)


def test_no_scheduler_of_theirs_has_a_hook_of_its_own(package: Path) -> None:
    assert containing(package, "_mamba_block_aligned_split(request")
    assert not containing(package, "def _mamba_block_aligned_split")


@pytest.mark.parametrize(
    "name", ["VLLM_ASCEND_BALANCE_SCHEDULING", "VLLM_ASCEND_ENABLE_FLASHCOMM1"]
)
def test_the_variables_that_we_read_are_theirs(package: Path, name: str) -> None:
    constants = {
        node.value for node in ast.walk(tree(package / "envs.py")) if isinstance(node, ast.Constant)
    }
    assert name in constants


@pytest.mark.parametrize(
    ("setting", "releases"),
    [
        ("enable_balance_scheduling", {"0.23.0", "0.26.0rc1"}),
        ("recompute_scheduler_enable", {"0.23.0", "0.26.0rc1"}),
        ("enable_flashcomm1", {"0.23.0", "0.26.0rc1"}),
        ("SLO_limits_for_dynamic_batch", {"0.23.0"}),
        ("short_request_first_config", {"0.26.0rc1"}),
        ("batch_job_sched_config", {"0.26.0rc1"}),
    ],
)
def test_the_settings_beside_which_we_refuse_are_theirs(setting: str, releases: set[str]) -> None:
    def has_it(pair: Pair) -> bool:
        config = tree(pair.ascend_folder / "vllm_ascend" / "ascend_config.py")
        return any(
            isinstance(node, ast.Constant) and node.value == setting for node in ast.walk(config)
        )

    assert {pair.ascend for pair in PAIRS if has_it(pair)} == releases
