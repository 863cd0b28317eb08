"""Everything on one machine with one command: Kafka, PostgreSQL, topics, migrations, processes, the `stonks` tool."""
