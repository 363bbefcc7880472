"""The planted study: pooled DPO and P-DPO on the same votes, an exact judge, a report. `prlhf demo` runs it."""
