"""Our own processes: whether each answers, and what it says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ops.doctor.finding import Check, Finding, Symptom, well
from ops.doctor.pages import Page
from ops.doctor.surroundings import Surroundings

UNNAMED = Symptom(
    name="processes-unnamed",
    says="DOCTOR_PROCESSES names no process",
    users="Nothing is known of breaker, limits, latency and the workers' health.",
    do="set DOCTOR_PROCESSES to NAME=URL of each process, with a comma between (docs/configuration.md)",
    over="The check lists them.",
)
PROCESS_AWAY = Symptom(
    name="process-away",
    says="a process does not answer",
    users="What it does is not done: without the API no shares and links, without an agent its sink stands still and "
    "makes "
    "up for it later. Nothing is lost.",
    do="./run status; ./run logs {name}; ./run up (Kubernetes: kubectl describe pod -l app=wishlist-{name})",
    over="It answers; the group's lag falls to its target.",
    broken=True,
)
STOPPED = Symptom(
    name="group-stopped",
    says="a group has stopped itself",
    users="Nothing new of this sink, for example no new pictures or digests, until a person has decided. Nothing is "
    "lost.",
    do="wishlist dlq list; decide by docs/operations.md; then start the worker again: ./run down {name} && ./run up",
    over="It says healthy, and no new letters come.",
    broken=True,
    alerts=("wishlist-group-stopped",),
)
STUCK = Symptom(
    name="worker-stuck",
    says="records wait and nothing moves",
    users="Nothing new of this sink. Nothing is lost or counted twice.",
    do="./run down {name} && ./run up (Kubernetes restarts it by /livez)",
    over="It says healthy, and the lag falls.",
    broken=True,
    alerts=("wishlist-worker-stuck",),
)
WAITING = Symptom(
    name="worker-waiting",
    says="a worker waits for something outside",
    users="Nothing new of this sink until that is back; it makes up for it by itself.",
    do="bring back what it names; the worker needs nothing",
    over="It says healthy.",
    alerts=("wishlist-group-waiting",),
)
STARTING = Symptom(
    name="worker-starting",
    says="a worker has not joined its group yet",
    users="None so far.",
    do="wait a minute; if it stays so: ./run logs {name}, and see the check brokers",
    over="It says healthy.",
)
JOB_FAILING = Symptom(
    name="job-failing",
    says="a background job fails again and again",
    users="What this job does comes late or not at all; the agent's other work goes on.",
    do="./run logs {name}: the traceback is there; where it names something that is away, bring that back",
    over="/healthz of the process names no failing job.",
    alerts=("wishlist-job-failing",),
)
_BY_STATE = {"stopped": STOPPED, "stuck": STUCK, "waiting": WAITING, "starting": STARTING}


def judge(pages: Sequence[Page]) -> Iterable[Finding]:
    """What the processes say. The renderer has a check of its own, where its browsers are judged too."""
    if not pages:
        yield UNNAMED.found("")
        return
    fine: Counter[str] = Counter()
    for page in pages:
        if page.status is None:
            yield PROCESS_AWAY.found(f"{page.name} at {page.url}: {page.reason}", name=page.name)
        elif page.name != "renderer" and page.state in _BY_STATE:
            yield _BY_STATE[page.state].found(f"{page.name}: {page.reason}", name=page.name)
        else:
            fine[page.name] += 1
        for job, error in page.failing.items():
            yield JOB_FAILING.found(f"{job} in {page.name}: {error}", name=page.name)
    if fine:
        yield well("answer: " + ", ".join(name if many == 1 else f"{name} ×{many}" for name, many in fine.items()))


async def _look(around: Surroundings) -> Iterable[Finding]:
    return judge(await around.pages())


CHECKS = (
    Check(
        name="processes",
        at="each process's /healthz and /metrics",
        look=_look,
        symptoms=(PROCESS_AWAY, STOPPED, STUCK, WAITING, STARTING, JOB_FAILING, UNNAMED),
        seconds=15,
    ),
)
