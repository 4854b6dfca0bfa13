"""Whoever verifies is opened here from a plan: in this process, or in workers beside it."""

from inverse.potentials.loading import is_code_of_others, load_potential
from inverse.verification.ladder import LadderVerifier
from inverse.verification.plan import VerificationPlan
from inverse.verification.store import VerificationStore
from inverse.verification.workers import VerifierPool


def open_pool(plan: VerificationPlan, workers: int | None = None) -> VerifierPool:
    """Return a pool that verifies in other processes; they start at its first use.

    Code of users runs in workers only; `VerifierPool.check` says what it refuses.

    Args:
        plan: what each worker opens.
        workers: how many; None is one per core, as many as the memory holds.

    Raises:
        DataError: the store cannot be opened.
    """
    if plan.store != "":
        VerificationStore(plan.store).close()
    return VerifierPool(plan, workers)


def open_here(plan: VerificationPlan) -> LadderVerifier:
    """Return a verifier in this process; weights are read at its first structure.

    Raises:
        UnknownNameError: no such potential, module or factory; names the nearest.
        ConfigError: a factory that makes no ASE calculator, or no judge.
        DataError: the store cannot be opened.
    """
    for name in plan.panel.potentials:
        if is_code_of_others(name):  # what is no potential is said now, not once for every crystal
            load_potential(name, plan.device)
    return LadderVerifier(plan, None if plan.store == "" else VerificationStore(plan.store))


def open_verifier(plan: VerificationPlan, workers: int = 0) -> LadderVerifier | VerifierPool:
    """Return a StreamingVerifier: this process for `workers=0`, else a pool of that many processes.

    Raises:
        UnknownNameError: no such potential, module or factory; names the nearest.
        ConfigError: a factory that makes no ASE calculator, or no judge.
        DataError: the store cannot be opened.
    """
    return open_pool(plan, workers) if workers > 0 else open_here(plan)
