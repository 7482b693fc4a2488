"""From a selection to files: plan, transfer, store, record, report."""
