"""The switch between eager and compiled kernels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import manifoldnet.linalg.kernel as kernel
from manifoldnet.linalg import compilation, set_compilation


def test_the_switch_takes_three_modes_and_a_context_restores_it():
    with compilation("never"):
        with compilation("always"):
            assert kernel._mode == "always"
        assert kernel._mode == "never"
    assert kernel._mode == "auto"
    with pytest.raises(ValueError, match=r"mode: .*'auto'.*got 'sometimes'"):
        set_compilation("sometimes")


def test_it_decides_by_the_number_of_matrices():
    assert not kernel._pays(kernel.LARGE_BATCH - 1)
    assert kernel._pays(kernel.LARGE_BATCH)
    with compilation("never"):
        assert not kernel._pays(1 << 40)
    with compilation("always"):
        assert kernel._pays(2)


def test_without_a_compiler_kernels_run_eagerly_and_say_so_once(monkeypatch, caplog):
    def no_compiler(function, **options):
        def fails(*rows):
            raise torch._dynamo.exc.BackendCompilerFailed(no_compiler, RuntimeError("no compiler"), None)

        return fails

    monkeypatch.setattr(torch, "compile", no_compiler)
    monkeypatch.setattr(kernel, "_broken", False)
    twice_and_thrice = kernel.Kernel(lambda x: ([2 * x[0], 3 * x[0]],))
    with compilation("always"):
        for _ in range(2):
            assert torch.equal(twice_and_thrice(torch.ones(1, 2))[0], torch.tensor([[2.0, 3.0], [2.0, 3.0]]))
    assert len(caplog.records) == 1
    assert "eagerly" in caplog.text


def deviations(*names):
    program = Path(__file__).with_name("compiled_kernels.py")
    run = subprocess.run([sys.executable, "-W", "ignore", program, *names], capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def check(*names):
    found = deviations(*names)
    assert found.pop("broken") is False
    assert found
    for name, worst in found.items():
        assert worst < 1e-11, name


@pytest.mark.slow
def test_a_compiled_kernel_keeps_values_and_gradients():
    check("sym_sqrtm 2")


@pytest.mark.slow
def test_every_compiled_kernel_keeps_values_and_gradients():
    check()
