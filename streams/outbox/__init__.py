"""Rows that stand for outside work, worked off under leases (DESIGN 4).

A destination is an :class:`~streams.outbox.outbox.Outbox`: its table, SQL and a handler. One
:class:`~streams.outbox.worker.OutboxWorker` serves each of them. :func:`clients.periodic.every` runs every periodic
job, the API's too; a job that works on rows names them to :class:`~streams.outbox.job_rows.JobRows`.
"""
