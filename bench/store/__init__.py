"""The results database: models, migrations, the single writer, queries."""
