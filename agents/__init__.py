"""Who reacts: plain functions of a record and their collaborators, bound and started in `worker`."""
