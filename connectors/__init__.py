"""Who acts on the outside world: brokers, prices, PostgreSQL and signals, behind ports; `python -m connectors`."""
