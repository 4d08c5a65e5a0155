"""Looks at everything at once, each check in its own time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from config.settings import DoctorSettings
from ops.doctor.finding import Check, Finding, Level
from ops.doctor.surroundings import Away, Surroundings

# Drivers that block wait in threads: as many as there are checks, so that none stands behind one that hangs.
_THREADS = 32


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found; *waits_for* names the part without which it could not look."""

    check: Check
    finding: Finding
    waits_for: str | None = None


async def examine(checks: Sequence[Check], settings: DoctorSettings) -> list[Result]:
    """What *checks* find, worst first. Nothing that a check meets leaves this as an exception."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    around = Surroundings(settings)
    try:
        found = await asyncio.gather(*(_look(check, around) for check in checks))
    finally:
        await around.close()
    # The order of the checks is kept among what is equally bad.
    return sorted((result for results in found for result in results), key=lambda result: -result.finding.level)


async def _look(check: Check, around: Surroundings) -> list[Result]:
    seconds = check.seconds + around.settings.watch_seconds
    try:
        async with asyncio.timeout(seconds):
            return [Result(check, finding) for finding in await check.look(around)]
    except Away as away:
        if check.away is not None:
            return [Result(check, check.away.found(away.why))]
        return [_unknown(check, f"not known, {away.part} does not answer: {away.why}", away.part)]
    except TimeoutError:
        why = f"no answer within {seconds:.0f} s"
        return [Result(check, check.away.found(why))] if check.away is not None else [_unknown(check, why)]
    except Exception as error:  # a mistake in a check must not hide what the others have found
        return [_unknown(check, f"the check itself failed, {type(error).__name__}: {error}")]


def _unknown(check: Check, seen: str, waits_for: str | None = None) -> Result:
    return Result(check, Finding(Level.UNKNOWN, seen), waits_for)
